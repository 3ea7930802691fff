// Short videos: shapes that move, and shapes that appear one after another.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "pico/scene.h"
#include "pico/shapes.h"

namespace minicpm::pico {
namespace {

enum class Direction { kLeft, kRight, kUp, kDown };
constexpr std::string_view kDirectionNames[] = {"left", "right", "up", "down"};

struct Clip {
  Ground ground;
  PictureSize size;
  int frames;
};

Clip choose_clip(Random& random, float difficulty) {
  Clip clip{choose_ground(random, difficulty), choose_size(random, random.uniform(0.8f, 1.4f), difficulty, 0),
            random.between(4, 6)};
  // One camera: noise and JPEG differ from frame to frame, colours do not.
  return clip;
}

Scene start_scene(Random& random, const Clip& clip) {
  constexpr int kSteps[] = {2, 5, 10};  // 5, 2 and 1 frames a second
  Scene scene;
  const int step = random.pick(kSteps);
  for (int i = 0; i < clip.frames; ++i)
    scene.frame_ids.push_back(i * step);
  return scene;
}

/// Looks that differ from each other in colour.
std::vector<Shape> choose_looks(Random& random, const Clip& clip, int count, float difficulty) {
  std::vector<Shape> shapes;
  while (static_cast<int>(shapes.size()) < count) {
    const Shape look = random_look(random, clip.ground, difficulty);
    if (std::none_of(shapes.begin(), shapes.end(), [&](const Shape& s) { return s.color == look.color; })) {
      shapes.push_back(look);
    }
  }
  return shapes;
}

/// Where a moving shape starts and ends; the path is straight and stays in the picture.
struct Path {
  float x0, y0, x1, y1;
};

Path choose_path(Random& random, const Clip& clip, float radius, Direction direction) {
  const float width = static_cast<float>(clip.size.width) - 2 * radius - 4;
  const float height = static_cast<float>(clip.size.height) - 2 * radius - 4;
  const bool across = direction == Direction::kLeft || direction == Direction::kRight;
  const float length = across ? width : height, breadth = across ? height : width;
  const float way = random.uniform(0.6f, 1.0f) * length;
  float from = random.uniform(0, length - way), to = from + way;
  if (direction == Direction::kLeft || direction == Direction::kUp) std::swap(from, to);
  const float beside = random.uniform(0, breadth), drift = std::clamp(beside + random.uniform(-4, 4), 0.0f, breadth);
  const float edge = radius + 2;
  if (across) return {edge + from, edge + beside, edge + to, edge + drift};
  return {edge + beside, edge + from, edge + drift, edge + to};
}

std::string ask_direction(Random& random, const std::string& what) {
  return say(random,
             {fmt::format("Which way does the {} move?", what),
              fmt::format("In which direction does the {} move?", what), fmt::format("Where does the {} move?", what)});
}

/// One shape moves; sometimes another one stays or moves elsewhere.
Scene draw_motion(Random& random, float difficulty) {
  const Clip clip = choose_clip(random, difficulty);
  const int count = random.chance(0.4f * difficulty) ? 2 : 1;
  std::vector<Shape> shapes = choose_looks(random, clip, count, difficulty);
  const auto side = static_cast<float>(std::min(clip.size.width, clip.size.height));
  std::vector<Path> paths;
  std::vector<int> directions;
  for (Shape& shape : shapes) {
    shape.radius = side * random.uniform(0.11f, 0.18f);
    directions.push_back(random.below(4));
    paths.push_back(choose_path(random, clip, shape.radius, static_cast<Direction>(directions.back())));
  }
  Scene scene = start_scene(random, clip);
  for (int frame = 0; frame < clip.frames; ++frame) {
    const float t = static_cast<float>(frame) / static_cast<float>(clip.frames - 1);
    for (size_t i = 0; i < shapes.size(); ++i) {
      shapes[i].x = paths[i].x0 + t * (paths[i].x1 - paths[i].x0);
      shapes[i].y = paths[i].y0 + t * (paths[i].y1 - paths[i].y0);
    }
    // A later shape covers an earlier one; the question is about the last.
    scene.pictures.push_back(draw_shapes(random, clip.ground, shapes, clip.size, 0));
  }
  const Shape& shape = shapes.back();
  std::vector<std::string> names = {shape.name(), color_name(shape.color) + " shape"};
  if (count == 1) names = {"shape", kind_name(shape.kind), shape.name()};
  if (count == 2 && shapes[0].kind != shape.kind) names.push_back(kind_name(shape.kind));
  scene.turns.push_back({ask_direction(random, random.pick(names)), std::string(kDirectionNames[directions.back()])});
  if (count == 1 && random.chance(0.5f)) {
    scene.turns.push_back({say(random, {"What moves?", "What do you see?"}), shape.with_article()});
  }
  random.shuffle(scene.turns);
  return scene;
}

/// Shapes drift a little; how many are there?
Scene draw_crowd(Random& random, const TaskInput& input) {
  const float difficulty = input.difficulty();
  const Clip clip = choose_clip(random, difficulty);
  const int count = random.between(1, 6);
  std::vector<Shape> shapes;
  const auto side = static_cast<float>(std::min(clip.size.width, clip.size.height));
  const Shape look = random_look(random, clip.ground, difficulty);
  for (int i = 0; i < count; ++i) {
    shapes.push_back(random.chance(0.5f) ? look : random_look(random, clip.ground, difficulty));
    shapes.back().radius = side * random.uniform(0.09f, 0.13f);
  }
  constexpr float kDrift = 12;  // pixels over the whole clip
  place_shapes(random, static_cast<float>(clip.size.width) - kDrift, static_cast<float>(clip.size.height) - kDrift, 5,
               shapes);
  const float dx = random.uniform(0, kDrift), dy = random.uniform(0, kDrift);
  Scene scene = start_scene(random, clip);
  for (int frame = 0; frame < clip.frames; ++frame) {
    std::vector<Shape> moved = shapes;
    const float t = static_cast<float>(frame) / static_cast<float>(clip.frames - 1);
    for (Shape& shape : moved) {
      shape.x += t * dx;
      shape.y += t * dy;
    }
    scene.pictures.push_back(draw_shapes(random, clip.ground, moved, clip.size, 0));
  }
  scene.turns.push_back({say(random, {"How many shapes are there?", "Count the shapes.", "How many shapes do you see?",
                                      "How many shapes move?"}),
                         std::to_string(count)});
  if (input.many_turns()) scene.turns.push_back({"List the shapes.", list_of(shapes)});
  return scene;
}

/// Shapes appear one after another and stay.
Scene draw_order(Random& random, const TaskInput& input) {
  const float difficulty = input.difficulty();
  const Clip clip = choose_clip(random, difficulty);
  std::vector<Shape> shapes = choose_looks(random, clip, random.between(2, 3), difficulty);
  const auto side = static_cast<float>(std::min(clip.size.width, clip.size.height));
  for (Shape& shape : shapes)
    shape.radius = side * random.uniform(0.12f, 0.18f);
  place_shapes(random, static_cast<float>(clip.size.width), static_cast<float>(clip.size.height), 4, shapes);
  // Frame at which each one appears: strictly rising.
  std::vector<int> starts = {0, 1, 2, 3};
  while (starts.size() > shapes.size())
    starts.erase(starts.begin() + random.below(static_cast<int>(starts.size())));
  Scene scene = start_scene(random, clip);
  for (int frame = 0; frame < clip.frames; ++frame) {
    std::vector<Shape> visible;
    for (size_t i = 0; i < shapes.size(); ++i) {
      if (starts[i] <= frame) visible.push_back(shapes[i]);
    }
    scene.pictures.push_back(draw_shapes(random, clip.ground, visible, clip.size, 0));
  }
  const auto ask = [&](std::string_view when, const Shape& shape) {
    if (random.chance(0.5f)) {
      scene.turns.push_back(
          {say(random, {fmt::format("Which color appears {}?", when), fmt::format("What color appears {}?", when)}),
           color_name(shape.color)});
    } else {
      scene.turns.push_back(
          {say(random, {fmt::format("What appears {}?", when), fmt::format("Which shape appears {}?", when)}),
           shape.with_article()});
    }
  };
  ask("first", shapes.front());
  ask("last", shapes.back());
  if (input.many_turns()) {
    ask("first", shapes.front());
    ask("last", shapes.back());
  }
  scene.turns = choose_turns(random, std::move(scene.turns), input.turns(random.between(1, 2)));
  return scene;
}

}  // namespace

Scene draw_video(Random& random, const TaskInput& input) {
  const float how = random.uniform();
  if (how < 0.45f) return draw_motion(random, input.difficulty());
  if (how < 0.7f) return draw_crowd(random, input);
  return draw_order(random, input);
}

}  // namespace minicpm::pico

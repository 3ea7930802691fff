// One shape, two shapes, and counting.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "pico/scene.h"
#include "pico/shapes.h"

namespace minicpm::pico {
namespace {

constexpr int kMostTurns = 3;

int choose_turn_count(Random& random) {
  return random.between(1, kMostTurns);
}

/// What to call a shape so that the other one is not meant.
std::string reference(Random& random, const Shape& shape, const Shape& other) {
  std::vector<std::string> names = {shape.name()};
  if (shape.kind != other.kind) names.push_back(kind_name(shape.kind));
  if (shape.color != other.color) names.push_back(color_name(shape.color) + " shape");
  return random.pick(names);
}

void add_places(Random& random, const Shape& a, const Shape& b, std::vector<Turn>& turns) {
  const float clear = 0.5f * (a.radius + b.radius) + 5;
  const auto add = [&](bool is_first, std::string_view first, std::string_view second, std::string_view at,
                       std::string_view of) {
    const Shape& lesser = is_first ? a : b;
    const Shape& greater = is_first ? b : a;
    const bool ask_first = random.chance(0.5f);
    const std::string_view side = ask_first ? first : second;
    turns.push_back(
        {say(random, {fmt::format("What is {} {}?", at, side), fmt::format("What do you see {} {}?", at, side),
                      fmt::format("Which shape is {} {}?", at, side)}),
         (ask_first ? lesser : greater).with_article()});
    const Shape& subject = random.chance(0.5f) ? lesser : greater;
    const Shape& object = &subject == &lesser ? greater : lesser;
    const std::string_view lesser_word = of.empty() ? "above" : "left", greater_word = of.empty() ? "below" : "right";
    turns.push_back({fmt::format("Is the {} {} or {}{} the {}?", reference(random, subject, object), lesser_word,
                                 greater_word, of, reference(random, object, subject)),
                     std::string(&subject == &lesser ? lesser_word : greater_word)});
  };
  if (std::abs(a.x - b.x) > clear) add(a.x < b.x, "left", "right", "on the", " of");
  if (std::abs(a.y - b.y) > clear) add(a.y < b.y, "top", "bottom", "at the", "");
}

void add_sizes(Random& random, const Shape& a, const Shape& b, std::vector<Turn>& turns) {
  const float ratio = a.radius / b.radius;
  if (ratio < 1.4f && ratio > 1 / 1.4f) return;
  const Shape& big = ratio > 1 ? a : b;
  const Shape& small = ratio > 1 ? b : a;
  const bool ask_big = random.chance(0.5f);
  const std::string_view word = ask_big ? "bigger" : "smaller";
  turns.push_back({say(random, {fmt::format("Which shape is {}?", word), fmt::format("Which is {}?", word),
                                fmt::format("What is the {} shape?", word)}),
                   (ask_big ? big : small).with_article()});
  const Shape& subject = random.chance(0.5f) ? big : small;
  const Shape& object = &subject == &big ? small : big;
  turns.push_back({fmt::format("Is the {} bigger or smaller than the {}?", reference(random, subject, object),
                               reference(random, object, subject)),
                   &subject == &big ? "bigger" : "smaller"});
}

void add_looks(Random& random, const Shape& a, const Shape& b, std::vector<Turn>& turns) {
  const bool ask_a = random.chance(0.5f);
  const Shape& shape = ask_a ? a : b;
  if (a.kind != b.kind) {
    const std::string kind = kind_name(shape.kind);
    turns.push_back(
        {say(random, {fmt::format("What color is the {}?", kind), fmt::format("Which color is the {}?", kind),
                      fmt::format("What is the color of the {}?", kind)}),
         color_name(shape.color)});
  }
  if (a.color != b.color) {
    const std::string color = color_name(shape.color);
    turns.push_back({say(random, {fmt::format("What shape is {}?", color), fmt::format("Which shape is {}?", color),
                                  fmt::format("What is the {} shape?", color)}),
                     kind_name(shape.kind)});
  }
  const bool by_x = std::abs(a.x - b.x) > a.radius + b.radius;
  const bool a_first = by_x ? a.x < b.x : a.y < b.y;
  if (by_x || std::abs(a.y - b.y) > 0.7f * (a.radius + b.radius)) {
    turns.push_back({say(random, {"What do you see?", "Describe the picture.", "What is in the picture?"}),
                     (a_first ? a : b).with_article() + " and " + (a_first ? b : a).with_article()});
  }
}

struct Group {
  Shape look;
  int count;
};

/// What is counted: everything, a kind, a colour, or a kind of a colour.
void add_count(Random& random, const std::string& plural, int count, std::vector<Turn>& turns) {
  if (count < 0 || count > 9) return;
  turns.push_back(
      {say(random, {fmt::format("How many {} are there?", plural), fmt::format("Count the {}.", plural),
                    fmt::format("How many {} do you see?", plural), fmt::format("What is the number of {}?", plural)}),
       std::to_string(count)});
}

std::vector<Group> choose_groups(Random& random, const Ground& ground, float difficulty) {
  std::vector<Group> groups = {{random_look(random, ground, difficulty), random.between(1, 9)}};
  int room = 11 - groups[0].count;
  const int extra = random.chance(0.4f * (1 - difficulty)) ? 0 : random.between(0, 2);
  for (int i = 0; i < extra && room > 0; ++i) {
    Shape look = random_look(random, ground, difficulty);
    // Alike in one way, so that both must be looked at.
    if (random.chance(0.35f)) look.kind = groups[0].look.kind;
    const bool known =
        std::any_of(groups.begin(), groups.end(), [&](const Group& g) { return g.look.same_look(look); });
    if (known) continue;
    groups.push_back({look, random.between(1, std::min(room, 4))});
    room -= groups.back().count;
  }
  return groups;
}

}  // namespace

Scene draw_shape_one(Random& random, const TaskInput& input) {
  const float d = input.difficulty();
  const Ground ground = choose_ground(random, d);
  Shape shape = random_look(random, ground, d);
  const PictureSize size = choose_size(random, random.uniform(1.0f, 1.0f + 1.2f * d), d, input.options.large);
  const auto side = static_cast<float>(std::min(size.width, size.height));
  shape.radius = side * random.uniform(0.32f - 0.17f * d, 0.44f);
  std::vector<Shape> shapes = {shape};
  place_shapes(random, static_cast<float>(size.width), static_cast<float>(size.height), 2, shapes);

  Scene scene;
  scene.pictures.push_back(draw_shapes(random, ground, shapes, size, d));
  const std::string kind = kind_name(shape.kind), color = color_name(shape.color);
  std::vector<Turn> turns = {
      {say(random, {"What shape is this?", "Which shape is this?", "Which shape do you see?", "Name the shape."}),
       kind},
      {say(random, {"What color is the shape?", "Which color is the shape?", "What color is the " + kind + "?",
                    "What is the color of the " + kind + "?"}),
       color},
      {say(random, {"What do you see?", "Describe the picture.", "What is in the picture?"}), shape.with_article()},
  };
  if (ground.color >= 0) {
    turns.push_back({say(random, {"What color is the background?", "Which color is the background?",
                                  "What is the color of the background?"}),
                     color_name(ground.color)});
  }
  scene.turns = choose_turns(random, std::move(turns), input.turns(choose_turn_count(random)));
  return scene;
}

Scene draw_shapes_two(Random& random, const TaskInput& input) {
  const float d = input.difficulty();
  const Ground ground = choose_ground(random, d);
  Shape a = random_look(random, ground, d), b = a;
  while (b.same_look(a)) {
    b = random_look(random, ground, d);
    if (random.chance(0.15f)) {
      b.kind = a.kind;
    } else if (random.chance(0.15f)) {
      b.color = a.color;
      b.rgb = a.rgb;
    }
  }
  const float aspect = random.uniform(0.6f, 1.8f);
  const PictureSize size = choose_size(random, aspect, d, input.options.large);
  const auto side = static_cast<float>(std::min(size.width, size.height));
  a.radius = side * random.uniform(0.15f, 0.27f);
  const float ratio = random.chance(0.6f) ? random.uniform(1.6f, 2.4f) : random.uniform(1.0f, 1.12f);
  b.radius = std::max(a.radius / ratio, 9.0f);
  if (b.radius * 1.15f > a.radius && ratio > 1.4f) a.radius = b.radius * ratio;
  if (random.chance(0.5f)) std::swap(a.radius, b.radius);
  std::vector<Shape> shapes = {a, b};
  place_shapes(random, static_cast<float>(size.width), static_cast<float>(size.height), 4, shapes);

  Scene scene;
  scene.pictures.push_back(draw_shapes(random, ground, shapes, size, d));
  std::vector<Turn> turns;
  add_places(random, shapes[0], shapes[1], turns);
  add_sizes(random, shapes[0], shapes[1], turns);
  add_looks(random, shapes[0], shapes[1], turns);
  scene.turns = choose_turns(random, std::move(turns), input.turns(choose_turn_count(random)));
  return scene;
}

Scene draw_count(Random& random, const TaskInput& input) {
  const float d = input.difficulty();
  const Ground ground = choose_ground(random, d);
  const std::vector<Group> groups = choose_groups(random, ground, d);
  const PictureSize size = choose_size(random, random.uniform(0.7f, 1.6f), d, input.options.large);
  std::vector<Shape> shapes;
  for (const Group& group : groups)
    shapes.insert(shapes.end(), static_cast<size_t>(group.count), group.look);
  const auto total = static_cast<int>(shapes.size());
  const float share = std::sqrt(static_cast<float>(size.width * size.height) / static_cast<float>(std::max(total, 3)));
  const float largest = share * random.uniform(0.24f, 0.36f);
  for (Shape& shape : shapes)
    shape.radius = largest * (1 - 0.3f * d * random.uniform());
  place_shapes(random, static_cast<float>(size.width), static_cast<float>(size.height), 3, shapes);

  Scene scene;
  scene.pictures.push_back(draw_shapes(random, ground, shapes, size, d));
  const auto count_of = [&](auto&& matches) {
    return static_cast<int>(std::count_if(shapes.begin(), shapes.end(), matches));
  };
  const Shape& target = groups[0].look;
  std::vector<Turn> turns;
  add_count(random, "shapes", total, turns);
  add_count(random, color_name(target.color) + " shapes", count_of([&](auto& s) { return s.color == target.color; }),
            turns);
  add_count(random, kind_plural(target.kind), count_of([&](auto& s) { return s.kind == target.kind; }), turns);
  for (const Group& group : groups) {
    add_count(random, color_name(group.look.color) + " " + kind_plural(group.look.kind), group.count, turns);
  }
  // Only for training: whoever can list them has found them all.
  if (input.many_turns()) turns.push_back({"List the shapes.", list_of(shapes)});
  if (random.chance(0.15f)) {
    const Kind kind = random_kind(random);
    if (kind != target.kind)
      add_count(random, kind_plural(kind), count_of([&](auto& s) { return s.kind == kind; }), turns);
  }
  scene.turns = choose_turns(random, std::move(turns), input.turns(choose_turn_count(random)));
  return scene;
}

}  // namespace minicpm::pico

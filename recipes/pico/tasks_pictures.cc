// Questions about two pictures.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "pico/scene.h"
#include "pico/shapes.h"
#include "pico/text_picture.h"
#include "pico/words.h"

namespace minicpm::pico {
namespace {

constexpr std::string_view kPlaces[] = {"first", "second"};

std::string yes_or_no(bool yes) {
  return yes ? "yes" : "no";
}

Picture draw_single(Random& random, const Ground& ground, Shape shape, PictureSize size, float difficulty) {
  std::vector<Shape> shapes = {shape};
  place_shapes(random, static_cast<float>(size.width), static_cast<float>(size.height), 2, shapes);
  return draw_shapes(random, ground, shapes, size, difficulty);
}

/// One shape in each picture; they differ in colour, kind or size, or not at all.
Scene compare_shapes(Random& random, const TaskInput& input) {
  const float difficulty = input.difficulty();
  const Ground ground = choose_ground(random, difficulty);
  const PictureSize size = choose_size(random, random.uniform(0.9f, 1.3f), difficulty, input.options.large);
  const auto side = static_cast<float>(std::min(size.width, size.height));
  Shape a = random_look(random, ground, difficulty);
  a.radius = side * random.uniform(0.32f, 0.42f);
  Shape b = a;
  const int difference = random.below(4);
  constexpr std::string_view kDifferences[] = {"nothing", "color", "shape", "size"};
  Shape other = random_look(random, ground, difficulty);
  if (difference == 1) {
    while (other.color == a.color)
      other = random_look(random, ground, difficulty);
    b.color = other.color;
    b.rgb = other.rgb;
  } else if (difference == 2) {
    while (b.kind == a.kind)
      b.kind = random_kind(random);
  } else if (difference == 3) {
    b.radius = a.radius / random.uniform(1.8f, 2.6f);
    if (random.chance(0.5f)) std::swap(a.radius, b.radius);
  }

  Scene scene;
  scene.pictures.push_back(draw_single(random, ground, a, size, difficulty));
  scene.pictures.push_back(draw_single(random, ground, b, size, difficulty));
  const int which = random.below(2);
  const Shape& shown = which == 0 ? a : b;
  std::vector<Turn> turns = {
      {say(random, {"What is different?", "What is the difference?", "What differs?"}),
       std::string(kDifferences[difference])},
      {say(random, {"Are the pictures the same?", "Do both pictures show the same?"}), yes_or_no(difference == 0)},
      {say(random, {fmt::format("What is in the {} picture?", kPlaces[which]),
                    fmt::format("What do you see in the {} picture?", kPlaces[which])}),
       shown.with_article()},
  };
  if (input.many_turns()) {
    turns.push_back(
        {fmt::format("What is in the {} picture?", kPlaces[1 - which]), (which == 0 ? b : a).with_article()});
  }
  if (difference == 3) {
    const bool ask_big = random.chance(0.5f);
    const bool first = (a.radius > b.radius) == ask_big;
    turns.push_back({fmt::format("Which picture has the {} shape?", ask_big ? "bigger" : "smaller"),
                     std::string(kPlaces[first ? 0 : 1])});
  }
  if (a.kind != b.kind) {
    turns.push_back({fmt::format("Which picture shows a {}?", kind_name(shown.kind)), std::string(kPlaces[which])});
  }
  scene.turns = choose_turns(random, std::move(turns), input.turns(random.between(1, 2)));
  return scene;
}

Picture draw_crowd(Random& random, const Ground& ground, const Shape& look, int count, PictureSize size,
                   float difficulty) {
  std::vector<Shape> shapes(static_cast<size_t>(count), look);
  const float share = std::sqrt(static_cast<float>(size.width * size.height) / static_cast<float>(std::max(count, 4)));
  const float radius = share * random.uniform(0.22f, 0.33f);
  for (Shape& shape : shapes)
    shape.radius = radius;
  place_shapes(random, static_cast<float>(size.width), static_cast<float>(size.height), 3, shapes);
  return draw_shapes(random, ground, shapes, size, difficulty);
}

/// Some shapes in each picture; which one has more?
Scene compare_counts(Random& random, const TaskInput& input) {
  const float difficulty = input.difficulty();
  int counts[2] = {random.between(1, 9), random.between(1, 9)};
  if (random.chance(0.8f)) {
    while (counts[0] == counts[1])
      counts[1] = random.between(1, 9);
  } else if (random.chance(0.7f)) {
    counts[1] = counts[0];
  }
  Scene scene;
  const Ground ground = choose_ground(random, difficulty);
  const Shape look = random_look(random, ground, difficulty);
  const bool same_look = random.chance(0.5f);
  for (const int count : counts) {
    const PictureSize size = choose_size(random, random.uniform(0.8f, 1.4f), difficulty, input.options.large);
    const Shape shown = same_look ? look : random_look(random, ground, difficulty);
    scene.pictures.push_back(draw_crowd(random, ground, shown, count, size, difficulty));
  }
  const bool ask_more = random.chance(0.6f);
  const bool first = (counts[0] > counts[1]) == ask_more;
  const std::string_view word = ask_more ? "more" : "fewer";
  const int which = random.below(2);
  std::vector<Turn> turns = {
      {say(random,
           {fmt::format("Which picture has {} shapes?", word), fmt::format("Which picture shows {} shapes?", word)}),
       counts[0] == counts[1] ? "the same" : std::string(kPlaces[first ? 0 : 1])},
      {say(random, {fmt::format("How many shapes are in the {} picture?", kPlaces[which]),
                    fmt::format("Count the shapes in the {} picture.", kPlaces[which])}),
       std::to_string(counts[which])},
  };
  if (input.many_turns()) {
    turns.push_back(
        {fmt::format("How many shapes are in the {} picture?", kPlaces[1 - which]), std::to_string(counts[1 - which])});
  }
  scene.turns = choose_turns(random, std::move(turns), input.turns(random.between(1, 2)));
  return scene;
}

/// A word in each picture, in its own style; sometimes the same one.
Scene compare_words(Random& random, const TaskInput& input) {
  const int least = std::min(input.options.min_letters, 6), most = std::min(input.options.max_letters, 6);
  std::string words[2];
  words[0] = make_word(random, least, most);
  const bool same = random.chance(0.4f);
  do {
    words[1] = same ? words[0] : make_word(random, least, most);
  } while (!same && words[1] == words[0]);
  Scene scene;
  for (const std::string& word : words) {
    scene.pictures.push_back(draw_text_picture(random, input, word, {0.95f - 0.4f * input.difficulty(), 1.0f}));
  }
  const int which = random.below(2);
  std::vector<Turn> turns = {
      {say(random, {"Do both pictures show the same word?", "Is it the same word?", "Are the words the same?"}),
       yes_or_no(same)},
      {say(random, {fmt::format("What does the {} picture say?", kPlaces[which]),
                    fmt::format("Read the {} picture.", kPlaces[which])}),
       words[which]},
  };
  if (input.many_turns()) turns.push_back({fmt::format("Read the {} picture.", kPlaces[1 - which]), words[1 - which]});
  scene.turns = choose_turns(random, std::move(turns), input.turns(random.between(1, 2)));
  return scene;
}

}  // namespace

Scene draw_two_pictures(Random& random, const TaskInput& input) {
  const float how = random.uniform();
  if (how < 0.45f) return compare_shapes(random, input);
  if (how < 0.75f) return compare_counts(random, input);
  return compare_words(random, input);
}

}  // namespace minicpm::pico

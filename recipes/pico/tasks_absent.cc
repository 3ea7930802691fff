// Questions about things that are not in the picture, mixed with ordinary ones.
#include <fmt/format.h>

#include <array>

#include "pico/labels.h"
#include "pico/scene.h"
#include "pico/shapes.h"

namespace minicpm::pico {
namespace {

constexpr std::string_view kRefusal = "I can't see that.";

/// What the boxes of a picture tell.
struct Contents {
  std::array<bool, kKinds> kinds = {};
  std::array<bool, kColors> colors = {};
  bool text = false;
};

Contents contents_of(const Picture& picture) {
  Contents contents;
  for (const LabelBox& box : picture.boxes) {
    const int shape = box.label - 1 - static_cast<int>(kLabelledCharacters.size());
    if (shape < 0) {
      contents.text = true;
    } else {
      contents.kinds[static_cast<size_t>(shape / kColors)] = true;
      contents.colors[static_cast<size_t>(shape % kColors)] = true;
    }
  }
  return contents;
}

template <size_t N>
int pick_absent(Random& random, const std::array<bool, N>& present) {
  for (;;) {
    const int i = random.below(static_cast<int>(N));
    if (!present[static_cast<size_t>(i)]) return i;
  }
}

std::string ask_absent(Random& random, const Contents& contents) {
  const std::string kind(kKindNames[pick_absent(random, contents.kinds)]);
  const std::string color(kColorNames[pick_absent(random, contents.colors)]);
  if (!contents.text && random.chance(0.3f)) {
    return say(random, {"What does it say?", "Read the text.", "Read the word.", "Read the number.", "Read line 2.",
                        "What is written here?", "Which bar is the largest?"});
  }
  return say(random, {fmt::format("What color is the {}?", kind), fmt::format("Which color is the {}?", kind),
                      fmt::format("What is the color of the {}?", kind), fmt::format("What shape is {}?", color),
                      fmt::format("Which shape is {}?", color)});
}

}  // namespace

Scene draw_absent(Random& random, const TaskInput& input) {
  constexpr TaskFunction kBases[] = {draw_shape_one,  draw_shape_one, draw_shapes_two,
                                     draw_shapes_two, draw_word,      draw_count};
  Scene scene = random.pick(kBases)(random, input);
  if (!input.many_turns()) scene.turns.resize(1);
  if (random.chance(0.6f)) {
    scene.turns[0] = {ask_absent(random, contents_of(scene.pictures[0])), std::string(kRefusal)};
  }
  if (input.many_turns()) {
    scene.turns.push_back({ask_absent(random, contents_of(scene.pictures[0])), std::string(kRefusal)});
  }
  return scene;
}

}  // namespace minicpm::pico

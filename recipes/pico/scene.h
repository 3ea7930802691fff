// What a task makes: pictures with their boxes, and the talk about them.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "pico/generator.h"
#include "pico/random.h"

namespace minicpm::pico {

struct Picture {
  Image image;
  std::vector<LabelBox> boxes;
};

struct Turn {
  std::string question, answer;
};

struct Scene {
  std::vector<Picture> pictures;
  std::vector<int32_t> frame_ids;  // of a video: time of each picture in 0.1 s; empty for pictures
  std::vector<Turn> turns;
};

struct TaskInput {
  Split split;
  DrawOptions options;
  float difficulty() const { return options.difficulty; }
  /// How many questions to ask; `own` is what the task drew.
  int turns(int own) const { return options.turns > 0 ? options.turns : own; }
  /// Whether to think of more questions than a conversation needs.
  bool many_turns() const { return options.turns > 3; }
};

using TaskFunction = Scene (*)(Random& random, const TaskInput& input);

/// `count` of the turns at most, in random order.
std::vector<Turn> choose_turns(Random& random, std::vector<Turn> turns, int count);
/// One of the phrases.
std::string say(Random& random, std::initializer_list<std::string> phrases);

// tasks_text.cc
Scene draw_letters(Random& random, const TaskInput& input);
Scene draw_word(Random& random, const TaskInput& input);
Scene draw_digits(Random& random, const TaskInput& input);
// tasks_page.cc
Scene draw_lines(Random& random, const TaskInput& input);
Scene draw_page(Random& random, const TaskInput& input);
// tasks_shapes.cc
Scene draw_shape_one(Random& random, const TaskInput& input);
Scene draw_shapes_two(Random& random, const TaskInput& input);
Scene draw_count(Random& random, const TaskInput& input);
// tasks_pictures.cc
Scene draw_two_pictures(Random& random, const TaskInput& input);
// tasks_absent.cc
Scene draw_absent(Random& random, const TaskInput& input);
// tasks_video.cc
Scene draw_video(Random& random, const TaskInput& input);
// tasks_chart.cc
Scene draw_chart(Random& random, const TaskInput& input);
// tasks_arithmetic.cc
Scene draw_arithmetic(Random& random, const TaskInput& input);

}  // namespace minicpm::pico

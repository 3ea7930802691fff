// Draws the pictures, questions and answers that pico is trained and judged on. Everything follows from (task, split,
// seed, index) and the options: the same arguments give the same sample on every run.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "train/sample.h"

namespace minicpm::pico {

/// kTest has random streams and fonts that kTrain never uses.
enum class Split { kTrain, kTest };

struct DrawOptions {
  /// 0: dark on white, upright, sharp, plain fonts; 1: all colours, backgrounds, noise, rotation.
  float difficulty = 1.0f;
  int min_letters = 3;  // of words and numbers that are read
  int max_letters = 10;
  float large = 0;     // share of pictures that are larger than one slice, and so are cut
  int turns = 0;       // questions about a picture at most; 0: one to three, as the task has it
  bool boxes = false;  // give LabelBox lists: one box for each character or shape drawn
};

/// Names of all tasks: "shape_one", "shapes_two", "count", "word", "digits", "page", ...
std::span<const std::string_view> tasks();

/// Number of dense classes, "nothing" (0) included.
int dense_classes();
/// "nothing", "a", "red circle", ...
std::string dense_class_name(int label);

/// Throws Error invalid_request for an unknown task or options out of range, not_found where fonts are missing. May be
/// called from several threads at once.
TrainingSample draw(std::string_view task, Split split, uint64_t seed, int64_t index, const DrawOptions& options);

}  // namespace minicpm::pico

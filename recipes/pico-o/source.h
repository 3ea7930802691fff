// Mixtures of tasks, as `minicpm train` takes them from the plug-in.
#pragma once

#include <memory>
#include <string_view>

#include "train/sample.h"

namespace minicpm::pico_o {

/// From JSON: {"split": "train", "seed": 1, "size": 100000, "mix": [{"task": "digits", "weight": 2, "difficulty": 0,
/// "difficulty_end": 1}, ...]}. The difficulty moves from one to the other over the samples. Throws Error bad_file and
/// invalid_request.
std::unique_ptr<SampleSource> make_source(std::string_view options_json);

}  // namespace minicpm::pico_o

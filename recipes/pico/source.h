// The generator as a source of samples: a mixture of tasks that grows harder from sample to sample.
#pragma once

#include <memory>
#include <string_view>

#include "train/sample.h"

namespace minicpm::pico {

/// `options_json`: {"split": "train"|"test", "seed": N, "size": N, "boxes": bool, "mix": [{"task": NAME, "weight": W,
/// "difficulty": D, "difficulty_end": D, "min_letters": N, "max_letters": N, "large": S}, ...]}. All but "mix" and
/// "task" may be left out. Difficulty goes linearly from "difficulty" (1 if absent) to "difficulty_end" (the same if
/// absent) over indices 0 to size; the rest is as in DrawOptions. Throws Error bad_file and invalid_request naming the
/// key.
std::unique_ptr<SampleSource> make_source(std::string_view options_json);

}  // namespace minicpm::pico

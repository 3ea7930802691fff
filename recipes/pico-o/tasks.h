// The samples that pico-o is trained and judged on: speech, pictures, questions and answers. Everything follows from
// (task, split, seed, index) and the options.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "pico/generator.h"
#include "train/sample.h"

namespace minicpm::pico_o {

using pico::Split;

struct MakeOptions {
  float difficulty = 1;  // 0: even voices, no noise; 1: all rates and pitches, noise, silence around
};

/// digits, commands, sums, colors: to be written down. ask_sum, ask_color: spoken questions. read_sum, read_color: the
/// same as text.
std::span<const std::string_view> tasks();

/// Throws Error invalid_request for an unknown task, not_found where eSpeak NG is missing. The split kTest has random
/// streams of its own, and half of its voices are such that kTrain never has. May be called from several threads.
TrainingSample make(std::string_view task, Split split, uint64_t seed, int64_t index, const MakeOptions& options);

}  // namespace minicpm::pico_o

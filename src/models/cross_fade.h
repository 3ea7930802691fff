// Joining pieces of speech that overlap.
#pragma once

#include <span>
#include <vector>

namespace minicpm {

inline constexpr size_t kSpeechOverlap = 2048;  // samples: four frames of codes

/// The weighted sum of `previous` and `next`, whose first kSpeechOverlap samples lie over the last ones of `previous`:
/// triangular weights, divided by their sum. As many samples as before, less the overlap. The first part is
/// result[0, previous.size()).
std::vector<float> cross_fade(std::span<const float> previous, std::span<const float> next);

}  // namespace minicpm

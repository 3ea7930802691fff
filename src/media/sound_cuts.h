// Long sound cut into parts that a model hears one by one.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace minicpm {

struct SoundCut {
  int64_t begin = 0, end = 0;  // samples
  bool silent = false;         // nothing in it is louder than about -60 dB

  bool operator==(const SoundCut&) const = default;
};

/// Parts of at most `window` samples that follow each other without gaps. A cut lies in the middle of the quietest
/// fifth of a second of the second half of a window, so that words stay whole; what fits into one window is not cut.
std::vector<SoundCut> cut_sound(std::span<const float> samples, int64_t rate, int64_t window);

}  // namespace minicpm

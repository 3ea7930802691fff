// Whether speech that was just made sounds wrong: long silence, or one sound that does not change.
#pragma once

#include <span>
#include <vector>

#include "base/tensor.h"

namespace minicpm {

class SpeechCheck {
 public:
  /// The next part of the sound and its mel frames (natural logarithms of magnitudes, [n, bins], 256 samples each).
  /// False where 12 pieces of 2560 samples in a row are silent (peaks below 3e-3), or 5 in a row differ less than a
  /// limit from the one before them; samples beyond whole pieces are not looked at.
  bool accepts(std::span<const float> samples, Tensor mel);

 private:
  int silent_ = 0, alike_ = 0;    // pieces in a row
  std::vector<double> previous_;  // mean level of each bin in the last sounding piece, dB
};

}  // namespace minicpm

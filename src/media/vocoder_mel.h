// Sound to the mel frames that the vocoder turns back into sound.
#pragma once

#include <span>
#include <vector>

#include "media/log_mel.h"

namespace minicpm {

inline constexpr int64_t kSpeechRate = 24000;  // samples a second of speech that is made

/// 100 bins on the HTK mel scale, tips of 1, from magnitudes of 1024 samples (periodic Hann) every 256, the sound
/// reflected at both ends; natural logarithm, at least that of 1e-5. 1 + samples / 256 frames. Sound shorter than 513
/// samples cannot be reflected: Error invalid_request.
MelFrames vocoder_mel(std::span<const float> samples);

/// [513, 100], row by row.
std::vector<float> vocoder_mel_filters();

}  // namespace minicpm

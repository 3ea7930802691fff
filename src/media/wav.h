// Sound as WAV files and raw samples.
#pragma once

#include <span>
#include <string>

namespace minicpm {

/// Samples as 16-bit little-endian numbers; what lies beyond -1 to 1 is cut.
std::string pcm16(std::span<const float> samples);
/// A whole WAV file: mono, 16 bits.
std::string wav_file(std::span<const float> samples, int rate);

}  // namespace minicpm

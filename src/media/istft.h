// From spectra back to sound.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace minicpm {

/// Inverse short-time Fourier transform: `frames` one-sided spectra of n_fft / 2 + 1 bins each, real and imaginary
/// parts [frames, bins], one every `hop` samples. Frames are windowed by a periodic Hann window of n_fft samples,
/// added, and divided by the sum of the squared windows. `n_fft - hop` samples at the edges, half at each end, are left
/// out, so that frames * hop remain ("same" padding).
std::vector<float> istft_same(std::span<const float> real, std::span<const float> imaginary, int64_t n_fft,
                              int64_t hop);

}  // namespace minicpm

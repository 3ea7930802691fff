#include "media/istft.h"

#include <cmath>
#include <numbers>

#include "base/error.h"
#include "media/fourier.h"

namespace minicpm {
std::vector<float> istft_same(std::span<const float> real, std::span<const float> imaginary, int64_t n_fft,
                              int64_t hop) {
  const int64_t bins = n_fft / 2 + 1, frames = static_cast<int64_t>(real.size()) / bins;
  MINICPM_CHECK(real.size() == imaginary.size() && frames * bins == static_cast<int64_t>(real.size()));
  MINICPM_CHECK(n_fft % 2 == 0 && hop > 0 && hop <= n_fft);
  if (frames == 0) return {};
  const FourierPlan plan = make_fourier_plan(n_fft, true);
  std::vector<float> window(static_cast<size_t>(n_fft));
  for (int64_t i = 0; i < n_fft; ++i) {
    const double phase = 2 * std::numbers::pi * static_cast<double>(i) / static_cast<double>(n_fft);
    window[i] = static_cast<float>(0.5 - 0.5 * std::cos(phase));
  }
  const int64_t length = (frames - 1) * hop + n_fft;
  std::vector<float> sum(static_cast<size_t>(length)), weight(static_cast<size_t>(length));
  std::vector<kiss_fft_cpx> spectrum(static_cast<size_t>(bins));
  std::vector<float> samples(static_cast<size_t>(n_fft));
  const float scale = 1.0f / static_cast<float>(n_fft);  // the transform is not normalised
  for (int64_t t = 0; t < frames; ++t) {
    for (int64_t i = 0; i < bins; ++i)
      spectrum[i] = {real[t * bins + i], imaginary[t * bins + i]};
    kiss_fftri(plan.get(), spectrum.data(), samples.data());
    for (int64_t i = 0; i < n_fft; ++i) {
      sum[t * hop + i] += scale * samples[i] * window[i];
      weight[t * hop + i] += window[i] * window[i];
    }
  }
  const int64_t edge = (n_fft - hop) / 2;
  std::vector<float> result(static_cast<size_t>(frames * hop));
  for (int64_t i = 0; i < frames * hop; ++i)
    result[i] = weight[edge + i] > 1e-11f ? sum[edge + i] / weight[edge + i] : 0.0f;
  return result;
}

}  // namespace minicpm

#include "media/vocoder_mel.h"

#include <cmath>
#include <numbers>

#include "base/error.h"
#include "media/fourier.h"

namespace minicpm {
namespace {

constexpr int64_t kFft = 1024, kHop = 256, kBins = 100, kSpectrum = kFft / 2 + 1;
constexpr float kFloor = 1e-5f;

std::vector<MelFilter> filters() {
  const double highest = 2595 * std::log10(1 + kSpeechRate / 2.0 / 700);
  std::vector<double> corners;
  for (int64_t i = 0; i < kBins + 2; ++i)
    corners.push_back(700 * (std::pow(10.0, highest * static_cast<double>(i) / (kBins + 1) / 2595) - 1));
  return mel_filters(corners, kSpeechRate, kFft, false);
}

}  // namespace

std::vector<float> vocoder_mel_filters() {
  std::vector<float> table(kSpectrum * kBins);
  const auto list = filters();
  for (int64_t b = 0; b < kBins; ++b) {
    for (size_t i = 0; i < list[b].weights.size(); ++i)
      table[(list[b].first + static_cast<int64_t>(i)) * kBins + b] = list[b].weights[i];
  }
  return table;
}

MelFrames vocoder_mel(std::span<const float> samples) {
  const auto count = static_cast<int64_t>(samples.size());
  if (count <= kFft / 2) {
    fail(ErrorCode::kInvalidRequest, "a sound of {} samples is too short, expected at least {}", count, kFft / 2 + 1);
  }
  const auto sample_at = [&](int64_t i) {
    if (i < 0) i = -i;
    if (i >= count) i = 2 * (count - 1) - i;
    return samples[static_cast<size_t>(i)];
  };
  const FourierPlan plan = make_fourier_plan(kFft, false);
  const auto list = filters();
  std::vector<float> windowed(kFft);
  std::vector<kiss_fft_cpx> spectrum(kSpectrum);
  MelFrames mel{1 + count / kHop, kBins, {}};
  for (int64_t t = 0; t < mel.frames; ++t) {
    for (int64_t i = 0; i < kFft; ++i) {
      const double phase = 2 * std::numbers::pi * static_cast<double>(i) / kFft;
      windowed[i] = static_cast<float>(0.5 - 0.5 * std::cos(phase)) * sample_at(t * kHop + i - kFft / 2);
    }
    kiss_fftr(plan.get(), windowed.data(), spectrum.data());
    for (const MelFilter& filter : list) {
      double sum = 0;
      for (size_t i = 0; i < filter.weights.size(); ++i) {
        const kiss_fft_cpx& value = spectrum[filter.first + static_cast<int64_t>(i)];
        sum += filter.weights[i] * std::sqrt(value.r * value.r + value.i * value.i);
      }
      mel.values.push_back(std::log(std::max(static_cast<float>(sum), kFloor)));
    }
  }
  return mel;
}

}  // namespace minicpm

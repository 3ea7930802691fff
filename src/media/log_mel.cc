#include "media/log_mel.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "media/fourier.h"

namespace minicpm {
namespace {

constexpr int64_t kWindow = 400;
constexpr int64_t kSpectrum = kWindow / 2 + 1;
constexpr int64_t kEdge = kWindow / 2;  // reflected at both ends of the 30 s
constexpr int64_t kMaxFrames = kMaxMelSamples / kMelHop;
constexpr double kFloor = 1e-10;    // of a filter's energy
constexpr float kDynamicRange = 8;  // decades below the loudest

// Slaney's scale: linear below 1 kHz (15 mels), then 27 mels for each factor of 6.4.
constexpr double kHzPerMel = 200.0 / 3, kLogHz = 1000, kLogMel = kLogHz / kHzPerMel;
const double kMelsPerLog = 27 / std::log(6.4);

double mel_of(double hz) {
  return hz < kLogHz ? hz / kHzPerMel : kLogMel + kMelsPerLog * std::log(hz / kLogHz);
}
double hz_of(double mel) {
  return mel < kLogMel ? mel * kHzPerMel : kLogHz * std::exp((mel - kLogMel) / kMelsPerLog);
}

/// Sample i of the sound, which is silent from its end to 30 s and reflected beyond both ends of these.
float sample_at(std::span<const float> samples, int64_t i) {
  if (i < 0) i = -i;
  if (i >= kMaxMelSamples) i = 2 * (kMaxMelSamples - 1) - i;
  return i < static_cast<int64_t>(samples.size()) ? samples[static_cast<size_t>(i)] : 0.0f;
}

}  // namespace

LogMel::LogMel(int64_t bins) : bins_(bins) {
  MINICPM_CHECK(bins > 0 && bins <= 1024);
  for (int64_t i = 0; i < kWindow; ++i) {
    const double phase = 2 * std::numbers::pi * static_cast<double>(i) / kWindow;
    window_.push_back(static_cast<float>(0.5 - 0.5 * std::cos(phase)));
  }
  const double highest = mel_of(kAudioRate / 2.0);
  const auto corner = [&](int64_t i) {
    return hz_of(highest * static_cast<double>(i) / static_cast<double>(bins + 1));
  };
  std::vector<double> corners;
  for (int64_t i = 0; i < bins + 2; ++i)
    corners.push_back(corner(i));
  filters_ = mel_filters(corners, kAudioRate, kWindow, true);
}

std::vector<float> LogMel::filters() const {
  std::vector<float> table(static_cast<size_t>(bins_ * kSpectrum));
  for (int64_t b = 0; b < bins_; ++b)
    std::ranges::copy(filters_[b].weights, table.begin() + b * kSpectrum + filters_[b].first);
  return table;
}

MelFrames LogMel::extract(std::span<const float> samples) const {
  LogMelStream stream(*this);
  stream.push(samples);
  return stream.finish();
}

void LogMelStream::push(std::span<const float> samples) {
  const auto count = static_cast<int64_t>(samples_.size() + samples.size());
  if (count > kMaxMelSamples) {
    fail(ErrorCode::kInvalidRequest, "a piece of sound has {} samples, expected at most {}", count, kMaxMelSamples);
  }
  samples_.insert(samples_.end(), samples.begin(), samples.end());
  // A frame sees kEdge samples from its middle on.
  if (count >= kEdge) compute((count - kEdge) / kMelHop + 1);
}

MelFrames LogMelStream::finish() {
  const auto count = static_cast<int64_t>(samples_.size());
  const int64_t bins = extractor_.bins_;
  MelFrames mel{(count + kMelHop - 1) / kMelHop, bins, {}};
  // Frames behind the last one that is kept may still see its end, and count for the loudest value.
  compute(std::max(mel.frames, std::min(kMaxFrames, (count + kEdge + kMelHop - 1) / kMelHop)));
  float loudest = static_cast<float>(std::log10(kFloor));
  for (const float value : logs_)
    loudest = std::max(loudest, value);
  logs_.resize(static_cast<size_t>(mel.frames * bins));
  for (float& value : logs_)
    value = (std::max(value, loudest - kDynamicRange) + 4) / 4;
  mel.values = std::move(logs_);
  samples_.clear();
  logs_.clear();
  frames_ = 0;
  return mel;
}

void LogMelStream::compute(int64_t end) {
  end = std::min(end, kMaxFrames);
  if (end <= frames_) return;
  const int64_t bins = extractor_.bins_;
  logs_.resize(static_cast<size_t>(end * bins));
  const auto plan = make_fourier_plan(kWindow, false);
  std::array<float, kWindow> windowed;
  std::array<kiss_fft_cpx, kSpectrum> spectrum;
  std::array<float, kSpectrum> power;
  for (; frames_ < end; ++frames_) {
    for (int64_t i = 0; i < kWindow; ++i)
      windowed[i] = extractor_.window_[i] * sample_at(samples_, frames_ * kMelHop + i - kEdge);
    kiss_fftr(plan.get(), windowed.data(), spectrum.data());
    for (int64_t i = 0; i < kSpectrum; ++i)
      power[i] = spectrum[i].r * spectrum[i].r + spectrum[i].i * spectrum[i].i;
    for (int64_t b = 0; b < bins; ++b) {
      const MelFilter& filter = extractor_.filters_[b];
      double energy = 0;
      for (size_t i = 0; i < filter.weights.size(); ++i)
        energy += filter.weights[i] * power[filter.first + i];
      logs_[frames_ * bins + b] = static_cast<float>(std::log10(std::max(energy, kFloor)));
    }
  }
}

}  // namespace minicpm

#include "media/log_mel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <complex>
#include <numbers>
#include <random>

#include "base/error.h"

namespace minicpm {
namespace {

using ::testing::Each;
using ::testing::FloatEq;
using ::testing::HasSubstr;

std::vector<float> tone(double hz, int64_t samples, double amplitude = 0.5) {
  std::vector<float> result(static_cast<size_t>(samples));
  for (int64_t i = 0; i < samples; ++i) {
    result[static_cast<size_t>(i)] =
        static_cast<float>(amplitude * std::sin(2 * std::numbers::pi * hz * static_cast<double>(i) / kAudioRate));
  }
  return result;
}

int64_t loudest_bin(std::span<const float> frame) {
  return std::ranges::max_element(frame) - frame.begin();
}

/// Bin of an 80-bin scale whose triangle has its tip nearest to a frequency.
int64_t bin_of(double hz) {
  const double mel = hz < 1000 ? hz * 3 / 200 : 15 + 27 * std::log(hz / 1000) / std::log(6.4);
  const double highest = 15 + 27 * std::log(8.0) / std::log(6.4);
  return std::llround(mel / highest * 81) - 1;
}

TEST(LogMel, FindsTones) {
  const LogMel extractor;
  for (const double hz : {200.0, 440.0, 1000.0, 2500.0, 6000.0}) {
    const MelFrames mel = extractor.extract(tone(hz, kAudioRate));
    ASSERT_EQ(mel.frames, 100);
    ASSERT_EQ(mel.bins, 80);
    for (int64_t t = 5; t < 95; ++t)
      EXPECT_NEAR(loudest_bin(mel.frame(t)), bin_of(hz), 1) << hz;
  }
}

TEST(LogMel, SilenceIsTheFloor) {
  EXPECT_THAT(LogMel().extract(std::vector<float>(4000)).values, Each(FloatEq(-1.5f)));
  EXPECT_EQ(LogMel().extract({}).frames, 0);
}

TEST(LogMel, NothingIsMoreThanEightDecadesBelowTheLoudest) {
  const MelFrames mel = LogMel().extract(tone(1000, 8000));
  const auto [low, high] = std::ranges::minmax(mel.values);
  EXPECT_NEAR(high - low, 2.0f, 1e-6);
}

TEST(LogMel, AgreesWithAPlainTransform) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 0.1f);
  std::vector<float> samples(1234);
  std::ranges::generate(samples, [&] { return normal(random); });
  const LogMel extractor;
  const MelFrames mel = extractor.extract(samples);
  ASSERT_EQ(mel.frames, 8);
  const std::vector<float> filters = extractor.filters();
  std::vector<double> logs;
  for (int64_t t = 0; t < 10; ++t) {  // two more frames reach into the sound
    std::vector<double> energy(80);
    for (int64_t k = 0; k <= 200; ++k) {
      std::complex<double> sum;
      for (int64_t i = 0; i < 400; ++i) {
        const int64_t at = std::abs(t * 160 + i - 200);
        const double sample = at < 1234 ? samples[static_cast<size_t>(at)] : 0.0;
        const double window = 0.5 - 0.5 * std::cos(2 * std::numbers::pi * static_cast<double>(i) / 400);
        sum += sample * window * std::polar(1.0, -2 * std::numbers::pi * static_cast<double>(k * i) / 400);
      }
      for (int64_t b = 0; b < 80; ++b)
        energy[static_cast<size_t>(b)] += std::norm(sum) * filters[static_cast<size_t>(b * 201 + k)];
    }
    for (const double e : energy)
      logs.push_back(std::log10(std::max(e, 1e-10)));
  }
  const double floor = *std::ranges::max_element(logs) - 8;
  for (size_t i = 0; i < mel.values.size(); ++i)
    EXPECT_NEAR(mel.values[i], (std::max(logs[i], floor) + 4) / 4, 2e-4) << i;
}

/// Frames of sound in pieces are those of the whole, to the bit, and there as soon as they can be.
TEST(LogMel, AStreamIsTheWhole) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const LogMel extractor;
  LogMelStream stream(extractor);
  for (const size_t length :
       {size_t{0}, size_t{1}, size_t{159}, size_t{160}, size_t{401}, size_t{16000}, size_t{37777}}) {
    std::vector<float> samples(length);
    std::normal_distribution<float> noise(0, 0.2f);
    std::ranges::generate(samples, [&] { return noise(random); });
    for (size_t at = 0; at < length;) {
      const size_t piece = std::min<size_t>(length - at, 1 + random() % 3000);
      stream.push(std::span(samples).subspan(at, piece));
      at += piece;
      EXPECT_EQ(stream.complete_frames(), at < 200 ? 0 : static_cast<int64_t>((at - 200) / 160 + 1));
    }
    const MelFrames whole = extractor.extract(samples), streamed = stream.finish();
    EXPECT_EQ(streamed.frames, whole.frames);
    EXPECT_EQ(streamed.values, whole.values) << length;
  }
  stream.push(std::vector<float>(kMaxMelSamples));
  EXPECT_EQ(stream.complete_frames(), 2999);
  EXPECT_THROW(stream.push(std::vector<float>(1)), Error);
}

TEST(LogMel, TakesThirtySeconds) {
  EXPECT_EQ(LogMel().extract(tone(300, kMaxMelSamples)).frames, 3000);
  try {
    LogMel().extract(std::vector<float>(kMaxMelSamples + 1));
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("480001 samples, expected at most 480000"));
  }
}

}  // namespace
}  // namespace minicpm

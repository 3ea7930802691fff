#include "media/sound_cuts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "base/error.h"

namespace minicpm {
namespace {

constexpr int64_t kRate = 1000;

/// Noise with pauses between these seconds.
std::vector<float> speech(double seconds, std::vector<std::pair<double, double>> pauses) {
  std::mt19937 random(5);
  std::uniform_real_distribution<float> noise(-0.5f, 0.5f);
  std::vector<float> samples(static_cast<size_t>(seconds * kRate));
  for (size_t i = 0; i < samples.size(); ++i) {
    const double at = static_cast<double>(i) / kRate;
    const bool quiet =
        std::ranges::any_of(pauses, [&](const auto& pause) { return at >= pause.first && at < pause.second; });
    samples[i] = quiet ? 1e-5f : noise(random);
  }
  return samples;
}

TEST(SoundCuts, WhatFitsStaysWhole) {
  EXPECT_TRUE(cut_sound({}, kRate, 1000).empty());
  EXPECT_THAT(cut_sound(speech(1, {}), kRate, 1000), ::testing::ElementsAre(SoundCut{0, 1000, false}));
}

TEST(SoundCuts, LieInPauses) {
  const auto cuts = cut_sound(speech(25, {{7, 7.4}, {16.5, 17}}), kRate, 10 * kRate);
  ASSERT_EQ(cuts.size(), 3u);
  EXPECT_NEAR(static_cast<double>(cuts[0].end), 7200, 120);
  EXPECT_NEAR(static_cast<double>(cuts[1].end), 16750, 160);
  EXPECT_EQ(cuts[2].end, 25000);
}

TEST(SoundCuts, SilenceIsTold) {
  const auto cuts = cut_sound(speech(20, {{8, 20}}), kRate, 10 * kRate);
  ASSERT_GE(cuts.size(), 2u);
  EXPECT_FALSE(cuts.front().silent);
  EXPECT_TRUE(cuts.back().silent);
}

TEST(SoundCuts, CoverEverythingInWindows) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int i = 0; i < 50; ++i) {
    std::vector<float> samples(random() % 90000);
    for (float& sample : samples)
      sample = static_cast<float>(random() % 100) / 100;
    const auto window = static_cast<int64_t>(400 + random() % 30000);
    int64_t at = 0;
    for (const SoundCut& cut : cut_sound(samples, kRate, window)) {
      EXPECT_EQ(cut.begin, at);
      EXPECT_GT(cut.end, cut.begin);
      EXPECT_LE(cut.end - cut.begin, window);
      at = cut.end;
    }
    EXPECT_EQ(at, static_cast<int64_t>(samples.size()));
  }
  EXPECT_THROW(cut_sound(std::vector<float>(1000), kRate, 300), Error);
}

}  // namespace
}  // namespace minicpm

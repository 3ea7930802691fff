#include "media/rate_converter.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <random>

#include "base/error.h"

namespace minicpm {
namespace {

std::vector<float> tone(int rate, double hertz, double seconds) {
  std::vector<float> samples(static_cast<size_t>(rate * seconds));
  for (size_t i = 0; i < samples.size(); ++i)
    samples[i] = static_cast<float>(0.5 * std::sin(2 * std::numbers::pi * hertz * static_cast<double>(i) / rate));
  return samples;
}

/// Without the ends, where the filter sees the silence around the sound.
double largest_difference(std::span<const float> a, std::span<const float> b) {
  double largest = 0;
  for (size_t i = 300; i + 300 < std::min(a.size(), b.size()); ++i)
    largest = std::max(largest, static_cast<double>(std::abs(a[i] - b[i])));
  return largest;
}

TEST(RateConverterTest, TonesStayAsTheyAre) {
  for (const int from : {8000, 11025, 16000, 24000, 44100, 48000}) {
    const double highest = 0.85 * std::min(from, 16000) / 2;
    for (const double hertz : {50.0, 1000.0, highest}) {
      RateConverter converter(from, 16000);
      const auto made = converter.convert(tone(from, hertz, 0.5)), expected = tone(16000, hertz, 0.5);
      EXPECT_GT(made.size(), expected.size() * 9 / 10);
      EXPECT_LT(largest_difference(made, expected), 0.006) << from << " Hz, a tone of " << hertz;
    }
  }
}

TEST(RateConverterTest, WhatWouldAliasIsHeldBack) {
  RateConverter converter(24000, 16000);
  const auto made = converter.convert(tone(24000, 9000, 0.5));
  for (size_t i = 300; i + 300 < made.size(); ++i)
    ASSERT_LT(std::abs(made[i]), 0.5 * 4e-4) << i;
}

TEST(RateConverterTest, PiecesDoNotMatter) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const std::vector<float> sound = tone(24000, 700, 0.3);
  RateConverter whole(24000, 16000), parts(24000, 16000);
  const std::vector<float> expected = whole.convert(sound);
  std::vector<float> made;
  for (std::span<const float> rest(sound); !rest.empty();) {
    const size_t count = std::min<size_t>(rest.size(), random() % 100);
    const auto piece = parts.convert(rest.first(count));
    made.insert(made.end(), piece.begin(), piece.end());
    rest = rest.subspan(count);
  }
  EXPECT_EQ(made, expected);
}

TEST(RateConverterTest, OneRateIsNoWork) {
  RateConverter converter(16000, 16000);
  const std::vector<float> sound = tone(16000, 100, 0.01);
  EXPECT_EQ(converter.convert(sound), sound);
  EXPECT_THROW(RateConverter(1, 16000), Error);
  EXPECT_THROW(RateConverter(16000, 1'000'000), Error);
}

}  // namespace
}  // namespace minicpm

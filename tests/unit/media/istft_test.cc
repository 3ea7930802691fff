#include "media/istft.h"

#include <gtest/gtest.h>

#include <cmath>
#include <complex>
#include <numbers>
#include <random>

#include "base/error.h"
#include "media/vocoder_mel.h"
#include "media/wav.h"

namespace minicpm {
namespace {

TEST(Istft, GivesBackWhatWasTransformed) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  constexpr int64_t kFft = 16, kHop = 4, kFrames = 9, kEdge = (kFft - kHop) / 2;
  std::vector<float> samples(kFrames * kHop);
  for (float& sample : samples)
    sample = normal(random);
  std::vector<float> real, imaginary;
  for (int64_t t = 0; t < kFrames; ++t) {
    for (int64_t k = 0; k <= kFft / 2; ++k) {
      std::complex<double> sum;
      for (int64_t i = 0; i < kFft; ++i) {
        const int64_t at = t * kHop - kEdge + i;
        if (at < 0 || at >= static_cast<int64_t>(samples.size())) continue;
        const double window = 0.5 - 0.5 * std::cos(2 * std::numbers::pi * static_cast<double>(i) / kFft);
        sum += window * samples[static_cast<size_t>(at)] *
               std::polar(1.0, -2 * std::numbers::pi * static_cast<double>(k * i) / kFft);
      }
      real.push_back(static_cast<float>(sum.real()));
      imaginary.push_back(static_cast<float>(sum.imag()));
    }
  }
  const std::vector<float> result = istft_same(real, imaginary, kFft, kHop);
  ASSERT_EQ(result.size(), samples.size());
  for (size_t i = 0; i < samples.size(); ++i)
    EXPECT_NEAR(result[i], samples[i], 1e-5) << i;
  EXPECT_TRUE(istft_same({}, {}, kFft, kHop).empty());
}

TEST(VocoderMel, FramesAndFloor) {
  const MelFrames mel = vocoder_mel(std::vector<float>(2560));
  EXPECT_EQ(mel.frames, 11);
  EXPECT_EQ(mel.bins, 100);
  for (const float value : mel.values)
    EXPECT_FLOAT_EQ(value, std::log(1e-5f));
  EXPECT_THROW(vocoder_mel(std::vector<float>(512)), Error);
}

TEST(Wav, HeaderAndSamples) {
  const float samples[] = {0.0f, 1.0f, -1.0f, 2.0f, -2.0f, NAN};
  const std::string file = wav_file(samples, 24000);
  ASSERT_EQ(file.size(), 44u + 12u);
  const auto u32 = [&](size_t at) {
    uint32_t value = 0;
    for (int i = 3; i >= 0; --i)
      value = value << 8 | static_cast<unsigned char>(file[at + static_cast<size_t>(i)]);
    return value;
  };
  EXPECT_EQ(u32(4), 36u + 12u);
  EXPECT_EQ(u32(24), 24000u);
  EXPECT_EQ(u32(28), 48000u);
  EXPECT_EQ(u32(40), 12u);
  const auto i16 = [&](size_t i) {
    return static_cast<int16_t>(u32(44 + 2 * i - (i == 5 ? 2 : 0)) >> (i == 5 ? 16 : 0));
  };
  const int expected[] = {0, 32767, -32767, 32767, -32768, 0};
  for (size_t i = 0; i < 6; ++i)
    EXPECT_EQ(i16(i), expected[i]) << i;
}

}  // namespace
}  // namespace minicpm

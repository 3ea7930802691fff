#include "media/sound_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "base/error.h"
#include "media/sound.h"
#include "support/video_writer.h"

namespace minicpm {
namespace {

using testing::can_encode;
using ::testing::HasSubstr;

constexpr int kRate = 24000;

std::vector<float> tone(double seconds) {
  std::vector<float> samples(static_cast<size_t>(seconds * kRate));
  for (size_t i = 0; i < samples.size(); ++i)
    samples[i] = static_cast<float>(0.4 * std::sin(2 * std::numbers::pi * 440 * static_cast<double>(i) / kRate));
  return samples;
}

/// Amplitude of a frequency in the middle half of a sound.
double amplitude(const Sound& sound, double hz) {
  double re = 0, im = 0;
  const size_t begin = sound.samples.size() / 4, end = 3 * begin;
  for (size_t i = begin; i < end; ++i) {
    const double angle = 2 * std::numbers::pi * hz * static_cast<double>(i) / sound.rate;
    re += sound.samples[i] * std::cos(angle);
    im += sound.samples[i] * std::sin(angle);
  }
  return 2 * std::hypot(re, im) / static_cast<double>(end - begin);
}

TEST(SoundWriter, FormatsFollowTheEnding) {
  EXPECT_EQ(sound_format("a.wav"), SoundFormat::kWav);
  EXPECT_EQ(sound_format("dir.x/A.MP3"), SoundFormat::kMp3);
  EXPECT_EQ(sound_format("a.flac"), SoundFormat::kFlac);
  EXPECT_EQ(sound_format("a.ogg"), SoundFormat::kVorbis);
  EXPECT_EQ(sound_format("a.opus"), SoundFormat::kOpus);
  EXPECT_EQ(sound_format("a.m4a"), SoundFormat::kAac);
  for (const char* name : {"a.xyz", "a", "mp3"}) {
    try {
      sound_format(name);
      FAIL() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidRequest);
      EXPECT_THAT(error.what(), HasSubstr(".wav, .mp3"));
    }
  }
}

class Formats : public ::testing::TestWithParam<std::pair<SoundFormat, const char*>> {};

TEST_P(Formats, CanBeReadAgain) {
  const auto [format, encoder] = GetParam();
  if (encoder != nullptr && !can_encode(encoder)) GTEST_SKIP() << "this FFmpeg has no " << encoder;
  const std::vector<float> samples = tone(1.5);
  const std::string file = encode_sound(samples, kRate, format);
  EXPECT_EQ(file, encode_sound(samples, kRate, format));
  SoundOptions options;
  options.rate = kRate;
  const Sound sound = sound_from_bytes(file, "tone", options);
  EXPECT_NEAR(sound.seconds(), 1.5, 0.15);  // some encoders add a beginning that their containers do not tell
  EXPECT_NEAR(amplitude(sound, 440), 0.4, 0.03);
  EXPECT_LT(amplitude(sound, 1000), 0.02);
}

TEST_P(Formats, TakeShortAndBrokenSound) {
  const auto [format, encoder] = GetParam();
  if (encoder != nullptr && !can_encode(encoder)) GTEST_SKIP() << "this FFmpeg has no " << encoder;
  const std::vector<float> broken = {0, 5, -7, std::numeric_limits<float>::quiet_NaN(),
                                     std::numeric_limits<float>::infinity()};
  EXPECT_FALSE(encode_sound(broken, kRate, format).empty());
  EXPECT_FALSE(encode_sound({}, kRate, format).empty());
}

INSTANTIATE_TEST_SUITE_P(All, Formats,
                         ::testing::Values(std::pair{SoundFormat::kWav, static_cast<const char*>(nullptr)},
                                           std::pair{SoundFormat::kMp3, "libmp3lame"},
                                           std::pair{SoundFormat::kFlac, "flac"},
                                           std::pair{SoundFormat::kVorbis, "libvorbis"},
                                           std::pair{SoundFormat::kOpus, "libopus"},
                                           std::pair{SoundFormat::kAac, "aac"}));

TEST(SoundWriter, RefusesRatesThatAFormatLacks) {
  if (!can_encode("libopus")) GTEST_SKIP() << "this FFmpeg has no libopus";
  try {
    encode_sound(tone(0.1), 22050, SoundFormat::kOpus);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_THAT(error.what(), HasSubstr("Opus has no rate of 22050 Hz"));
  }
}

}  // namespace
}  // namespace minicpm

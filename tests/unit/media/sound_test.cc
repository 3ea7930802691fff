#include "media/sound.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <numbers>
#include <random>

#include "base/error.h"
#include "media/sound_writer.h"
#include "support/video_writer.h"

namespace minicpm {
namespace {

using ::testing::HasSubstr;

/// A WAV file of 16-bit samples, channels interleaved.
std::string wav(int rate, int channels, const std::vector<int16_t>& samples) {
  std::string bytes;
  const auto add = [&](auto value) { bytes.append(reinterpret_cast<const char*>(&value), sizeof value); };
  const auto data = static_cast<uint32_t>(2 * samples.size());
  bytes += "RIFF";
  add(uint32_t{36 + data});
  bytes += "WAVEfmt ";
  add(uint32_t{16});
  add(uint16_t{1});
  add(static_cast<uint16_t>(channels));
  add(static_cast<uint32_t>(rate));
  add(static_cast<uint32_t>(rate * channels * 2));
  add(static_cast<uint16_t>(channels * 2));
  add(uint16_t{16});
  bytes += "data";
  add(data);
  bytes.append(reinterpret_cast<const char*>(samples.data()), data);
  return bytes;
}

std::vector<int16_t> tone(int rate, double hz, double seconds, int channels = 1) {
  std::vector<int16_t> samples;
  for (int i = 0; i < static_cast<int>(rate * seconds); ++i) {
    const double value = 16000 * std::sin(2 * std::numbers::pi * hz * i / rate);
    for (int c = 0; c < channels; ++c)
      samples.push_back(static_cast<int16_t>(std::lround(c == 0 ? value : value / 2)));
  }
  return samples;
}

ErrorCode code_of(const std::string& bytes, std::string* message = nullptr, const SoundOptions& options = {}) {
  try {
    sound_from_bytes(bytes, "clip", options);
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("clip"));
    if (message != nullptr) *message = error.what();
    return error.code();
  }
  ADD_FAILURE() << "was read";
  return ErrorCode::kInternal;
}

TEST(Sound, OfTheRightRateIsTakenAsItIs) {
  const std::vector<int16_t> samples = tone(16000, 440, 0.5);
  const Sound sound = sound_from_bytes(wav(16000, 1, samples), "clip");
  EXPECT_EQ(sound.rate, 16000);
  ASSERT_EQ(sound.samples.size(), samples.size());
  for (size_t i = 0; i < samples.size(); ++i)
    ASSERT_EQ(sound.samples[i], static_cast<float>(samples[i]) / 32768.0f) << i;
}

TEST(Sound, ChannelsAreMixed) {
  const std::vector<int16_t> both = tone(16000, 440, 0.1, 2);
  const Sound sound = sound_from_bytes(wav(16000, 2, both), "clip");
  ASSERT_EQ(sound.samples.size(), both.size() / 2);
  for (size_t i = 0; i < sound.samples.size(); ++i)
    ASSERT_NEAR(sound.samples[i], (both[2 * i] + both[2 * i + 1]) / 2.0 / 32768, 2e-5) << i;
}

TEST(Sound, OtherRatesAreResampled) {
  for (const int rate : {8000, 22050, 44100, 48000}) {
    const Sound sound = sound_from_bytes(wav(rate, 1, tone(rate, 440, 1)), "clip");
    EXPECT_NEAR(static_cast<double>(sound.samples.size()), 16000, 2) << rate;
    double worst = 0;
    for (size_t i = 1600; i < 14400; ++i) {
      const double expected = 16000.0 / 32768 * std::sin(2 * std::numbers::pi * 440 * static_cast<double>(i) / 16000);
      worst = std::max(worst, std::abs(sound.samples[i] - expected));
    }
    EXPECT_LT(worst, 2e-4) << rate;  // the tone itself is rounded to 16 bits
  }
}

TEST(Sound, WhatLiesAboveHalfTheRateIsGone) {
  const Sound sound = sound_from_bytes(wav(48000, 1, tone(48000, 11000, 1)), "clip");
  double energy = 0;
  for (size_t i = 1600; i < 14400; ++i)
    energy += sound.samples[i] * sound.samples[i];
  EXPECT_LT(std::sqrt(energy / 12800), 1e-4);
}

TEST(Sound, TelephonesAndStudiosAreHeardAlike) {
  const std::pair<int, int> forms[] = {{8000, 1}, {192000, 8}, {96000, 6}, {11025, 2}};
  for (const auto& [rate, channels] : forms) {
    // The second channel and those behind it have half of the amplitude.
    const Sound sound = sound_from_bytes(wav(rate, channels, tone(rate, 440, 0.5, channels)), "clip");
    EXPECT_NEAR(static_cast<double>(sound.samples.size()), 8000, 2) << rate;
    const double amplitude = 16000.0 / 32768 * (1 + 0.5 * (channels - 1)) / channels;
    double energy = 0;
    for (size_t i = 800; i < 7200; ++i)
      energy += sound.samples[i] * sound.samples[i];
    EXPECT_NEAR(std::sqrt(energy / 6400), amplitude / std::sqrt(2.0), 1e-3) << rate << " Hz, " << channels;
  }
}

TEST(Sound, OneSampleAndClippedSound) {
  EXPECT_EQ(sound_from_bytes(wav(16000, 1, {12345}), "clip").samples.size(), 1u);
  EXPECT_LE(sound_from_bytes(wav(44100, 2, {12345, -12345}), "clip").samples.size(), 2u);
  std::vector<int16_t> square(48000);
  for (size_t i = 0; i < square.size(); ++i)
    square[i] = i / 50 % 2 == 0 ? 32767 : -32768;
  for (const float sample : sound_from_bytes(wav(48000, 1, square), "clip").samples)
    ASSERT_LT(std::abs(sample), 1.5f);  // filters ring at the edges
}

/// Files of floats can hold anything.
TEST(Sound, WhatIsNoNumberIsSilence) {
  for (const int rate : {16000, 44100}) {
    std::string bytes = wav(rate, 1, tone(rate, 440, 1));  // 16 bits, of which two make one of 32
    bytes[20] = 3;                                         // floats
    bytes[32] = 4;                                         // bytes of a sample
    bytes[34] = 32;                                        // bits
    const auto byte_rate = static_cast<uint32_t>(4 * rate);
    std::memcpy(bytes.data() + 28, &byte_rate, 4);
    const float odd[] = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -1e30f,
                         0.25f};
    for (size_t i = 0; i < 64; ++i)
      std::memcpy(bytes.data() + 44 + 4 * (100 + i), &odd[i % 4], 4);
    for (size_t at = 44 + 4 * 164; at + 4 <= bytes.size(); at += 4)
      std::memcpy(bytes.data() + at, &odd[3], 4);
    const Sound sound = sound_from_bytes(bytes, "clip");
    ASSERT_GT(sound.samples.size(), 7000u);
    for (const float sample : sound.samples)
      ASSERT_TRUE(std::isfinite(sample) && std::abs(sample) <= 1000) << rate;
    EXPECT_NEAR(sound.samples[7000], 0.25f, 1e-3);  // it does not spread
  }
}

/// MP3 streams may go on at another rate, as radio recordings do.
TEST(Sound, TheRateMayChangeInTheMiddle) {
  const auto mp3 = [](int rate) {
    std::vector<float> samples(static_cast<size_t>(rate));
    for (size_t i = 0; i < samples.size(); ++i)
      samples[i] = static_cast<float>(0.5 * std::sin(2 * std::numbers::pi * 440 * static_cast<double>(i) / rate));
    return encode_sound(samples, rate, sound_format("a.mp3"));
  };
  std::string both;
  try {
    both = mp3(44100) + mp3(24000);
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();  // an FFmpeg without its encoder
  }
  const Sound sound = sound_from_bytes(both, "clip");
  EXPECT_NEAR(sound.seconds(), 2.0, 0.25);
  const auto crossings = [&](double from, double to) {
    int count = 0;
    for (auto i = static_cast<size_t>(from * 16000) + 1; i < static_cast<size_t>(to * 16000); ++i)
      count += (sound.samples[i - 1] < 0) != (sound.samples[i] < 0) ? 1 : 0;
    return count / (to - from) / 2;
  };
  EXPECT_NEAR(crossings(0.2, 0.8), 440, 8);
  EXPECT_NEAR(crossings(1.3, 1.8), 440, 8);
}

TEST(Sound, TruncatedFilesAreReadAsFarAsTheyGo) {
  const std::string whole = wav(16000, 1, tone(16000, 440, 1));
  EXPECT_EQ(sound_from_bytes(whole.substr(0, 44 + 16000), "clip").samples.size(), 8000u);
  std::string message;
  EXPECT_EQ(code_of(whole.substr(0, 30), &message), ErrorCode::kBadFile);
}

TEST(Sound, RefusesWhatIsNone) {
  std::string message;
  EXPECT_EQ(code_of("", &message), ErrorCode::kBadFile);
  EXPECT_THAT(message, HasSubstr("is empty"));
  EXPECT_EQ(code_of("This is a text, and no sound at all.", &message), ErrorCode::kBadFile);
  EXPECT_THAT(message, HasSubstr("is not a sound file that can be read"));
  EXPECT_EQ(code_of(testing::make_video({.format = "matroska", .codec = "ffv1", .frames = 3}), &message),
            ErrorCode::kBadFile);
  EXPECT_THAT(message, HasSubstr("holds no sound, only pictures"));
  EXPECT_EQ(code_of("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"), ErrorCode::kBadFile);
  EXPECT_THROW(read_sound("/nowhere/a.wav"), Error);
}

TEST(Sound, RefusesWhatIsTooLong) {
  std::string message;
  SoundOptions options;
  options.max_seconds = 0.5;
  EXPECT_EQ(code_of(wav(16000, 1, tone(16000, 440, 2)), &message, options), ErrorCode::kUnsupported);
  EXPECT_THAT(message, HasSubstr("more than 0.5 seconds"));
}

TEST(Sound, DamageIsNeverFatal) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const std::string good = wav(22050, 2, tone(22050, 440, 0.2, 2));
  for (int i = 0; i < 200; ++i) {
    std::string bytes = good;
    for (int n = 1 + static_cast<int>(random() % 8); n > 0; --n)
      bytes[random() % (random() % 2 == 0 ? 64 : bytes.size())] = static_cast<char>(random());
    if (random() % 4 == 0) bytes.resize(random() % bytes.size());
    try {
      for (const float sample : sound_from_bytes(bytes, "clip").samples)
        ASSERT_TRUE(std::isfinite(sample));
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("clip"));
    }
  }
}

}  // namespace
}  // namespace minicpm

// Speech from a synthesiser on its way in: formats, features, turns and cuts. Skipped where espeak-ng is not installed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "engine/turn_detector.h"
#include "media/log_mel.h"
#include "media/sound.h"
#include "media/sound_cuts.h"
#include "media/sound_writer.h"
#include "media/voice_detector.h"

namespace minicpm {
namespace {

/// What espeak-ng says, as a WAV file; empty where it is not installed.
std::string spoken(const std::string& text, const std::string& voice) {
  const std::string command = "espeak-ng --stdout -v " + voice + " '" + text + "' 2>/dev/null";
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  std::string wav;
  std::array<char, 4096> part;
  for (size_t got; pipe != nullptr && (got = fread(part.data(), 1, part.size(), pipe.get())) > 0;)
    wav.append(part.data(), got);
  return wav;
}

class SpokenSoundTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string english = spoken("The meeting is at half past ten, in the large room.", "en");
    if (english.size() < 1000) GTEST_SKIP() << "espeak-ng is not installed";
    speech_ = sound_from_bytes(english, "english").samples;
    ASSERT_GT(speech_.size(), 16000u);
  }
  static void append(std::vector<float>& to, std::span<const float> part) {
    to.insert(to.end(), part.begin(), part.end());
  }

  std::vector<float> speech_;
};

/// Features change little on the way through formats that people send, and more the coarser these are.
TEST_F(SpokenSoundTest, FormatsAreHeardAlike) {
  const LogMel extractor;
  const MelFrames whole = extractor.extract(speech_);
  const auto difference = [&](const char* file) {
    const Sound again = sound_from_bytes(encode_sound(speech_, 16000, sound_format(file)), file);
    const MelFrames mel =
        extractor.extract(std::span(again.samples).first(std::min(again.samples.size(), speech_.size())));
    double sum = 0;
    const size_t count = std::min(mel.values.size(), whole.values.size());
    EXPECT_GT(count, whole.values.size() * 9 / 10) << file;
    for (size_t i = 0; i < count; ++i)
      sum += std::abs(mel.values[i] - whole.values[i]);
    return sum / static_cast<double>(count);
  };
  EXPECT_LT(difference("a.wav"), 0.02);
  EXPECT_NEAR(difference("a.flac"), difference("a.wav"), 1e-5);
  for (const char* file : {"a.mp3", "a.ogg", "a.opus", "a.m4a"}) {
    try {
      EXPECT_LT(difference(file), 0.25) << file;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUnsupported) << error.what();  // an FFmpeg without this encoder
    }
  }
}

TEST_F(SpokenSoundTest, BeginsAndEndsTurns) {
  for (const char* name : {"auto", "energy"}) {
    std::vector<float> sound(16000);
    append(sound, speech_);
    sound.resize(sound.size() + 32000);
    TurnDetector detector(make_voice_detector(name), {});
    double begins = -1, ends = -1;
    const auto step = static_cast<size_t>(detector.step_samples());
    for (size_t at = 0; at < sound.size() && ends < 0; at += step) {
      const TurnChange change = detector.hear(std::span(sound).subspan(at, std::min(step, sound.size() - at)), false);
      const double now = static_cast<double>(at + step) / 16000;
      if (change == TurnChange::kBegins) begins = now;
      if (change == TurnChange::kEnds) ends = now;
    }
    const double spoken_until = 1 + static_cast<double>(speech_.size()) / 16000;
    EXPECT_GT(begins, 1.0) << name;
    EXPECT_LT(begins, 2.2) << name;
    EXPECT_GT(ends, spoken_until - 0.8) << name;  // espeak-ng's own silence at the end counts
    EXPECT_LT(ends, spoken_until + 1.5) << name;
  }
}

TEST_F(SpokenSoundTest, IsCutBetweenSentences) {
  std::vector<float> sound;
  append(sound, speech_);
  const size_t pause = sound.size();
  sound.resize(pause + 8000);
  append(sound, speech_);
  // The window ends in the second sentence, and the pause lies in its second half.
  const auto window = static_cast<int64_t>(pause + 8000 + speech_.size() / 2);
  const auto cuts = cut_sound(sound, 16000, window);
  ASSERT_EQ(cuts.size(), 2u);
  EXPECT_GT(cuts[0].end, static_cast<int64_t>(pause) - 8000);  // with espeak-ng's own silence
  EXPECT_LT(cuts[0].end, static_cast<int64_t>(pause) + 8000);
  EXPECT_FALSE(cuts[0].silent);
}

}  // namespace
}  // namespace minicpm

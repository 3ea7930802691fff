#include "engine/speech_check.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace minicpm {
namespace {

constexpr int64_t kBins = 100;

/// Pieces of 2560 samples with a mel frame every 256.
struct Sound {
  std::vector<float> samples, mel;

  void add(float peak, const std::vector<float>& levels) {
    for (int i = 0; i < 2560; ++i)
      samples.push_back(peak * std::sin(0.1f * static_cast<float>(i)));
    for (int i = 0; i < 10; ++i)
      mel.insert(mel.end(), levels.begin(), levels.end());
  }
  bool check(SpeechCheck& check) {
    const auto frames = static_cast<int64_t>(mel.size()) / kBins;
    return check.accepts(samples, Tensor(mel.data(), DType::kF32, {frames, kBins}));
  }
};

std::vector<float> levels(std::mt19937& random) {
  std::vector<float> result(kBins);
  for (float& level : result)
    level = static_cast<float>(random() % 1000) / 100 - 6;  // some bins loud, others not
  return result;
}

TEST(SpeechCheck, LongSilenceIsRefused) {
  SpeechCheck check;
  const std::vector<float> quiet(kBins, -11);
  for (int part = 0; part < 2; ++part) {
    Sound sound;
    for (int i = 0; i < 5; ++i)
      sound.add(0.002f, quiet);
    EXPECT_TRUE(sound.check(check)) << part;
  }
  Sound sound;
  sound.add(0.002f, quiet);
  EXPECT_TRUE(sound.check(check));
  EXPECT_FALSE(sound.check(check));
}

TEST(SpeechCheck, SoundThatDoesNotChangeIsRefused) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  SpeechCheck changing, still;
  Sound speech, tone;
  const std::vector<float> one = levels(random);
  for (int i = 0; i < 30; ++i) {
    speech.add(0.3f, levels(random));
    if (i < 5) tone.add(0.3f, one);
  }
  EXPECT_TRUE(speech.check(changing));
  EXPECT_TRUE(tone.check(still));  // the first has none before it
  Sound more;
  more.add(0.3f, one);
  EXPECT_FALSE(more.check(still));
  // With a change the count begins anew.
  SpeechCheck again;
  EXPECT_TRUE(tone.check(again));
  EXPECT_TRUE(speech.check(again));
  EXPECT_TRUE(tone.check(again));
}

}  // namespace
}  // namespace minicpm

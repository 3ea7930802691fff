#include "engine/turn_detector.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/error.h"
#include "support/live_fakes.h"

namespace minicpm {
namespace {

using testing::LoudDetector;

std::vector<float> scores(std::initializer_list<std::pair<int, float>> runs) {
  std::vector<float> result;
  for (const auto& [frames, score] : runs)
    result.insert(result.end(), static_cast<size_t>(frames), score);
  return result;
}

TEST(SpeechSeconds, CountsSpeechWithPads) {
  const TurnParams params;
  EXPECT_EQ(speech_seconds({}, params), 0);
  EXPECT_EQ(speech_seconds(scores({{100, 0.6f}}), params), 0);  // below the threshold
  EXPECT_NEAR(speech_seconds(scores({{100, 0.7f}}), params), 1.0, 1e-9);
  EXPECT_NEAR(speech_seconds(scores({{20, 0}, {20, 1}, {60, 0}}), params), 0.26, 1e-9);
  EXPECT_EQ(speech_seconds(scores({{20, 0}, {12, 1}, {68, 0}}), params), 0);  // 120 ms are too short
  EXPECT_NEAR(speech_seconds(scores({{20, 0}, {13, 1}, {67, 0}}), params), 0.19, 1e-9);
}

TEST(SpeechSeconds, HasTwoLevels) {
  const TurnParams params;
  // Between the levels speech goes on, but does not begin.
  EXPECT_NEAR(speech_seconds(scores({{20, 0}, {20, 1}, {60, 0.6f}}), params), 0.83, 1e-9);
  EXPECT_NEAR(speech_seconds(scores({{20, 0.6f}, {20, 1}, {60, 0}}), params), 0.26, 1e-9);
  // Gaps shorter than half a second count, longer ones do not; pads do not count twice.
  EXPECT_NEAR(speech_seconds(scores({{20, 1}, {49, 0}, {31, 1}}), params), 1.0, 1e-9);
  EXPECT_NEAR(speech_seconds(scores({{20, 1}, {50, 0}, {30, 1}}), params), 0.56, 1e-9);
}

/// Seconds at which changes come.
std::vector<std::pair<double, TurnChange>> changes(TurnDetector& detector, const std::vector<float>& samples,
                                                   size_t piece, bool answering = false) {
  std::vector<std::pair<double, TurnChange>> found;
  for (size_t at = 0; at < samples.size(); at += piece) {
    const size_t count = std::min(piece, samples.size() - at);
    const TurnChange change = detector.hear(std::span(samples).subspan(at, count), answering);
    if (change != TurnChange::kNone) found.emplace_back(static_cast<double>(at + count) / 16000, change);
  }
  return found;
}

std::vector<float> sound(std::initializer_list<std::pair<double, float>> runs) {
  std::vector<float> result;
  for (const auto& [seconds, level] : runs) {
    for (int i = 0; i < static_cast<int>(std::lround(seconds * 16000)); ++i)
      result.push_back(level * std::sin(0.3f * static_cast<float>(i)));
  }
  return result;
}

TEST(TurnDetector, FindsTurnsWhateverThePieces) {
  for (const size_t piece : {1u, 37u, 160u, 1000u, 1600u}) {
    TurnDetector detector(std::make_unique<LoudDetector>(), {});
    const auto found = changes(detector, sound({{2, 0}, {1.5, 0.5f}, {0.4, 0}, {1, 0.5f}, {2, 0}}), piece);
    ASSERT_EQ(found.size(), 2u) << piece;
    EXPECT_EQ(found[0].second, TurnChange::kBegins);
    EXPECT_NEAR(found[0].first, 2.5, 0.11);
    EXPECT_EQ(found[1].second, TurnChange::kEnds);  // a pause of 0.4 s is none
    EXPECT_NEAR(found[1].first, 5.8, 0.11);
  }
}

TEST(TurnDetector, ShortOrFaintSoundBeginsNoTurn) {
  TurnDetector detector(std::make_unique<LoudDetector>(), {});
  EXPECT_TRUE(changes(detector, sound({{1, 0}, {0.3, 0.5f}, {1, 0}, {0.3, 0.5f}, {2, 0}}), 160).empty());
  class Always : public VoiceDetector {
    float judge(std::span<const float>) override { return 1; }
    std::string_view name() const override { return "always"; }
  };
  TurnDetector sure(std::make_unique<Always>(), {});
  EXPECT_TRUE(changes(sure, sound({{3, 0.002f}}), 160).empty());  // RMS 0.0014
}

TEST(TurnDetector, HalfASecondInterrupts) {
  TurnDetector detector(std::make_unique<LoudDetector>(), {});
  EXPECT_TRUE(changes(detector, sound({{1, 0}, {0.4, 0.5f}, {1.5, 0}}), 160, true).empty());
  const auto found = changes(detector, sound({{0.7, 0.5f}}), 160, true);
  ASSERT_FALSE(found.empty());
  EXPECT_EQ(found[0].second, TurnChange::kInterrupts);
  EXPECT_NEAR(found[0].first, 0.55, 0.11);
}

TEST(TurnDetector, RefusesSettingsOutOfRange) {
  TurnParams params;
  params.window = 100;
  EXPECT_THROW(TurnDetector(std::make_unique<LoudDetector>(), params), Error);
  params = {};
  params.min_silence = 0;
  EXPECT_THROW(validate(params), Error);
}

}  // namespace
}  // namespace minicpm

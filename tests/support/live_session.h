// A live session with fakes, and what tests need to talk with it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "support/live_fakes.h"

namespace minicpm::testing {

using Kind = OmniEvent::Kind;

inline constexpr auto kPatience = std::chrono::seconds(30);  // nothing takes so long; a failing test ends, too
inline const std::string kRole =
    "<|im_start|>user\nUse the <reserved_53> voice.You are a helpful assistant with the above voice "
    "style.<|im_end|>\n";
inline const std::string kSecond = "<|audio_start|>25<|audio_end|>";
inline const std::string kHead = "<|im_end|>\n<|im_start|>assistant\n<|spk_bos|><|spk|><|spk_eos|><|tts_bos|>";

inline std::vector<float> loud(double seconds) {
  std::vector<float> samples(static_cast<size_t>(std::lround(seconds * 16000)));
  for (size_t i = 0; i < samples.size(); ++i)
    samples[i] = 0.5f * std::sin(0.2f * static_cast<float>(i));
  return samples;
}
inline std::vector<float> quiet(double seconds) {
  return std::vector<float>(static_cast<size_t>(std::lround(seconds * 16000)), 0.0f);
}
inline std::shared_ptr<const Image> picture(int width = 64, int height = 48) {
  return std::make_shared<const Image>(
      Image{width, height, std::vector<uint8_t>(static_cast<size_t>(width) * height * 3, 100)});
}

/// Without a detector: turns end by end_turn().
class OmniSessionTest : public ::testing::Test {
 protected:
  OmniSessionTest() : model_(live_config()), processor_(model_, tokenizer_) { config_.sampling.max_tokens = 64; }

  void open(bool with_voice = true, bool with_detector = false) {
    OmniParts parts;
    parts.processor = &processor_;
    parts.stream = std::make_unique<FakeStream>(script_, tokenizer_);
    parts.encoder = std::make_unique<FakeEncoder>(pause_);
    if (with_voice) {
      parts.voice = [this](std::vector<float> speaker, std::function<void(std::span<const float>)> on_samples,
                           const std::atomic<bool>*) {
        return std::make_unique<FakeVoice>(std::move(speaker), std::move(on_samples), samples_, pause_);
      };
    }
    if (with_detector) parts.detector = std::make_unique<LoudDetector>();
    script_.pause = pause_;
    session_ = OmniSession::open(std::move(parts), config_);
    wait_for(Kind::kReady);
  }

  /// Takes events up to the first of this kind.
  OmniEvent wait_for(Kind kind) {
    const auto until = OmniClock::now() + kPatience;
    while (OmniClock::now() < until) {
      std::optional<OmniEvent> event = session_->next_event(std::chrono::milliseconds(1000));
      if (!event) continue;
      seen_.push_back(event->kind);
      if (event->kind == Kind::kText) text_ += event->text;
      if (event->kind == Kind::kAudio) samples_heard_ += static_cast<int64_t>(event->samples.size());
      if (event->kind == kind) return *event;
      if (event->kind == Kind::kError) errors_.push_back(event->text);
      if (event->kind == Kind::kClosed) break;
    }
    ADD_FAILURE() << "no event " << name(kind) << "; last errors: " << (errors_.empty() ? "none" : errors_.back());
    return {};
  }
  void push(std::span<const float> samples) { EXPECT_TRUE(session_->push_audio(samples)); }
  OmniEvent ask() {
    EXPECT_TRUE(session_->end_turn());
    return wait_for(Kind::kAnswerEnds);
  }
  int64_t count(Kind kind) const { return std::ranges::count(seen_, kind); }
  std::string context() { return script_.text(tokenizer_); }

  using OmniClock = std::chrono::steady_clock;
  LetterTokenizer tokenizer_;
  ModelConfig model_;
  Processor processor_;
  OmniConfig config_;
  StreamScript script_;
  std::function<void(const char*)> pause_;
  size_t samples_ = 240;  // of a byte of the answer
  std::unique_ptr<OmniSession> session_;
  std::vector<Kind> seen_;
  std::vector<std::string> errors_;
  std::string text_;
  int64_t samples_heard_ = 0;
};

}  // namespace minicpm::testing

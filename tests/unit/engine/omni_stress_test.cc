// Live sessions with bad input, slow clients and interruptions at any moment.
#include "engine/omni_session.h"

#include <atomic>
#include <limits>
#include <map>
#include <random>
#include <semaphore>
#include <thread>

#include "support/live_session.h"

namespace minicpm {
namespace {

using namespace minicpm::testing;
using ::testing::HasSubstr;
using ::testing::StartsWith;

using OmniStressTest = OmniSessionTest;

// ---- bad input -----------------------------------------------------------------------------------------------------

TEST_F(OmniStressTest, TakesWhateverSamplesThereAre) {
  open();
  push({});
  push(std::vector<float>{0.5f});
  ASSERT_TRUE(session_->end_turn());  // a sample cannot be heard
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  std::vector<float> odd(16000);
  for (size_t i = 0; i < odd.size(); ++i)
    odd[i] = i % 3 == 0 ? nan : i % 3 == 1 ? inf : -7.0f;
  push(odd);
  push(loud(0.01));
  ask();
  EXPECT_EQ(context(), kRole + "<|im_start|>user\n" + kSecond + kHead + "Hello!<|tts_eos|>");
  for (const auto& media : script_.media)
    EXPECT_TRUE(std::ranges::all_of(*media->rows, [](float value) { return std::isfinite(value); }));
}

TEST_F(OmniStressTest, PicturesWithoutSoundAndTurnsWithoutAnything) {
  open();
  ASSERT_TRUE(session_->end_turn());
  ASSERT_TRUE(session_->push_frame(picture()));
  ask();
  EXPECT_EQ(count(Kind::kTurnEnds), 1);
  EXPECT_EQ(context(), kRole + "<|im_start|>user\n<unit><image>64</image>" + kHead + "Hello!<|tts_eos|>");
  EXPECT_THROW(session_->push_frame(nullptr), Error);
}

TEST_F(OmniStressTest, APictureThatCannotBeSeenLosesNoSound) {
  open();
  ASSERT_TRUE(session_->push_frame(std::make_shared<const Image>()));
  push(loud(1));
  ask();
  EXPECT_EQ(errors_.size(), 1u);
  EXPECT_EQ(context(), kRole + "<|im_start|>user\n" + kSecond + kHead + "Hello!<|tts_eos|>");
}

TEST_F(OmniStressTest, AFullCacheIsAnErrorOfTheTurn) {
  script_.capacity = 300;
  open();
  push(loud(20));
  ask();
  EXPECT_FALSE(errors_.empty());
  session_->close();
  EXPECT_EQ(wait_for(Kind::kClosed).text, "closed");
}

TEST_F(OmniStressTest, WhoTakesNoEventsHoldsTheAnswerUp) {
  samples_ = 24000;  // a second for each letter
  script_.answer = std::string(40, 'a') + "<|tts_eos|>";
  open();
  push(loud(1));
  ASSERT_TRUE(session_->end_turn());
  // The queues hold about twenty seconds; the rest comes when events are taken.
  EXPECT_EQ(wait_for(Kind::kAnswerEnds).text, std::string(40, 'a'));
  EXPECT_EQ(samples_heard_, 40 * 24000);
  push(loud(1));
  ASSERT_TRUE(session_->end_turn());
  session_.reset();  // ends although the answer waits
}

TEST_F(OmniStressTest, RefusesSettingsOutOfRange) {
  const auto refused = [&](auto change) {
    OmniConfig config = config_;
    change(config);
    EXPECT_THROW(validate(config), Error);
  };
  refused([](OmniConfig& c) { c.hd_slices = 0; });
  refused([](OmniConfig& c) { c.idle_seconds = 0; });
  refused([](OmniConfig& c) { c.gap_seconds = -1; });
  refused([](OmniConfig& c) { c.context_limit = 1; });
  refused([](OmniConfig& c) { c.turns.threshold = 2; });
  refused([](OmniConfig& c) { c.role.voice = std::make_shared<const std::vector<float>>(31 * 16000); });
  EXPECT_THROW(OmniSession::open({}, config_), Error);
}

// ---- interruptions -------------------------------------------------------------------------------------------------

/// Interrupts at a random step of a random stage, a thousand times. Afterwards nothing of the answer comes any more,
/// each answer has ended once, and the context is well formed.
TEST_F(OmniStressTest, AThousandInterruptions) {
  const auto seed = static_cast<uint64_t>(std::random_device{}());
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  std::atomic<int> countdown = -1;
  std::binary_semaphore reached(0);
  pause_ = [&](const char*) {
    if (countdown.load() >= 0 && countdown.fetch_sub(1) == 0) reached.release();
  };
  config_.context_limit = 300;
  config_.sampling.max_tokens = 32;
  open();
  std::map<int64_t, int> ends;
  for (int round = 0; round < 1000; ++round) {
    push(loud(0.05 * static_cast<double>(1 + random() % 3)));
    countdown = static_cast<int>(random() % 24);
    ASSERT_TRUE(session_->end_turn());
    // The step comes, or the answer is complete before it.
    int64_t turn = -1;
    const auto until = OmniClock::now() + kPatience;
    while (!reached.try_acquire() && OmniClock::now() < until) {
      const auto event = session_->next_event(std::chrono::milliseconds(1));
      if (!event) continue;
      if (event->kind == Kind::kTurnEnds) turn = event->turn;
      ASSERT_NE(event->kind, Kind::kError) << event->text;
      if (event->kind != Kind::kAnswerEnds) continue;
      ++ends[event->turn];
      if (event->turn == turn) break;
    }
    ASSERT_LT(OmniClock::now(), until);
    countdown = -1;
    session_->interrupt();
    while (reached.try_acquire()) {
    }
    // No sound, no text any more; the end of the answer may come.
    while (const auto event = session_->next_event(std::chrono::milliseconds(0))) {
      ASSERT_NE(event->kind, Kind::kAudio) << "round " << round;
      ASSERT_NE(event->kind, Kind::kText) << "round " << round;
      if (event->kind == Kind::kAnswerEnds) ++ends[event->turn];
    }
  }
  countdown = -1;
  push(loud(1));
  ASSERT_TRUE(session_->end_turn());
  while (true) {
    const OmniEvent end = wait_for(Kind::kAnswerEnds);
    ++ends[end.turn];
    if (end.finish_reason != FinishReason::kCancelled) break;
  }
  EXPECT_TRUE(errors_.empty());
  for (const auto& [turn, times] : ends)
    EXPECT_EQ(times, 1) << "turn " << turn;
  EXPECT_THAT(context(), StartsWith(kRole + "<|im_start|>user\n<|audio_start|>"));
  EXPECT_THAT(context(), ::testing::EndsWith(kHead + "Hello!<|tts_eos|>"));
  EXPECT_LE(std::ssize(script_.tokens), 300);
  EXPECT_EQ(std::ssize(script_.media), std::ranges::count(script_.tokens, *tokenizer_.token_id("<|audio_start|>")));
}

/// All calls in any order, settings changed while the first message is computed; then a conversation as if nothing had
/// been.
TEST_F(OmniStressTest, AnyOrderOfCalls) {
  const auto seed = static_cast<uint64_t>(std::random_device{}());
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  config_.context_limit = 400;
  config_.sampling.max_tokens = 16;
  open();
  OmniConfig other = config_;
  other.speak = false;
  OmniConfig role = config_;
  role.role.mode = OmniMode::kRoleplay;
  const std::vector<std::function<bool()>> calls = {
      [&] { return session_->push_audio(loud(0.1 * static_cast<double>(random() % 15))); },
      [&] { return session_->push_frame(picture()); },
      [&] {
        return session_->push_parts({ContentPart::from_text("text"), ContentPart::from_sound(loud(1.2))});
      },
      [&] { return session_->keep_turn(); },
      [&] { return session_->drop_turn(); },
      [&] { return session_->cut_answer(static_cast<int64_t>(random() % 300), 0.3); },
      [&] { return session_->end_turn(); },
      [&] { return session_->answer(); },
      [&] { return session_->configure(other); },
      [&] { return session_->configure(random() % 4 == 0 ? role : config_); },
      [&] {
        session_->interrupt();
        return true;
      },
  };
  for (int round = 0; round < 1000; ++round) {
    ASSERT_TRUE(calls[random() % calls.size()]());
    while (const auto event = session_->next_event(std::chrono::milliseconds(0))) {
      ASSERT_NE(event->kind, Kind::kError) << event->text;
      ASSERT_NE(event->kind, Kind::kClosed);
    }
  }
  ASSERT_TRUE(session_->configure(role));
  ASSERT_TRUE(session_->configure(config_));
  push(loud(1));
  ASSERT_TRUE(session_->end_turn());
  while (wait_for(Kind::kAnswerEnds).finish_reason == FinishReason::kCancelled ||
         context() != kRole + "<|im_start|>user\n" + kSecond + kHead + "Hello!<|tts_eos|>") {
    ASSERT_FALSE(HasFailure());
  }
}

/// The same from several threads at once, with the session closed in the middle.
TEST_F(OmniStressTest, ClosesWhateverHappens) {
  for (int round = 0; round < 50; ++round) {
    open(true, round % 2 == 0);
    std::jthread talker([this] {
      for (int i = 0; i < 20 && session_->push_audio(loud(0.7)); ++i) {
        session_->end_turn();
        session_->push_frame(picture());
      }
    });
    std::jthread interrupter([this] {
      for (int i = 0; i < 20; ++i) {
        session_->interrupt();
        session_->next_event(std::chrono::milliseconds(1));
      }
    });
    for (int i = 0; i < round; ++i)
      session_->next_event(std::chrono::milliseconds(0));
    session_->close();
    interrupter.join();
    talker.join();
    session_.reset();
    script_.tokens.clear();
    script_.media.clear();
  }
}

}  // namespace
}  // namespace minicpm

// Live sessions with everything but the networks: what stands in the context token by token, when turns begin and end,
// and the full context.
#include "engine/omni_session.h"

#include <atomic>
#include <semaphore>

#include "support/live_session.h"

namespace minicpm {
namespace {

using namespace minicpm::testing;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// ---- what stands in the context ------------------------------------------------------------------------------------

TEST_F(OmniSessionTest, WritesThePublishedSession) {
  config_.role.voice = std::make_shared<const std::vector<float>>(loud(3));
  open();
  const std::string role = "<|im_start|>user\nUse the voice in the audio prompt to synthesize new content.\n" +
                           kSecond + kSecond + kSecond +
                           "\nYou are a helpful assistant with the above voice style.<|im_end|>\n";
  EXPECT_EQ(context(), role);
  push(loud(2));
  const OmniEvent end = ask();
  EXPECT_EQ(end.finish_reason, FinishReason::kStop);
  EXPECT_EQ(end.text, "Hello!");
  EXPECT_EQ(text_, "Hello!");
  EXPECT_EQ(samples_heard_, 6 * 240);
  std::string expected = role + "<|im_start|>user\n" + kSecond + kSecond + kHead + "Hello!<|tts_eos|>";
  EXPECT_EQ(context(), expected);
  push(loud(1));
  ask();
  expected += "<|im_end|>\n<|im_start|>user\n" + kSecond + kHead + "Hello!<|tts_eos|>";
  EXPECT_EQ(context(), expected);
}

TEST_F(OmniSessionTest, AnInterruptedAnswerStaysAndIsClosed) {
  std::binary_semaphore reached(0), go(0);
  std::atomic<int> tokens = 0;
  pause_ = [&](const char* where) {
    if (std::string_view(where) != "token" || ++tokens != 4) return;
    reached.release();
    go.acquire();
  };
  open();
  push(loud(1));
  ASSERT_TRUE(session_->end_turn());
  reached.acquire();  // three tokens are there
  session_->interrupt();
  go.release();
  EXPECT_EQ(wait_for(Kind::kAnswerEnds).finish_reason, FinishReason::kCancelled);
  EXPECT_EQ(count(Kind::kSilence), 1);
  push(loud(1));
  ask();
  EXPECT_EQ(context(), kRole + "<|im_start|>user\n" + kSecond + kHead + "Hel<|tts_eos|><|im_end|>\n<|im_start|>user\n" +
                           kSecond + kHead + "Hello!<|tts_eos|>");
}

TEST_F(OmniSessionTest, AnAnswerWithoutATokenLeavesNoTrace) {
  std::binary_semaphore reached(0), go(0);
  std::atomic<bool> first = true;
  pause_ = [&](const char* where) {
    if (std::string_view(where) != "token" || !first.exchange(false)) return;
    reached.release();
    go.acquire();
  };
  open();
  push(loud(1));
  ASSERT_TRUE(session_->end_turn());
  reached.acquire();
  session_->interrupt();
  go.release();
  wait_for(Kind::kAnswerEnds);
  push(loud(1));
  ask();
  EXPECT_EQ(context(), kRole + "<|im_start|>user\n" + kSecond + kSecond + kHead + "Hello!<|tts_eos|>");
}

TEST_F(OmniSessionTest, AnAnswerAtItsLimitIsClosedLikeAnInterruptedOne) {
  config_.sampling.max_tokens = 3;
  open();
  push(loud(1));
  EXPECT_EQ(ask().finish_reason, FinishReason::kLength);
  push(loud(1));
  ask();
  EXPECT_THAT(context(), HasSubstr(kHead + "Hel<|tts_eos|><|im_end|>\n<|im_start|>user\n"));
}

TEST_F(OmniSessionTest, UnitsHaveAPictureAndASecond) {
  config_.role.mode = OmniMode::kOmni;
  open();
  const std::string role =
      "<|im_start|>user\nYou are a helpful assistant. You can accept video, audio and text input and output voice and "
      "text. <|im_end|>\n";
  for (int i = 0; i < 2; ++i) {
    session_->push_frame(picture(9, 9));  // replaced by the next
    session_->push_frame(picture());
    push(loud(1));
  }
  push(loud(0.5));
  const OmniEvent end = ask();
  const std::string unit = "<unit><image>64</image>" + kSecond;
  EXPECT_EQ(context(),
            role + "<|im_start|>user\n" + unit + unit + "<|audio_start|>12<|audio_end|>" + kHead + "Hello!<|tts_eos|>");
  EXPECT_EQ(end.timings.units, 3);
  EXPECT_DOUBLE_EQ(end.timings.heard_seconds, 2.5);
  EXPECT_GT(end.timings.first_audio_ms, 0);
}

TEST_F(OmniSessionTest, HdLooksAtTheLastPictureInSlices) {
  config_.role.mode = OmniMode::kOmni;
  config_.hd = true;
  open();
  session_->push_frame(picture(900, 600));
  push(loud(1));
  ask();
  // The picture of the second, and the same once more with the overview and slices.
  EXPECT_THAT(context(), HasSubstr("<unit><image>64</image>" + kSecond + "<unit><image>64</image><slice>64</slice>"));
}

TEST_F(OmniSessionTest, RolesAreThePublishedTexts) {
  const auto text = [&](OmniRole role) {
    StreamScript script;
    script.tokens = processor_.prepare_piece(role_message(role)).tokens;
    return script.text(tokenizer_);
  };
  const auto clip = std::make_shared<const std::vector<float>>(loud(1));
  EXPECT_EQ(
      text({OmniMode::kOmni, OmniLanguage::kChinese, clip, ""}),
      "<|im_start|>user\n你是一个AI助手。你能接受视频，音频和文本输入并输出语音和文本。模仿输入音频中的声音特征。" +
          kSecond + "作为助手，你将使用这种声音风格说话。<|im_end|>\n");
  EXPECT_EQ(text({OmniMode::kRoleplay, OmniLanguage::kEnglish, clip, ""}),
            "<|im_start|>user\nClone the voice in the provided audio prompt.\n" + kSecond +
                "\nTry to role-play the character based on the audio prompt above.<|im_end|>\n");
  EXPECT_EQ(text({OmniMode::kRoleplay, OmniLanguage::kChinese, nullptr, ""}),
            "<|im_start|>user\nUse the <reserved_53> voice.假装你是上述音频中的人物，与我进行对话。<|im_end|>\n");
  // A user's own words hold no marks.
  const ModelInput piece = processor_.prepare_piece(
      role_message({OmniMode::kAssistant, OmniLanguage::kEnglish, clip, "Be <|im_end|> brief."}));
  EXPECT_EQ(std::ranges::count(piece.tokens, *tokenizer_.token_id("<|im_end|>")), 1);
  EXPECT_THROW(omni_mode("opera"), Error);
  EXPECT_THROW(omni_language("fr"), Error);
}

// ---- the full context ----------------------------------------------------------------------------------------------

TEST_F(OmniSessionTest, OldSecondsSlideOutAndTheConversationStaysWellFormed) {
  config_.context_limit = 600;
  config_.sampling.max_tokens = 16;
  open();
  const int64_t role = std::ssize(script_.tokens);
  for (int turn = 0; turn < 12; ++turn) {
    push(loud(4));
    ask();
    EXPECT_LE(std::ssize(script_.tokens), 600);
    EXPECT_THAT(context(), StartsWith(kRole + "<|im_start|>user\n" + kSecond));
  }
  EXPECT_GT(count(Kind::kForgotten), 2);
  for (const auto& [first, count] : script_.erased)
    EXPECT_EQ(first, role + std::ssize(std::string("<|im_start|>user\n")) - 11);  // <|im_start|> is one token
  // Seconds and answers alternate as if the old ones had never been.
  std::string rest = context().substr(kRole.size());
  const std::string answer = kHead + "Hello!<|tts_eos|>", next = "<|im_end|>\n<|im_start|>user\n";
  ASSERT_THAT(rest, StartsWith("<|im_start|>user\n"));
  rest = rest.substr(std::string("<|im_start|>user\n").size());
  while (!rest.empty()) {
    int seconds = 0;
    for (; rest.starts_with(kSecond); ++seconds)
      rest = rest.substr(kSecond.size());
    EXPECT_THAT(seconds, ::testing::AllOf(::testing::Ge(1), ::testing::Le(4)));
    ASSERT_THAT(rest, StartsWith(answer));
    rest = rest.substr(answer.size());
    if (rest.empty()) break;
    ASSERT_THAT(rest, StartsWith(next));
    rest = rest.substr(next.size());
  }
}

TEST_F(OmniSessionTest, SlidesInTheMiddleOfATurn) {
  config_.context_limit = 500;
  config_.sampling.max_tokens = 16;
  open();
  push(loud(40));
  ask();
  EXPECT_LE(std::ssize(script_.tokens), 500);
  EXPECT_THAT(context(), StartsWith(kRole + "<|im_start|>user\n" + kSecond + kSecond));
  EXPECT_EQ(std::ssize(script_.media), std::ranges::count(script_.tokens, *tokenizer_.token_id("<|audio_start|>")));
}

TEST_F(OmniSessionTest, TheOfficialResetKeepsTheFirstMessageOnly) {
  config_.context_limit = 600;
  config_.when_full = WhenFull::kReset;
  config_.sampling.max_tokens = 16;
  open();
  for (int turn = 0; turn < 4; ++turn) {
    push(loud(4));
    ask();
  }
  ASSERT_FALSE(script_.erased.empty());
  EXPECT_EQ(script_.erased[0].first, std::ssize(tokenizer_.encode(kRole, ParseSpecial::kAll)));
  EXPECT_THAT(context(), StartsWith(kRole + "<|im_start|>user\n" + kSecond));
}

TEST_F(OmniSessionTest, AContextThatIsTooSmallIsRefused) {
  config_.context_limit = 100;
  OmniParts parts;
  parts.processor = &processor_;
  parts.stream = std::make_unique<FakeStream>(script_, tokenizer_);
  parts.encoder = std::make_unique<FakeEncoder>();
  session_ = OmniSession::open(std::move(parts), config_);
  EXPECT_THAT(wait_for(Kind::kError).text, HasSubstr("too small for a live session"));
  EXPECT_EQ(wait_for(Kind::kClosed).text, "error");
  EXPECT_FALSE(session_->push_audio(loud(1)));
}

// ---- the parts of a turn -------------------------------------------------------------------------------------------

TEST_F(OmniSessionTest, PartsStandInTheTurnAsTheyAre) {
  open();
  push(loud(1));
  ASSERT_TRUE(session_->push_parts({ContentPart::from_text("Look <|im_end|>:"), ContentPart::from_image(picture()),
                                    ContentPart::from_sound(loud(1.5))}));
  push(loud(1));
  ask();
  // What is no mark is bytes.
  EXPECT_EQ(context(), kRole + "<|im_start|>user\n" + kSecond + "Look <|im_end|>:<image>64</image>" + kSecond +
                           "<|audio_start|>12<|audio_end|>" + kSecond + kHead + "Hello!<|tts_eos|>");
  EXPECT_EQ(std::ranges::count(script_.tokens, *tokenizer_.token_id("<|im_end|>")), 2);  // of role and turn
}

TEST_F(OmniSessionTest, ATurnCanBeDroppedUpToWhatIsKept) {
  open();
  push(loud(1));
  ASSERT_TRUE(session_->drop_turn());
  ASSERT_TRUE(session_->end_turn());  // there is nothing to answer
  push(loud(2.5));
  ASSERT_TRUE(session_->keep_turn());
  push(loud(3.2));
  session_->push_frame(picture());
  ASSERT_TRUE(session_->drop_turn());
  push(loud(1));
  ask();
  EXPECT_EQ(count(Kind::kTurnEnds), 1);
  std::string expected = kRole + "<|im_start|>user\n" + kSecond + kSecond + "<|audio_start|>12<|audio_end|>" + kSecond +
                         kHead + "Hello!<|tts_eos|>";
  EXPECT_EQ(context(), expected);
  push(loud(2));
  ASSERT_TRUE(session_->drop_turn());
  push(loud(1));
  ask();
  EXPECT_EQ(context(), expected + "<|im_end|>\n<|im_start|>user\n" + kSecond + kHead + "Hello!<|tts_eos|>");
}

TEST_F(OmniSessionTest, AnswersWithoutInputWhereItIsAskedTo) {
  open();
  ASSERT_TRUE(session_->answer());
  wait_for(Kind::kAnswerEnds);
  EXPECT_EQ(context(), kRole + "<|im_start|>user\n" + kHead + "Hello!<|tts_eos|>");
}

TEST_F(OmniSessionTest, WhatWasNotHeardOfAnAnswerLeavesTheContext) {
  open();
  push(loud(1));
  const int64_t turn = ask().turn;
  ASSERT_TRUE(session_->cut_answer(turn + 1, 0));  // another one's
  push(loud(1));                                   // the next turn has begun
  ASSERT_TRUE(session_->cut_answer(turn, 0.5));
  ASSERT_TRUE(session_->cut_answer(turn, 0));  // once only
  push(loud(1));
  ask();
  EXPECT_EQ(context(), kRole + "<|im_start|>user\n" + kSecond + kHead + "Hel<|tts_eos|><|im_end|>\n<|im_start|>user\n" +
                           kSecond + kSecond + kHead + "Hello!<|tts_eos|>");
  ASSERT_TRUE(session_->drop_turn());  // nothing came since
  push(loud(1));
  ask();
  EXPECT_THAT(context(), HasSubstr(kSecond + kSecond + kHead + "Hello!<|tts_eos|><|im_end|>\n"));
  EXPECT_THROW(session_->cut_answer(turn, 2), Error);
}

// ---- turns ---------------------------------------------------------------------------------------------------------

TEST_F(OmniSessionTest, SpeechBeginsAndEndsTurns) {
  config_.while_answering = WhileAnswering::kWait;
  open(true, true);
  push(quiet(5));
  push(loud(1.5));
  push(quiet(2));
  wait_for(Kind::kAnswerEnds);
  EXPECT_EQ(count(Kind::kTurnBegins), 1);
  EXPECT_EQ(count(Kind::kTurnEnds), 1);
  // Of the silence before, less than a second was heard.
  const std::string words = context();
  EXPECT_THAT(words, StartsWith(kRole + "<|im_start|>user\n" + kSecond + kSecond));
  EXPECT_LE(std::ranges::count(script_.tokens, *tokenizer_.token_id("<|audio_start|>")), 4);
}

TEST_F(OmniSessionTest, WithPicturesSilenceIsHeardToo) {
  config_.role.mode = OmniMode::kOmni;
  config_.while_answering = WhileAnswering::kWait;
  open(true, true);
  push(quiet(5));
  push(loud(1.5));
  push(quiet(2));
  wait_for(Kind::kAnswerEnds);
  EXPECT_GE(std::ranges::count(script_.tokens, *tokenizer_.token_id("<|audio_start|>")), 7);
}

TEST_F(OmniSessionTest, SpeechInterruptsAnAnswer) {
  std::binary_semaphore go(0);
  std::atomic<int> tokens = 0;
  pause_ = [&](const char* where) {
    if (std::string_view(where) == "token" && ++tokens == 3) go.acquire();
  };
  open(true, true);
  push(loud(1));
  push(quiet(1.5));
  wait_for(Kind::kTurnEnds);
  while (text_ != "He")
    wait_for(Kind::kText);
  push(loud(0.3));
  push(quiet(0.5));  // a cough is no interruption
  push(loud(0.8));
  EXPECT_EQ(wait_for(Kind::kAnswerEnds).finish_reason, FinishReason::kCancelled);
  go.release();
  wait_for(Kind::kTurnBegins);
  push(quiet(1.5));
  EXPECT_EQ(wait_for(Kind::kAnswerEnds).finish_reason, FinishReason::kStop);
  EXPECT_THAT(context(), HasSubstr("He<|tts_eos|><|im_end|>\n<|im_start|>user\n" + kSecond));
}

TEST_F(OmniSessionTest, SoundIsIgnoredWhileItAnswersWhereTheConfigurationSaysSo) {
  config_.while_answering = WhileAnswering::kIgnore;
  std::binary_semaphore go(0);
  std::atomic<int> tokens = 0;
  pause_ = [&](const char* where) {
    if (std::string_view(where) == "token" && ++tokens == 3) go.acquire();
  };
  open(true, true);
  push(loud(1));
  push(quiet(1.5));
  wait_for(Kind::kTurnEnds);
  push(loud(5));
  go.release();
  EXPECT_EQ(wait_for(Kind::kAnswerEnds).finish_reason, FinishReason::kStop);
  EXPECT_EQ(count(Kind::kSilence), 0);
}

TEST_F(OmniSessionTest, AnAnswerLastsUntilItIsPlayed) {
  config_.reports_playback = true;
  open(true, true);
  push(loud(1));
  push(quiet(1.5));
  EXPECT_EQ(wait_for(Kind::kAnswerEnds).finish_reason, FinishReason::kStop);
  session_->played(samples_heard_ - 1);
  push(loud(1));  // over the last sample
  wait_for(Kind::kSilence);
  wait_for(Kind::kTurnBegins);
  EXPECT_EQ(count(Kind::kAnswerEnds), 1);
}

TEST_F(OmniSessionTest, ATurnThatStopsComingEnds) {
  config_.gap_seconds = 0.02;
  open(true, true);
  push(loud(1));
  EXPECT_EQ(wait_for(Kind::kAnswerEnds).finish_reason, FinishReason::kStop);
}

TEST_F(OmniSessionTest, AnIdleSessionEnds) {
  config_.idle_seconds = 0.02;
  open();
  EXPECT_EQ(wait_for(Kind::kClosed).text, "idle");
  EXPECT_FALSE(session_->end_turn());
  EXPECT_FALSE(session_->next_event(std::chrono::milliseconds(0)).has_value());
}

TEST_F(OmniSessionTest, FinishesBehindTheLastAnswer) {
  samples_ = 2400;
  open();
  push(loud(1));
  ASSERT_TRUE(session_->finish());
  EXPECT_EQ(wait_for(Kind::kClosed).text, "finished");
  EXPECT_EQ(count(Kind::kAnswerEnds), 1);
  EXPECT_EQ(samples_heard_, 6 * 2400);
  EXPECT_FALSE(session_->push_audio(loud(1)));
}

TEST_F(OmniSessionTest, AnotherConfigurationStartsAnew) {
  open();
  push(loud(2));
  ask();
  push(loud(1));
  OmniConfig other = config_;
  other.role.mode = OmniMode::kRoleplay;
  ASSERT_TRUE(session_->configure(other));
  push(loud(1));
  ask();
  EXPECT_EQ(context(),
            "<|im_start|>user\nUse the <reserved_53> voice.Try to role-play the character based on the audio "
            "prompt above.<|im_end|>\n<|im_start|>user\n" +
                kSecond + kHead + "Hello!<|tts_eos|>");
  other.slide_to = 0;
  EXPECT_THROW(session_->configure(other), Error);
}

TEST_F(OmniSessionTest, OtherSettingsOfTheSameRoleKeepTheConversation) {
  open();
  push(loud(1));
  ask();
  OmniConfig other = config_;
  other.speak = false;
  other.sampling.max_tokens = 3;
  ASSERT_TRUE(session_->configure(other));
  const int64_t before = samples_heard_;
  push(loud(1));
  EXPECT_EQ(ask().finish_reason, FinishReason::kLength);
  EXPECT_EQ(samples_heard_, before);
  EXPECT_EQ(context(), kRole + "<|im_start|>user\n" + kSecond + kHead +
                           "Hello!<|tts_eos|><|im_end|>\n<|im_start|>user\n" + kSecond + kHead + "Hel");
}

TEST_F(OmniSessionTest, TurnsCanBeFoundAndNotAnswered) {
  config_.answer_turns = false;
  open(true, true);
  push(loud(1.5));
  push(quiet(2));
  const OmniEvent heard = wait_for(Kind::kTurnHeard);
  EXPECT_NEAR(static_cast<double>(heard.position) / 16000, 2.3, 0.3);
  push(loud(1.5));
  push(quiet(2));
  wait_for(Kind::kTurnHeard);
  EXPECT_EQ(count(Kind::kTurnEnds), 0);
  ask();
  EXPECT_EQ(count(Kind::kTurnBegins), 2);
  EXPECT_THAT(context(), HasSubstr(kHead + "Hello!<|tts_eos|>"));
  EXPECT_GE(std::ranges::count(script_.tokens, *tokenizer_.token_id("<|audio_start|>")), 5);  // both turns
}

TEST_F(OmniSessionTest, TheDetectorCanBeSwitchedOff) {
  config_.detect_turns = false;
  open(true, true);
  push(loud(1));
  push(quiet(3));
  ask();
  EXPECT_EQ(count(Kind::kTurnBegins), 0);
  EXPECT_EQ(context(),
            kRole + "<|im_start|>user\n" + kSecond + kSecond + kSecond + kSecond + kHead + "Hello!<|tts_eos|>");
}

TEST_F(OmniSessionTest, AnswersCanBeTextOnly) {
  open(false);
  push(loud(1));
  EXPECT_EQ(ask().text, "Hello!");
  EXPECT_EQ(count(Kind::kAudio), 0);
}

}  // namespace
}  // namespace minicpm

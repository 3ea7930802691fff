// Computed prompts in files: what was kept is what is read, and nothing else is.
#include "engine/sessions.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "base/error.h"
#include "engine/session_file.h"
#include "support/machine.h"
#include "support/random_model.h"

namespace minicpm {
namespace {

namespace fs = std::filesystem;

using testing::Machine;
using testing::text_prompt;

/// Bytes of the parts of a file, as they are documented in engine/session_file.h.
constexpr size_t kFixedHead = 16 + 9 * 8, kMediaHead = 3 * 8, kDigest = 16;

SamplingParams greedy(int max_tokens) {
  SamplingParams params;
  params.do_sample = false;
  params.max_tokens = max_tokens;
  return params;
}

/// A process: an engine's parts, without its prompts.
struct Process {
  explicit Process(const LoadedModel& model, DType kv = DType::kF32)
      : machine(model, 2, 64, Precision::kExact, kv), loop(machine.scheduler, machine.runner, {}) {
    parts.vocab_size = model.config().decoder.vocab_size;
  }

  std::vector<int32_t> answer(Sequence sequence, int64_t* reused = nullptr) {
    std::vector<int32_t> ids;
    const auto on_token = [&](const SampledToken& token) {
      ids.push_back(token.id);
      return false;
    };
    loop.generate(sequence, greedy(20), {on_token, {}}, nullptr, nullptr, StepLoop::After::kKeep);
    if (reused != nullptr) *reused = sequence.reused;
    return ids;
  }
  int64_t free_blocks() {
    int64_t blocks = 0;
    loop.exclusively([&] { blocks = machine.cache.pool().free_blocks(); });
    return blocks;
  }

  Machine machine;
  StepLoop loop;
  SessionParts parts{loop, machine.scheduler, machine.cache, {1, 2}, {3, 4}, 0};
};

class SessionsTest : public ::testing::Test {
 protected:
  SessionsTest() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    file_ =
        fs::temp_directory_path() / (std::string("minicpm-session-") + test->name() + "-" + std::to_string(getpid()));
  }
  ~SessionsTest() override { fs::remove(file_); }

  static Sequence with_digests(Sequence sequence) {
    for (size_t m = 0; m < sequence.media.size(); ++m)
      sequence.media_digests.push_back({m, 7});
    return sequence;
  }

  std::string bytes() const {
    std::ostringstream text;
    text << std::ifstream(file_, std::ios::binary).rdbuf();
    return text.str();
  }
  void write(const std::string& bytes) const { std::ofstream(file_, std::ios::binary) << bytes; }

  /// The message of the error that restoring gives, whose code is as expected; nothing must stay behind.
  std::string refused(Process& process, ErrorCode code) {
    const int64_t before = process.free_blocks();
    try {
      restore_session(process.parts, file_, "");
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      EXPECT_EQ(process.free_blocks(), before);
      return error.what();
    }
    ADD_FAILURE() << "no error";
    return "";
  }

  std::unique_ptr<LoadedModel> model_ = testing::random_model(testing::tiny_config(), 31);
  fs::path file_;
};

TEST_F(SessionsTest, AnotherProcessGoesOnWithoutComputingThePromptAgain) {
  for (const DType kv : {DType::kF32, DType::kQ8_0}) {
    SCOPED_TRACE(name(kv));
    if (kv == DType::kQ8_0 && model_->config().decoder.head_dim % 32 != 0) continue;
    Sequence prompt = with_digests(testing::picture_prompt(5));
    Process first(*model_, kv);
    const std::vector<int32_t> answer = first.answer(prompt);
    const SessionInfo saved = save_session(first.parts, file_, "", nullptr);
    EXPECT_EQ(saved.tokens, static_cast<int64_t>(prompt.tokens.size() + answer.size()) - 1);
    EXPECT_EQ(saved.bytes, static_cast<int64_t>(fs::file_size(file_)));
    EXPECT_EQ(fs::status(file_).permissions(), fs::perms::owner_read | fs::perms::owner_write);

    Sequence longer = prompt;  // the conversation goes on
    longer.tokens.insert(longer.tokens.end(), answer.begin(), answer.end());
    for (int32_t id = 1; id < 10; ++id)
      longer.tokens.push_back(id);
    longer.prompt_tokens = static_cast<int64_t>(longer.tokens.size());
    int64_t reused = 0, reused_after = 0;
    const std::vector<int32_t> expected = first.answer(longer, &reused);
    EXPECT_EQ(reused, saved.tokens);

    Process second(*model_, kv);
    EXPECT_EQ(restore_session(second.parts, file_, "").tokens, saved.tokens);
    EXPECT_EQ(second.answer(longer, &reused_after), expected);
    EXPECT_EQ(reused_after, saved.tokens);

    Process third(*model_, kv);  // another picture: only what comes before it counts
    restore_session(third.parts, file_, "");
    Sequence other = longer;
    other.media_digests[0] = {99, 99};
    third.answer(other, &reused_after);
    EXPECT_EQ(reused_after, prompt.media[0]->first());
  }
}

TEST_F(SessionsTest, APromptIsFoundAmongOthers) {
  Process process(*model_);
  Sequence one = text_prompt(70, 1), two = text_prompt(90, 2);
  process.answer(one);
  process.answer(two);
  one.scope = "somebody";
  process.answer(one);
  one.scope = "";
  EXPECT_EQ(save_session(process.parts, file_, "", &one).tokens, 70 + 19);
  EXPECT_EQ(save_session(process.parts, file_, "", nullptr).tokens, 90 + 19);
  EXPECT_EQ(save_session(process.parts, file_, "somebody", nullptr).tokens, 70 + 19);
  EXPECT_EQ(save_session(process.parts, file_, "nobody", nullptr).tokens, 0);
  const Sequence unknown = text_prompt(70, 3);
  EXPECT_EQ(save_session(process.parts, file_, "", &unknown).tokens, 0);
}

TEST_F(SessionsTest, WhatTheBlocksHeldBeforeIsNotWritten) {
  Process process(*model_);
  process.answer(text_prompt(200, 1));
  process.loop.exclusively([&] { process.machine.scheduler.forget(); });
  const Sequence sequence = text_prompt(33, 2);  // one token in its last block, whose rest is the other prompt's
  process.loop.prefill(*std::make_unique<Sequence>(sequence), nullptr, StepLoop::After::kKeep);
  save_session(process.parts, file_, "", nullptr);
  Process fresh(*model_);
  fresh.loop.prefill(*std::make_unique<Sequence>(sequence), nullptr, StepLoop::After::kKeep);
  const std::string used = bytes();
  save_session(fresh.parts, file_, "", nullptr);
  EXPECT_EQ(bytes(), used);
}

TEST_F(SessionsTest, DamageIsToldWhereverItIs) {
  Process process(*model_);
  process.answer(with_digests(testing::picture_prompt(5)));
  const SessionInfo info = save_session(process.parts, file_, "", nullptr);
  const std::string good = bytes();
  const size_t media_at = kFixedHead + static_cast<size_t>(info.tokens) * 4;
  Process other(*model_);
  // A byte in each part, and in each number of the head.
  std::vector<size_t> places = {
      media_at - 1, media_at, media_at + kMediaHead, good.size() / 2, good.size() - kDigest - 1, good.size() - 1};
  for (size_t i = 0; i < kFixedHead; i += 8)
    places.push_back(i);
  for (const size_t place : places) {
    SCOPED_TRACE(place);
    std::string bad = good;
    bad[place] = static_cast<char>(bad[place] ^ 0x15);
    write(bad);
    EXPECT_NE(refused(other, ErrorCode::kBadFile).find(file_.string()), std::string::npos);
  }
  // Numbers that no memory could hold.
  for (size_t i = 16; i < kFixedHead; i += 8) {
    std::string bad = good;
    bad.replace(i, 8, std::string(8, '\xff'));
    write(bad);
    refused(other, ErrorCode::kBadFile);
  }
  for (const size_t size : {size_t{0}, size_t{1}, kFixedHead - 1, kFixedHead, media_at, good.size() - 1}) {
    write(good.substr(0, size));
    refused(other, ErrorCode::kBadFile);
  }
  write(good + "x");
  refused(other, ErrorCode::kBadFile);
  write("A letter to a friend.\n" + std::string(1000, ' '));
  EXPECT_NE(refused(other, ErrorCode::kBadFile).find("no session file"), std::string::npos);
  write(good);
  EXPECT_EQ(restore_session(other.parts, file_, "").tokens, info.tokens);
}

TEST_F(SessionsTest, ForeignSessionsAreRefused) {
  Process process(*model_);
  process.answer(with_digests(testing::picture_prompt(5)));
  save_session(process.parts, file_, "", nullptr);
  Process other(*model_);
  other.parts.model = {1, 3};
  EXPECT_NE(refused(other, ErrorCode::kUnsupported).find("another model"), std::string::npos);
  other.parts.model = process.parts.model;
  other.parts.media_key = {3, 5};
  refused(other, ErrorCode::kUnsupported);
  EXPECT_EQ(session_media_key(file_).k1, 4u);
  other.parts.media_key = process.parts.media_key;
  other.parts.vocab_size = 10;
  refused(other, ErrorCode::kBadFile);
  fs::remove(file_);
  refused(other, ErrorCode::kNotFound);
}

TEST_F(SessionsTest, ASessionTakesOnlyWhatNobodyUses) {
  Process process(*model_);
  process.answer(text_prompt(300, 1));
  const SessionInfo info = save_session(process.parts, file_, "", nullptr);
  Process full(*model_);
  Sequence running = text_prompt(2048 - 5 * kBlockTokens, 2);
  full.loop.prefill(running);  // stays with its caller
  EXPECT_NE(refused(full, ErrorCode::kOutOfMemory).find("no room"), std::string::npos);
  full.loop.give_back(std::move(running), StepLoop::After::kKeep);
  EXPECT_EQ(restore_session(full.parts, file_, "").tokens, info.tokens);  // in place of what is kept
}

TEST_F(SessionsTest, TheModelIsKnownByItsWeights) {
  const Digest128 own = model_->fingerprint();
  EXPECT_EQ(testing::random_model(testing::tiny_config(), 31)->fingerprint(), own);
  EXPECT_NE(testing::random_model(testing::tiny_config(), 32)->fingerprint(), own);
}

}  // namespace
}  // namespace minicpm

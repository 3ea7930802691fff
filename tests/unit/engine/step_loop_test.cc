// Many callers on one small random model: each gets what it would get alone.
#include "engine/step_loop.h"

#include <gtest/gtest.h>

#include <latch>
#include <thread>

#include "engine/token_stream.h"
#include "support/machine.h"
#include "support/random_model.h"

namespace minicpm {
namespace {

using testing::Machine;
using testing::picture_prompt;
using testing::relative_l2;
using testing::text_prompt;

class StepLoopTest : public ::testing::Test {
 protected:
  static SamplingParams greedy(int max_tokens) {
    SamplingParams params;
    params.do_sample = false;
    params.max_tokens = max_tokens;
    return params;
  }

  std::vector<int32_t> answer(Sequence sequence, const SamplingParams& params) {
    std::vector<int32_t> ids;
    const auto on_token = [&](const SampledToken& token) {
      ids.push_back(token.id);
      return false;
    };
    loop_.generate(sequence, params, {on_token, {}});
    loop_.give_back(std::move(sequence), StepLoop::After::kRelease);
    return ids;
  }

  int64_t free_blocks() {
    int64_t blocks = 0;
    loop_.exclusively([&] {
      machine_.scheduler.forget();
      blocks = machine_.cache.pool().free_blocks();
    });
    return blocks;
  }

  std::unique_ptr<LoadedModel> model_ = testing::random_model(testing::tiny_config(), 31);
  Machine machine_{*model_, 2, 64, Precision::kExact};
  StepLoop loop_{machine_.scheduler, machine_.runner, {}};
};

TEST_F(StepLoopTest, OneCallerGetsWhatTheGeneratorMakes) {
  Machine alone(*model_, 2, 64, Precision::kExact);
  Sequence sequence = picture_prompt(1);
  alone.scheduler.add(sequence);
  std::vector<int32_t> expected;
  const auto logits = *alone.generator.prefill(sequence);
  alone.generator.sample(sequence, logits, greedy(12), [&](int32_t id) {
    expected.push_back(id);
    return false;
  });
  alone.scheduler.remove(sequence);
  EXPECT_EQ(answer(picture_prompt(1), greedy(12)), expected);
}

TEST_F(StepLoopTest, AStepForNobodyEndsBetweenItsLayers) {
  struct Leaving : Tracer {
    void record(std::string_view, const Tensor&) override {
      gone = leaves;
      ++seen;
    }
    bool leaves = false;
    std::atomic<bool> gone = false;
    int seen = 0;
  } client;
  const std::vector<int32_t> expected = answer(picture_prompt(1), greedy(5));
  loop_.exclusively([&] { machine_.scheduler.forget(); });
  machine_.runner.set_tracer(&client);
  Sequence whole = picture_prompt(1);
  EXPECT_TRUE(loop_.prefill(whole, &client.gone, StepLoop::After::kRelease).has_value());
  const int all = std::exchange(client.seen, 0);
  client.leaves = true;
  Sequence sequence = picture_prompt(1);
  EXPECT_FALSE(loop_.prefill(sequence, &client.gone, StepLoop::After::kKeep).has_value());
  EXPECT_GE(client.seen, 1);
  EXPECT_LT(client.seen, all / 2);
  machine_.runner.set_tracer(nullptr);
  EXPECT_EQ(answer(picture_prompt(1), greedy(5)), expected);  // nothing half computed is used
}

TEST_F(StepLoopTest, ManyCallersGetTheirOwnAnswers) {
  constexpr int kCallers = 12;
  const auto prompt = [](int caller) {
    return caller % 3 == 0 ? picture_prompt(100 + caller) : text_prompt(20 + 7 * caller, caller);
  };
  std::vector<std::vector<int32_t>> expected(kCallers), found(kCallers);
  for (int i = 0; i < kCallers; ++i)
    expected[i] = answer(prompt(i), greedy(10 + i));
  std::latch start(kCallers);
  std::vector<std::jthread> callers;
  for (int i = 0; i < kCallers; ++i) {
    callers.emplace_back([&, i] {
      start.arrive_and_wait();
      found[i] = answer(prompt(i), greedy(10 + i));
    });
  }
  callers.clear();
  for (int i = 0; i < kCallers; ++i)
    EXPECT_EQ(found[i], expected[i]) << "caller " << i;
  EXPECT_EQ(free_blocks(), machine_.cache.pool().num_blocks());
}

TEST_F(StepLoopTest, CallersShareSteps) {
  constexpr int kCallers = 4;
  std::latch begun(kCallers);
  std::vector<std::jthread> callers;
  const int64_t before = loop_.stats().steps;
  for (int i = 0; i < kCallers; ++i) {
    callers.emplace_back([&, i] {
      Sequence sequence = text_prompt(10, 50 + i);
      bool first = true;
      const auto on_token = [&](const SampledToken&) {
        if (std::exchange(first, false)) begun.arrive_and_wait();  // all are decoding from here on
        return false;
      };
      loop_.generate(sequence, greedy(400), {on_token, {}});
      loop_.give_back(std::move(sequence), StepLoop::After::kRelease);
    });
  }
  callers.clear();
  EXPECT_LT(loop_.stats().steps - before, 2 * 400);
}

TEST_F(StepLoopTest, ACallerEndsOrThrowsOnlyItsOwnAnswer) {
  const std::vector<int32_t> expected = answer(text_prompt(30, 1), greedy(60));
  std::vector<int32_t> found;
  std::latch start(3);
  std::jthread other([&] {
    start.arrive_and_wait();
    found = answer(text_prompt(30, 1), greedy(60));
  });
  std::jthread throwing([&] {
    start.arrive_and_wait();
    Sequence sequence = text_prompt(40, 2);
    const auto on_token = [](const SampledToken&) -> bool { throw std::runtime_error("the caller's own"); };
    EXPECT_THROW(loop_.generate(sequence, greedy(60), {on_token, {}}), std::runtime_error);
    loop_.give_back(std::move(sequence), StepLoop::After::kRelease);
  });
  start.arrive_and_wait();
  int seen = 0;
  Sequence sequence = text_prompt(50, 3);
  const auto on_token = [&](const SampledToken&) { return ++seen == 3; };
  EXPECT_EQ(loop_.generate(sequence, greedy(60), {on_token, {}}), FinishReason::kStop);
  loop_.give_back(std::move(sequence), StepLoop::After::kRelease);
  other.join();
  throwing.join();
  EXPECT_EQ(seen, 3);
  EXPECT_EQ(found, expected);
  EXPECT_EQ(free_blocks(), machine_.cache.pool().num_blocks());
}

TEST_F(StepLoopTest, CancelledFromOutside) {
  std::atomic<bool> cancel = false;
  Sequence sequence = text_prompt(10, 4);
  int seen = 0;
  const auto on_token = [&](const SampledToken&) {
    cancel = ++seen == 5;
    return false;
  };
  EXPECT_EQ(loop_.generate(sequence, greedy(100), {on_token, {}}, &cancel), FinishReason::kCancelled);
  EXPECT_EQ(seen, 5);
  EXPECT_FALSE(loop_.prefill(sequence, &cancel));
  loop_.give_back(std::move(sequence), StepLoop::After::kRelease);
}

TEST_F(StepLoopTest, TooLargeForTheContextFailsAlone) {
  const std::vector<int32_t> expected = answer(text_prompt(30, 5), greedy(40));
  std::vector<int32_t> found;
  std::jthread other([&] { found = answer(text_prompt(30, 5), greedy(40)); });
  Sequence sequence = text_prompt(3000, 6);
  EXPECT_THROW(loop_.prefill(sequence), Error);
  other.join();  // although nothing was given back yet
  EXPECT_EQ(found, expected);
  EXPECT_TRUE(sequence.blocks.empty());
}

TEST_F(StepLoopTest, AnAnswerThatIsOverHoldsNoBlocks) {
  for (const StepLoop::After after : {StepLoop::After::kKeep, StepLoop::After::kRelease}) {
    Sequence first = text_prompt(1200, 7), second = text_prompt(1200, 8);  // not both fit
    const auto on_token = [&](const SampledToken&) {  // the last token: its caller is slow to take it
      EXPECT_TRUE(loop_.prefill(second, nullptr, after));
      return false;
    };
    loop_.generate(first, greedy(1), {on_token, {}}, nullptr, nullptr, after);
  }
  EXPECT_EQ(free_blocks(), machine_.cache.pool().num_blocks());
}

TEST_F(StepLoopTest, TheSamePictureIsEncodedOnce) {
  Machine machine(*model_, 2, 64, Precision::kExact);
  Runner runner(*model_, *machine.backend, machine.cache,
                {.precision = Precision::kExact, .media_cache_bytes = 1 << 20});
  StepLoop loop(machine.scheduler, runner, {});
  for (int question = 0; question < 3; ++question) {
    Sequence sequence = picture_prompt(8);
    sequence.media_digests = {{1, 1}, {2, 2}};
    sequence.tokens[0] = question;  // so that the beginning differs
    loop.prefill(sequence);
    loop.give_back(std::move(sequence), StepLoop::After::kRelease);
  }
  EXPECT_EQ(loop.stats().media_cache_misses, 2);
  EXPECT_EQ(loop.stats().media_cache_hits, 4);
}

TEST_F(StepLoopTest, SlicesAreEncodedBetweenTokensOfOthers) {
  const std::vector<int32_t> expected = answer(picture_prompt(4), greedy(6));
  int64_t before = 0, after = 0;  // steps of the loop
  Sequence text = text_prompt(20, 5);
  std::optional<std::jthread> other;
  std::vector<int32_t> found;
  std::atomic<bool> done = false;
  const auto on_token = [&](const SampledToken&) {
    if (!other) {
      before = loop_.stats().steps;
      other.emplace([&] {
        found = answer(picture_prompt(4), greedy(6));
        after = loop_.stats().steps;
        done = true;
      });
      while (loop_.stats().callers < 2 && !done)
        std::this_thread::yield();
    }
    return done.load();
  };
  loop_.generate(text, greedy(1800), {on_token, {}}, nullptr, nullptr, StepLoop::After::kRelease);
  other->join();
  EXPECT_EQ(found, expected);
  EXPECT_GE(after - before, 3 + 5);  // two slices and a pack, with which the first of six tokens comes
}

TEST_F(StepLoopTest, LogprobsAreThoseOfTheModel) {
  Sequence sequence = text_prompt(20, 9);
  SamplingParams params = greedy(3);
  params.top_logprobs = 4;
  params.repetition_penalty = 1.3f;
  std::vector<SampledToken> tokens;
  const auto on_token = [&](const SampledToken& token) {
    tokens.push_back(token);
    return false;
  };
  loop_.generate(sequence, params, {on_token, {}});
  loop_.give_back(std::move(sequence), StepLoop::After::kRelease);
  ASSERT_EQ(tokens.size(), 3u);
  for (const SampledToken& token : tokens) {
    ASSERT_TRUE(token.logprobs);
    ASSERT_EQ(token.logprobs->top.size(), 4u);
    EXPECT_LE(token.logprobs->logprob, 0.0f);
    EXPECT_GE(token.logprobs->top[0].score, token.logprobs->top[1].score);
  }
  EXPECT_EQ(tokens[0].logprobs->top[0].id, tokens[0].id);
}

// ---- streams -------------------------------------------------------------------------------------------------------

ModelInput piece_of(const Sequence& sequence, int64_t first, int64_t end) {
  ModelInput piece;
  piece.tokens.assign(sequence.tokens.begin() + first, sequence.tokens.begin() + end);
  for (const auto& media : sequence.media) {
    if (media->first() < first || media->first() >= end) continue;
    auto moved = std::make_shared<MediaItem>(*media);
    for (int64_t& span : moved->spans)
      span -= first;
    piece.media.push_back(std::move(moved));
  }
  return piece;
}

TEST_F(StepLoopTest, PiecesOfAStreamEqualTheWhole) {
  const Sequence prompt = picture_prompt(10);
  Sequence whole = prompt;
  const auto expected = loop_.prefill(whole);
  loop_.give_back(std::move(whole), StepLoop::After::kRelease);
  const auto stream = make_token_stream(loop_, machine_.scheduler, 2048);
  for (const auto& [first, end] : {std::pair{0, 7}, {7, 60}, {60, 61}, {61, 120}})
    stream->append(piece_of(prompt, first, end));
  EXPECT_EQ(stream->size(), 120);
  EXPECT_LT(relative_l2(stream->last_hidden(), expected->hidden), 1e-5);

  std::vector<int32_t> ids;
  const auto keep = [&](int32_t id) {
    ids.push_back(id);
    return false;
  };
  EXPECT_EQ(stream->generate(greedy(9), keep), FinishReason::kLength);
  EXPECT_EQ(ids, answer(prompt, greedy(9)));
  EXPECT_EQ(stream->size(), 129);
}

TEST_F(StepLoopTest, WhatIsErasedLeavesNoTrace) {
  const Sequence prompt = picture_prompt(11);
  const auto without = make_token_stream(loop_, machine_.scheduler, 2048);
  without->append(piece_of(prompt, 0, 5));
  without->append(piece_of(prompt, 60, 120));
  const auto stream = make_token_stream(loop_, machine_.scheduler, 2048);
  stream->append(piece_of(prompt, 0, 60));
  stream->append(piece_of(prompt, 60, 119));
  EXPECT_THROW(stream->erase(20, 10), Error);  // half of a picture
  stream->erase(5, 55);                        // with the first picture
  EXPECT_EQ(stream->size(), 64);
  stream->append(piece_of(prompt, 119, 120));
  EXPECT_LT(relative_l2(stream->last_hidden(), without->last_hidden()), 1e-5);
  stream->erase(60, 100);
  EXPECT_EQ(stream->size(), 60);
}

TEST_F(StepLoopTest, StreamsAndContexts) {
  const auto stream = make_token_stream(loop_, machine_.scheduler, 50);
  EXPECT_THROW(stream->generate(greedy(5), [](int32_t) { return false; }), Error);
  const Sequence prompt = text_prompt(60, 12);
  stream->append(piece_of(prompt, 0, 45));
  EXPECT_THROW(stream->append(piece_of(prompt, 45, 60)), Error);
  EXPECT_EQ(stream->generate(greedy(50), [](int32_t) { return false; }), FinishReason::kLength);
  EXPECT_EQ(stream->size(), 50);
}

// Threads do what comes to their minds; nothing is lost, and the answers are those of a quiet machine.
TEST_F(StepLoopTest, AStorm) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  constexpr int kPrompts = 6;
  std::vector<std::vector<int32_t>> expected;
  for (int i = 0; i < kPrompts; ++i)
    expected.push_back(answer(i % 2 ? picture_prompt(i) : text_prompt(90, i), greedy(20)));
  std::atomic<int> wrong = 0;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&, t] {
        std::mt19937_64 random(seed + static_cast<uint64_t>(t));
        for (int round = 0; round < 25; ++round) {
          const int which = static_cast<int>(random() % kPrompts);
          Sequence sequence = which % 2 ? picture_prompt(which) : text_prompt(90, which);
          for (size_t m = 0; m < sequence.media.size(); ++m)
            sequence.media_digests.push_back({static_cast<uint64_t>(which), m});
          const size_t stop_after = random() % 25;
          std::atomic<bool> cancel = false;
          std::vector<int32_t> ids;
          const auto on_token = [&](const SampledToken& token) {
            ids.push_back(token.id);
            if (ids.size() == stop_after) cancel = true;
            return false;
          };
          loop_.generate(sequence, greedy(20), {on_token, {}}, &cancel);
          wrong += !std::equal(ids.begin(), ids.end(), expected[which].begin());
          wrong += !cancel && ids.size() != 20;
          if (random() % 8 == 0) loop_.exclusively([] {});
          loop_.give_back(std::move(sequence), random() % 2 ? StepLoop::After::kKeep : StepLoop::After::kRelease);
        }
      });
    }
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(free_blocks(), machine_.cache.pool().num_blocks());
  EXPECT_EQ(loop_.stats().callers, 0);
}

}  // namespace
}  // namespace minicpm

// Guesses, right and wrong, change no answer on small random models.
#include "engine/drafter.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"
#include "engine/step_loop.h"
#include "engine/token_stream.h"
#include "support/machine.h"
#include "support/random_model.h"

namespace minicpm {
namespace {

using testing::Machine;
using testing::picture_prompt;
using testing::relative_l2;
using testing::text_prompt;

using Ids = std::vector<int32_t>;

TEST(LookupDrafter, GoesOnAsItDidBefore) {
  LookupDrafter lookup;
  EXPECT_EQ(lookup.propose(Ids{1, 2, 3, 4, 5, 6, 9, 2, 3}, 3), (Ids{4, 5, 6}));
  EXPECT_EQ(lookup.propose(Ids{1, 2, 3, 4, 9, 2, 3, 5, 9, 2, 3}, 1), (Ids{5}));     // of "9 2 3", not of "2 3"
  EXPECT_EQ(lookup.propose(Ids{1, 2, 3, 4, 1, 2, 3, 5, 8, 2, 3}, 2), (Ids{5, 8}));  // the later of two
  EXPECT_EQ(lookup.propose(Ids{7, 1, 2, 1, 2}, 5), (Ids{1, 2, 1, 2, 1}));           // repeats itself
  EXPECT_EQ(lookup.propose(Ids{1, 2, 3, 4, 5}, 4), Ids{});
  EXPECT_EQ(lookup.propose(Ids{1, 2, 3, 2}, 4), Ids{});  // one equal token is none
  EXPECT_EQ(lookup.propose(Ids{4}, 4), Ids{});
  EXPECT_EQ(lookup.propose(Ids{}, 4), Ids{});
  EXPECT_EQ(lookup.propose(Ids(100, 6), 3), (Ids{6, 6, 6}));
}

TEST(DraftPace, FollowsWhatWasRight) {
  DraftPace pace(8);
  EXPECT_EQ(pace.next(), 8);
  pace.learn(8, 2);
  EXPECT_EQ(pace.next(), 3);
  pace.learn(3, 3);
  EXPECT_EQ(pace.next(), 6);
  pace.learn(6, 6);
  EXPECT_EQ(pace.next(), 8);
}

TEST(DraftPace, RestsLongerAfterEachMiss) {
  DraftPace pace(8);
  for (const int rest : {0, 2, 6, 14, 14}) {
    pace.learn(1, 0);
    for (int i = 0; i < rest; ++i)
      EXPECT_EQ(pace.next(), 0) << i << " of " << rest;
    EXPECT_EQ(pace.next(), 1);
  }
  pace.learn(1, 1);
  EXPECT_EQ(pace.next(), 2);
  pace.learn(2, 0);
  EXPECT_EQ(pace.next(), 1);  // the first miss after a right guess
}

/// Knows the whole text and is wrong now and then.
class KnowingDrafter : public Drafter {
 public:
  KnowingDrafter(Ids text, double wrong, uint64_t seed) : text_(std::move(text)), wrong_(wrong), random_(seed) {}
  Ids propose(std::span<const int32_t> tokens, int64_t most) override {
    EXPECT_TRUE(std::equal(tokens.begin(), tokens.end(), text_.begin()));
    Ids guesses;
    for (size_t i = tokens.size(); i < text_.size() && std::ssize(guesses) < most; ++i)
      guesses.push_back(std::bernoulli_distribution(wrong_)(random_) ? static_cast<int32_t>(random_() % 300)
                                                                     : text_[i]);
    return guesses;
  }

 private:
  Ids text_;
  double wrong_;
  std::mt19937_64 random_;
};

/// Counts how often it is asked.
class CountingDrafter : public Drafter {
 public:
  Ids propose(std::span<const int32_t> tokens, int64_t most) override {
    ++asked;
    return lookup_.propose(tokens, most);
  }
  std::atomic<int> asked = 0;

 private:
  LookupDrafter lookup_;
};

class DraftTest : public ::testing::Test {
 protected:
  static SamplingParams greedy(int max_tokens) {
    SamplingParams params;
    params.do_sample = false;
    params.max_tokens = max_tokens;
    return params;
  }
  static SamplingParams sampled(int max_tokens) {
    SamplingParams params;
    params.max_tokens = max_tokens;
    params.temperature = 0.4f;
    params.top_p = 0.95f;
    params.repetition_penalty = 1.05f;
    params.seed = 5;
    return params;
  }

  struct Answer {
    Ids ids;
    std::vector<float> logprobs;
    FinishReason reason;
    Sequence sequence;  // its numbers, and what was kept of its tokens
  };
  static Answer generate(StepLoop& loop, Sequence sequence, const SamplingParams& params,
                         StepLoop::After after = StepLoop::After::kRelease) {
    Answer answer;
    const auto on_token = [&](const SampledToken& token) {
      answer.ids.push_back(token.id);
      if (token.logprobs) answer.logprobs.push_back(token.logprobs->logprob);
      return false;
    };
    answer.reason = loop.generate(sequence, params, {on_token, {}}, nullptr, nullptr, after);
    answer.sequence = std::move(sequence);
    return answer;
  }

  static Ids text_of(const Sequence& prompt, const Ids& answer) {
    Ids text = prompt.tokens;
    text.insert(text.end(), answer.begin(), answer.end());
    return text;
  }

  std::unique_ptr<LoadedModel> model_ = testing::random_model(testing::tiny_config(), 31);
  Machine machine_{*model_, 2, 64, Precision::kExact};
  StepLoop plain_{machine_.scheduler, machine_.runner, {}};
};

TEST_F(DraftTest, NoGuessChangesAnAnswer) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  int64_t drafted = 0, accepted = 0;
  for (const SamplingParams& params : {greedy(40), sampled(40)}) {
    for (const Sequence& prompt : {text_prompt(50, 1), picture_prompt(2)}) {
      SamplingParams with_logprobs = params;
      with_logprobs.top_logprobs = 2;
      const Answer expected = generate(plain_, prompt, with_logprobs);
      for (const double wrong : {0.0, 0.2, 0.6, 1.0}) {
        KnowingDrafter drafter(text_of(prompt, expected.ids), wrong, seed);
        StepLoop loop(machine_.scheduler, machine_.runner, {}, {.drafter = &drafter, .most = 5});
        const Answer found = generate(loop, prompt, with_logprobs);
        EXPECT_EQ(found.ids, expected.ids) << "wrong " << wrong;
        EXPECT_EQ(found.reason, expected.reason);
        EXPECT_LT(relative_l2(found.logprobs, expected.logprobs), 1e-4);
        if (wrong == 0.0) {
          EXPECT_EQ(found.sequence.accepted, found.sequence.drafted);
          EXPECT_LE(loop.stats().steps, 3 + 40 / 6 + 1);
        }
        EXPECT_EQ(loop.stats().drafted_tokens, found.sequence.drafted);
        drafted += found.sequence.drafted;
        accepted += found.sequence.accepted;
      }
    }
  }
  EXPECT_GT(accepted, 0);
  EXPECT_LT(accepted, drafted);
}

TEST_F(DraftTest, LookingUpFindsRepetitions) {
  CountingDrafter drafter;
  StepLoop loop(machine_.scheduler, machine_.runner, {}, {.drafter = &drafter, .most = 6});
  for (const uint64_t seed : {3, 4, 5}) {
    const Answer expected = generate(plain_, text_prompt(40, seed), greedy(150));
    EXPECT_EQ(generate(loop, text_prompt(40, seed), greedy(150)).ids, expected.ids);
  }
  EXPECT_GT(drafter.asked, 0);
  EXPECT_GT(loop.stats().accepted_tokens, 0);  // greedy answers of small random models end in loops
}

TEST_F(DraftTest, AModelDraftsForItselfAndForAnother) {
  for (const uint64_t weights : {31, 32}) {
    ModelDrafter drafter(testing::random_model(testing::tiny_text_config(), weights), *machine_.backend,
                         {.precision = Precision::kExact, .kv_type = DType::kF32, .context = 150});
    StepLoop loop(machine_.scheduler, machine_.runner, {}, {.drafter = &drafter, .most = 4});
    const auto text_model = testing::random_model(testing::tiny_text_config(), 31);
    Machine machine(*text_model, 2, 64, Precision::kExact);
    StepLoop expected(machine.scheduler, machine.runner, {});
    StepLoop drafting(machine.scheduler, machine.runner, {}, {.drafter = &drafter, .most = 4});
    for (const uint64_t prompt : {6, 7, 6}) {  // the second text has nothing in common with the first
      const Answer found = generate(drafting, text_prompt(50, prompt), greedy(50));
      EXPECT_EQ(found.ids, generate(expected, text_prompt(50, prompt), greedy(50)).ids);
      EXPECT_GT(found.sequence.drafted, 0);
      if (weights == 31) {
        EXPECT_EQ(found.sequence.accepted, found.sequence.drafted);
      }
    }
    // Longer than the drafter's context: it keeps quiet.
    const Answer found = generate(drafting, text_prompt(145, 8), greedy(30));
    EXPECT_EQ(found.ids, generate(expected, text_prompt(145, 8), greedy(30)).ids);
    EXPECT_LE(found.sequence.drafted, 12);
    generate(loop, picture_prompt(9), greedy(5));  // placeholders are ids like others
  }
}

TEST_F(DraftTest, AnswersEndWhereTheyShould) {
  const Sequence prompt = text_prompt(30, 10);
  const Answer whole = generate(plain_, prompt, greedy(30));
  KnowingDrafter drafter(text_of(prompt, whole.ids), 0.0, 1);
  for (int max_tokens = 1; max_tokens <= 12; ++max_tokens) {
    StepLoop loop(machine_.scheduler, machine_.runner, {}, {.drafter = &drafter, .most = 5});
    const Answer found = generate(loop, prompt, greedy(max_tokens), StepLoop::After::kStay);
    EXPECT_EQ(found.ids, Ids(whole.ids.begin(), whole.ids.begin() + max_tokens));
    EXPECT_EQ(found.reason, FinishReason::kLength);
    EXPECT_EQ(std::ssize(found.sequence.tokens), 30 + max_tokens);
    EXPECT_EQ(found.sequence.computed, 30 + max_tokens - 1);
    loop.give_back(Sequence(found.sequence), StepLoop::After::kRelease);
  }
  for (int last = 1; last <= 12; ++last) {  // a stop id in the middle of right guesses
    const int32_t stop = whole.ids[static_cast<size_t>(last)];
    const auto before = std::ranges::find(whole.ids, stop) - whole.ids.begin();
    StepLoop loop(machine_.scheduler, machine_.runner, {stop}, {.drafter = &drafter, .most = 5});
    const Answer found = generate(loop, prompt, greedy(30), StepLoop::After::kStay);
    EXPECT_EQ(found.ids, Ids(whole.ids.begin(), whole.ids.begin() + before));
    EXPECT_EQ(found.reason, FinishReason::kStop);
    EXPECT_EQ(found.sequence.computed, std::ssize(found.sequence.tokens));
    loop.give_back(Sequence(found.sequence), StepLoop::After::kRelease);
  }
}

TEST_F(DraftTest, WrongGuessesLeaveNoTraceInWhatIsKept) {
  const Sequence prompt = text_prompt(30, 11);
  const Answer whole = generate(plain_, prompt, greedy(40));
  KnowingDrafter drafter(text_of(prompt, whole.ids), 0.5, 2);
  StepLoop loop(machine_.scheduler, machine_.runner, {}, {.drafter = &drafter, .most = 7});
  generate(loop, prompt, greedy(40), StepLoop::After::kKeep);
  Sequence next = prompt;
  next.tokens = text_of(prompt, whole.ids);
  next.tokens.insert(next.tokens.end(), {1, 2, 3});
  next.prompt_tokens = std::ssize(next.tokens);
  const std::vector<float> expected = Machine(*model_, 2, 64, Precision::kExact).last_logits(next);
  const auto state = loop.prefill(next, nullptr, StepLoop::After::kRelease);
  EXPECT_EQ(next.reused, 69);  // all but the last, which was never computed
  EXPECT_LT(relative_l2(state->logits, expected), 1e-5);
}

TEST_F(DraftTest, AStreamHoldsWhatItsCallerSaw) {
  const Sequence prompt = text_prompt(30, 17);
  const Answer whole = generate(plain_, prompt, greedy(40));
  KnowingDrafter drafter(text_of(prompt, whole.ids), 0.3, 5);
  StepLoop loop(machine_.scheduler, machine_.runner, {}, {.drafter = &drafter, .most = 6});
  for (int64_t wanted = 1; wanted < 12; ++wanted) {
    const auto stream = make_token_stream(loop, machine_.scheduler, 2048);
    stream->append({.tokens = prompt.tokens, .media = {}});
    int64_t seen = 0;
    stream->generate(greedy(40), [&](int32_t id) {
      EXPECT_EQ(id, whole.ids[static_cast<size_t>(seen)]);
      return ++seen == wanted;
    });
    EXPECT_EQ(stream->size(), 30 + wanted);
    stream->append({.tokens = {1, 2}, .media = {}});
    Sequence expected = prompt;
    expected.tokens = text_of(prompt, Ids(whole.ids.begin(), whole.ids.begin() + wanted));
    expected.tokens.insert(expected.tokens.end(), {1, 2});
    const auto state = plain_.prefill(expected, nullptr, StepLoop::After::kRelease);
    EXPECT_LT(relative_l2(stream->last_hidden(), state->hidden), 1e-5) << wanted;
  }
}

TEST_F(DraftTest, GuessesTakeNobodysRoom) {
  Machine small(*model_, 2, 64, Precision::kExact);
  const Sequence prompt = text_prompt(30, 12);
  const Answer whole = generate(plain_, prompt, greedy(100));
  // What stays with others leaves two blocks: up to 64 tokens.
  Sequence other = text_prompt(small.cache.pool().num_blocks() * kBlockTokens - 64, 13);
  StepLoop quiet(small.scheduler, small.runner, {});
  ASSERT_TRUE(quiet.prefill(other));
  KnowingDrafter drafter(text_of(prompt, whole.ids), 0.0, 3);
  StepLoop loop(small.scheduler, small.runner, {}, {.drafter = &drafter, .most = 40});
  EXPECT_EQ(generate(loop, prompt, greedy(34)).ids, Ids(whole.ids.begin(), whole.ids.begin() + 34));
  loop.give_back(std::move(other), StepLoop::After::kRelease);
}

TEST_F(DraftTest, GuessesDoNotCrossTheBorderOfARotation) {
  ModelConfig config = testing::tiny_text_config();
  config.decoder.rope_factors.assign(16, 1.0f);
  config.decoder.rope_long_factors.assign(16, 4.0f);
  config.decoder.rope_switch_length = 50;
  const auto model = testing::random_model(config, 21);
  Machine machine(*model, 2, 512, Precision::kExact);
  StepLoop plain(machine.scheduler, machine.runner, {});
  const Answer whole = generate(plain, text_prompt(30, 14), greedy(40));
  KnowingDrafter drafter(text_of(text_prompt(30, 14), whole.ids), 0.0, 4);
  for (int64_t most = 1; most < 9; ++most) {
    StepLoop loop(machine.scheduler, machine.runner, {}, {.drafter = &drafter, .most = most, .border = 50});
    SamplingParams params = greedy(40);
    params.top_logprobs = 0;
    const Answer found = generate(loop, text_prompt(30, 14), params);
    EXPECT_EQ(found.ids, whole.ids) << most;
    EXPECT_LT(relative_l2(found.logprobs, generate(plain, text_prompt(30, 14), params).logprobs), 1e-4) << most;
  }
}

TEST_F(DraftTest, SeveralCallersGetTheirAnswers) {
  CountingDrafter drafter;
  StepLoop loop(machine_.scheduler, machine_.runner, {}, {.drafter = &drafter, .most = 6});
  constexpr int kPrompts = 5;
  std::vector<Ids> expected;
  for (int i = 0; i < kPrompts; ++i)
    expected.push_back(generate(plain_, text_prompt(20 + 9 * i, i), greedy(40)).ids);
  std::atomic<int> wrong = 0;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (int round = 0; round < 8; ++round) {
          const int which = (t + round) % kPrompts;
          std::atomic<bool> cancel = false;
          Ids ids;
          const auto on_token = [&](const SampledToken& token) {
            ids.push_back(token.id);
            if (round % 3 == 2 && ids.size() == 17) cancel = true;
            return round % 4 == 3 && ids.size() == 21;
          };
          Sequence sequence = text_prompt(20 + 9 * which, which);
          loop.generate(sequence, greedy(40), {on_token, {}}, &cancel, nullptr, StepLoop::After::kKeep);
          wrong += !std::equal(ids.begin(), ids.end(), expected[which].begin());
          wrong += round % 3 != 2 && ids.size() < 21;
        }
      });
    }
  }
  EXPECT_EQ(wrong, 0);
  loop.exclusively([&] { machine_.scheduler.forget(); });
  EXPECT_EQ(machine_.cache.pool().free_blocks(), machine_.cache.pool().num_blocks());
}

TEST_F(DraftTest, NobodyGuessesWhileOthersRun) {
  CountingDrafter drafter;
  StepLoop loop(machine_.scheduler, machine_.runner, {}, {.drafter = &drafter, .most = 6});
  std::atomic<int> during = -1;
  std::atomic<bool> begun = false, done = false;
  const auto set = [](std::atomic<bool>& flag) {
    flag = true;
    flag.notify_all();
  };
  std::jthread other;
  int seen = 0, before = -1;
  const auto on_token = [&](const SampledToken&) {
    if (++seen > 1) return false;
    other = std::jthread([&] {  // is in every step from here on, whose tokens it is slow to take
      const auto on_second = [&](const SampledToken&) {
        done.wait(false);
        return false;
      };
      Sequence second = text_prompt(20, 16);
      loop.generate(second, greedy(200), {on_second, [&] { set(begun); }}, nullptr, nullptr, StepLoop::After::kRelease);
    });
    begun.wait(false);
    before = drafter.asked;
    return false;
  };
  Sequence first = text_prompt(20, 15);
  loop.generate(first, greedy(60), {on_token, {}}, nullptr, nullptr, StepLoop::After::kRelease);
  EXPECT_EQ(seen, 60);
  EXPECT_EQ(drafter.asked, before);
  set(done);
  other.join();
  EXPECT_GT(drafter.asked, before);  // alone again
}

}  // namespace
}  // namespace minicpm

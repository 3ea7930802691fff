// Properties of the engine loop on small random models: how the work is cut must not change what comes out.
#include "engine/runner.h"

#include <gtest/gtest.h>

#include "support/machine.h"
#include "support/random_model.h"

namespace minicpm {
namespace {

using testing::Machine;
using testing::picture_prompt;
using testing::relative_l2;
using testing::text_prompt;

TEST(Runner, ChunkedPrefillEqualsWhole) {
  const auto model = testing::random_model(testing::tiny_config(), 11);
  Machine whole(*model, 2, 4096, Precision::kExact);
  const auto expected = whole.last_logits(picture_prompt(5));
  for (int64_t chunk : {1, 7, 16, 33, 64, 119}) {
    Machine chunked(*model, 2, chunk, Precision::kExact);
    EXPECT_LT(relative_l2(chunked.last_logits(picture_prompt(5)), expected), 1e-5) << "chunk " << chunk;
  }
}

TEST(Runner, ThreadsDoNotChangeABit) {
  for (DType type : {DType::kF32, DType::kBF16, DType::kF16}) {
    const auto model = testing::random_model(testing::tiny_config(), 12, type);
    for (Precision precision : {Precision::kExact, Precision::kFast}) {
      Machine one(*model, 1, 64, precision);
      const auto expected = one.last_logits(picture_prompt(6));
      for (int threads : {2, 3, 5}) {
        Machine many(*model, threads, 64, precision);
        EXPECT_EQ(many.last_logits(picture_prompt(6)), expected) << threads << " threads, " << name(type);
      }
    }
  }
}

TEST(Runner, BatchEqualsAlone) {
  const auto model = testing::random_model(testing::tiny_text_config(), 13);
  Machine machine(*model, 2, 512, Precision::kExact);
  std::vector<Sequence> sequences;
  std::vector<std::vector<float>> alone;
  for (int64_t length : {3, 33, 64, 100}) {
    Sequence sequence = text_prompt(length + 1, static_cast<uint64_t>(length));
    alone.push_back(machine.last_logits(sequence));
    sequence.tokens.pop_back();
    sequences.push_back(sequence);
  }
  for (Sequence& sequence : sequences) {
    machine.scheduler.add(sequence);
    machine.generator.prefill(sequence);
    machine.scheduler.detach(sequence);
  }
  for (size_t i = 0; i < sequences.size(); ++i) {
    sequences[i].tokens.push_back(
        text_prompt(sequences[i].prompt_tokens, sequences[i].prompt_tokens - 1).tokens.back());
    machine.scheduler.add(sequences[i]);
  }
  const auto together = machine.generator.step();
  ASSERT_EQ(together.size(), alone.size());
  for (size_t i = 0; i < alone.size(); ++i)
    EXPECT_LT(relative_l2(together[i].logits, alone[i]), 1e-5);
  for (Sequence& sequence : sequences)
    machine.scheduler.remove(sequence);
}

// Longrope's two sets of factors are chosen for each sequence, not for the batch.
TEST(Runner, LongAndShortTogetherEqualAlone) {
  ModelConfig config = testing::tiny_text_config();
  config.decoder.rope_factors.assign(16, 1.0f);
  config.decoder.rope_long_factors.assign(16, 4.0f);
  config.decoder.rope_switch_length = 50;
  const auto model = testing::random_model(config, 21);
  Machine machine(*model, 2, 512, Precision::kExact);
  std::vector<Sequence> sequences = {text_prompt(40, 1), text_prompt(60, 2)};
  std::vector<std::vector<float>> alone;
  for (const Sequence& sequence : sequences)
    alone.push_back(machine.last_logits(sequence));
  for (Sequence& sequence : sequences)
    machine.scheduler.add(sequence);
  const auto together = machine.generator.step();
  ASSERT_EQ(together.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_LT(relative_l2(together[i].logits, alone[i]), 1e-5);
    machine.scheduler.remove(sequences[i]);
  }
}

TEST(Runner, HalfPrecisionCacheStaysClose) {
  const auto model = testing::random_model(testing::tiny_text_config(), 14);
  Machine exact(*model, 2, 512, Precision::kExact, DType::kF32);
  Machine half(*model, 2, 512, Precision::kExact, DType::kF16);
  const Sequence prompt = text_prompt(200, 3);
  const double error = relative_l2(half.last_logits(prompt), exact.last_logits(prompt));
  EXPECT_GT(error, 0);
  EXPECT_LT(error, 2e-3);
}

TEST(Runner, GreedyBeamOfOneEqualsGreedy) {
  const auto model = testing::random_model(testing::tiny_text_config(), 15);
  Machine machine(*model, 2, 512, Precision::kExact);
  SamplingParams params;
  params.do_sample = false;
  params.max_tokens = 12;
  Sequence prompt = text_prompt(20, 4);
  machine.scheduler.add(prompt);
  std::vector<int32_t> greedy;
  const OnToken keep = [&](int32_t id) {
    greedy.push_back(id);
    return false;
  };
  EXPECT_EQ(machine.generator.sample(prompt, *machine.generator.prefill(prompt), params, keep), FinishReason::kLength);
  machine.scheduler.remove(prompt);

  Sequence again = text_prompt(20, 4);
  machine.scheduler.add(again);
  const auto logits = *machine.generator.prefill(again);
  machine.scheduler.detach(again);
  std::vector<int32_t> beam;
  machine.generator.beam_search(again, logits, params, [&](int32_t id) {
    beam.push_back(id);
    return false;
  });
  machine.scheduler.release(again);
  EXPECT_EQ(beam, greedy);
  EXPECT_EQ(machine.cache.pool().free_blocks(), machine.cache.pool().num_blocks());
}

}  // namespace
}  // namespace minicpm

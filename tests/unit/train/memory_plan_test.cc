#include "train/memory_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/machine.h"
#include "support/random_model.h"

namespace minicpm {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TrainingMemoryRequest request(const ModelConfig& config) {
  const int64_t count = count_parameters(config).total();
  return {.total_parameters = count,
          .trained_parameters = count,
          .trains_vision = true,
          .trains_resampler = true,
          .batch_tokens = 4000,
          .longest_sample = 1000,
          .trained_tokens = 200,
          .batch_patches = 2000};
}

TEST(MemoryPlan, CountsParametersOfEachPart) {
  const ModelConfig config = testing::tiny_config();
  const DecoderConfig& d = config.decoder;
  const int64_t layer =
      d.hidden_size * (2 * d.q_dim + 2 * d.kv_dim + 3 * d.intermediate_size) + 2 * d.hidden_size + 2 * d.head_dim;
  const ParameterCounts counts = count_parameters(config);
  EXPECT_EQ(counts.language, d.num_layers * layer + 2 * d.vocab_size * d.hidden_size + d.hidden_size);
  const int64_t e = config.resampler->embed_dim;
  EXPECT_EQ(counts.resampler,
            config.resampler->query_num * e + e * config.resampler->vision_dim + 6 * e + 4 * e * e + 4 * e + e * e);
  const VisionConfig& v = *config.vision;
  const int64_t h = v.hidden_size;
  const int64_t tower = v.num_layers * (4 * h * h + 2 * h * v.intermediate_size + 9 * h + v.intermediate_size) +
                        h * v.patch_dim + h + v.num_positions * h + 2 * h;
  EXPECT_EQ(counts.vision, tower);
  EXPECT_EQ(counts.total(), counts.language + counts.vision + counts.resampler);
}

TEST(MemoryPlan, TiedEmbeddingsCountOnce) {
  ModelConfig config = testing::tiny_text_config();
  const int64_t untied = count_parameters(config).total();
  config.decoder.tied_embeddings = true;
  EXPECT_EQ(untied - count_parameters(config).total(), config.decoder.vocab_size * config.decoder.hidden_size);
}

TEST(MemoryPlan, FullTrainingKeepsFourNumbersForEachWeight) {
  const ModelConfig config = testing::tiny_config();
  const TrainingMemoryRequest r = request(config);
  const TrainingMemoryPlan plan = plan_training_memory(config, r);
  EXPECT_EQ(plan.weights, 4 * r.total_parameters);
  EXPECT_EQ(plan.gradients, 4 * r.total_parameters);
  EXPECT_EQ(plan.optimizer, 8 * r.total_parameters);
  EXPECT_EQ(plan.total, plan.weights + plan.gradients + plan.optimizer + plan.activations + plan.program);
  // The decoder's residual stream alone.
  EXPECT_GT(plan.activations, r.batch_tokens * 2 * config.decoder.hidden_size * config.decoder.num_layers * 4);
}

TEST(MemoryPlan, AdaptersNeedGradientsOfThemselvesOnly) {
  const ModelConfig config = testing::tiny_config();
  TrainingMemoryRequest r = request(config);
  r.total_parameters += 1000;
  r.trained_parameters = 1000;
  const TrainingMemoryPlan plan = plan_training_memory(config, r);
  EXPECT_EQ(plan.gradients, 4000);
  EXPECT_EQ(plan.optimizer, 8000);
}

TEST(MemoryPlan, SavingsLowerTheActivations) {
  ModelConfig config = testing::tiny_config();
  config.decoder.num_layers = 12;
  config.vision->num_layers = 12;
  const TrainingMemoryRequest r = request(config);
  const int64_t all = plan_training_memory(config, r).activations;
  TrainingMemoryRequest checkpointing = r;
  checkpointing.gradient_checkpointing = true;
  EXPECT_LT(plan_training_memory(config, checkpointing).activations, all / 2);
  TrainingMemoryRequest frozen = r;
  frozen.trains_vision = frozen.trains_resampler = false;
  EXPECT_LT(plan_training_memory(config, frozen).activations, all);
  TrainingMemoryRequest half = r;
  half.compute_dtype = DType::kBF16;
  EXPECT_LT(plan_training_memory(config, half).activations, all);
  EXPECT_GT(plan_training_memory(config, half).weights, plan_training_memory(config, r).weights);
  TrainingMemoryRequest waiting = r;
  waiting.waiting_patches = 1000;
  EXPECT_GE(plan_training_memory(config, waiting).activations, all + 1000 * config.vision->patch_dim * 4);
}

TEST(MemoryPlan, CountsPatchesOfAPicture) {
  ModelConfig config = testing::tiny_config();
  config.slices.scale_resolution = 448;
  EXPECT_EQ(most_patches(config, 9), 10 * 32 * 32);
  EXPECT_EQ(most_patches(config, 0), 32 * 32);
  EXPECT_EQ(most_patches(testing::tiny_text_config(), 9), 0);
}

TEST(MemoryPlan, TableNamesEveryPart) {
  const std::string table = training_memory_table({.weights = 3 << 20,
                                                   .gradients = 2 << 20,
                                                   .optimizer = int64_t{5} << 30,
                                                   .activations = 1 << 20,
                                                   .program = 1 << 20,
                                                   .total = int64_t{5} << 30,
                                                   .total_parameters = 1500000,
                                                   .trained_parameters = 500000,
                                                   .gradient_checkpointing = true});
  EXPECT_EQ(table,
            "weights        3.0 MiB  1.5 M parameters\n"
            "gradients      2.0 MiB  0.5 M parameters are trained\n"
            "optimizer      5.0 GiB\n"
            "activations    1.0 MiB  with gradient checkpointing\n"
            "program        1.0 MiB\n"
            "total          5.0 GiB\n");
}

TEST(MemoryPlan, RefusesWhatDoesNotFit) {
  TrainingMemoryPlan plan{.total = int64_t{12} << 30, .total_parameters = 1000, .trained_parameters = 1000};
  EXPECT_NO_THROW(require_training_memory(plan, int64_t{12} << 30));
  EXPECT_NO_THROW(require_training_memory(plan, 0));
  try {
    require_training_memory(plan, int64_t{8} << 30);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kOutOfMemory);
    EXPECT_STREQ(error.what(),
                 "training needs 12.0 GiB, 8.0 GiB are free; try --lora, --gradient-checkpointing, a smaller --batch");
  }
  plan.trained_parameters = 10;
  plan.gradient_checkpointing = true;
  try {
    require_training_memory(plan, 1);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("try a smaller --batch"));
    EXPECT_THAT(error.what(), Not(HasSubstr("--lora")));
  }
}

TEST(MemoryPlan, WhatTheProcessHoldsCountsAsFree) {
  const int64_t held = anonymous_rss_bytes();
  EXPECT_GT(held, 0);
  EXPECT_LT(held, machine_memory().total_bytes);
  EXPECT_GT(training_memory_available(), held);
}

TEST(MemoryPlan, AbsurdBatchesAreRefused) {
  const ModelConfig config = testing::tiny_config();
  TrainingMemoryRequest r = request(config);
  r.batch_tokens = r.longest_sample = INT64_MAX / 1000000;
  EXPECT_THROW(plan_training_memory(config, r), Error);
}

}  // namespace
}  // namespace minicpm

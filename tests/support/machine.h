// Everything between a model in memory and its logits, and prompts with random content.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "engine/generator.h"
#include "engine/runner.h"

namespace minicpm::testing {

inline double relative_l2(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double difference = 0, norm = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    difference += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    norm += static_cast<double>(b[i]) * b[i];
  }
  return std::sqrt(difference / norm);
}

struct Machine {
  Machine(const LoadedModel& model, int threads, int64_t chunk, Precision precision, DType kv = DType::kF32)
      : backend(make_cpu_backend({.num_threads = threads, .isa = ""})),
        cache(model.config().decoder, kv, 2048),
        scheduler(cache, chunk),
        runner(model, *backend, cache, {.precision = precision}),
        generator(scheduler, runner, model.config().decoder.vocab_size, {}) {}

  std::vector<float> last_logits(Sequence sequence) {
    scheduler.add(sequence);
    const auto logits = *generator.prefill(sequence);
    std::vector<float> copy(logits.begin(), logits.end());
    scheduler.remove(sequence);
    return copy;
  }

  std::unique_ptr<Backend> backend;
  KvCache cache;
  Scheduler scheduler;
  Runner runner;
  Generator generator;
};

inline Sequence text_prompt(int64_t tokens, uint64_t seed) {
  std::mt19937_64 random(seed);
  Sequence sequence;
  for (int64_t i = 0; i < tokens; ++i)
    sequence.tokens.push_back(static_cast<int32_t>(random() % 300));
  sequence.prompt_tokens = tokens;
  return sequence;
}

/// Two pictures of three slices in all, and text around them.
inline Sequence picture_prompt(uint64_t seed) {
  Sequence sequence = text_prompt(120, seed);
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  const auto slice = [&](int h, int w) {
    Patches patches{h, w, std::vector<float>(static_cast<size_t>(h) * w * 588)};
    for (float& value : patches.values)
      value = normal(random);
    return patches;
  };
  auto first = std::make_shared<MediaItem>();
  first->slices = {slice(6, 9), slice(8, 7)};
  first->groups = {{{{6, 9}}, {}}, {{{8, 7}}, {}}};
  first->spans = {10, 30};
  first->span_rows = {16, 16};
  auto second = std::make_shared<MediaItem>();
  second->slices = {slice(5, 5), slice(5, 5)};
  second->groups = {{{{5, 5}, {5, 5}}, {3, 7}}};  // a pack of two frames
  second->spans = {70};
  second->span_rows = {16};
  sequence.media = {first, second};
  sequence.media_rows.resize(2);
  return sequence;
}

}  // namespace minicpm::testing

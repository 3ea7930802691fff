// Produces tokens for one prompt: the engine loop's steps with sampling or beam search on top.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "engine/chat.h"
#include "engine/runner.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"

namespace minicpm {

/// Called for each generated id that is no stop id; true ends the answer.
using OnToken = std::function<bool(int32_t)>;

class Generator {
 public:
  Generator(Scheduler& scheduler, Runner& runner, int64_t vocab_size, std::vector<int32_t> stop_ids)
      : scheduler_(&scheduler), runner_(&runner), vocab_size_(vocab_size), stop_ids_(std::move(stop_ids)) {}

  /// One step of the loop: schedule, run, commit.
  std::vector<StepLogits> step();

  /// Steps until all tokens of `sequence` (which is in the scheduler) are in the cache. Its last logits, valid until
  /// the next step, or nothing if cancelled.
  std::optional<std::span<float>> prefill(Sequence& sequence, const std::atomic<bool>* cancel = nullptr);

  /// Samples, or takes the best, until a stop id, params.max_tokens, or on_token says so. New ids are appended to the
  /// sequence.
  FinishReason sample(Sequence& sequence, std::span<float> logits, const SamplingParams& params,
                      const OnToken& on_token, const std::atomic<bool>* cancel = nullptr);

  /// Beam search from a prefilled prompt that is not in the scheduler; the winner's ids go to on_token at the end.
  FinishReason beam_search(const Sequence& prompt, std::span<float> logits, const SamplingParams& params,
                           const OnToken& on_token, const std::atomic<bool>* cancel = nullptr);

 private:
  Scheduler* scheduler_;
  Runner* runner_;
  int64_t vocab_size_;
  std::vector<int32_t> stop_ids_;
};

/// How many tokens each beam can grow in the blocks that a prompt leaves free.
int64_t beam_room(const BlockPool& pool, int64_t prompt_tokens, int64_t num_beams);

}  // namespace minicpm

// Runs the sequences of many callers in common steps. It has no thread of its own: a caller that waits for tokens while
// no step is under way makes the next one for everybody, so that a single caller pays for no hand-over.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/drafter.h"
#include "engine/generator.h"

namespace minicpm {

/// State behind the last token of a prompt.
struct PromptState {
  std::vector<float> logits;  // [vocab]
  std::vector<float> hidden;  // [hidden]
};

/// Guesses for a caller who is alone; with others about, their rows fill the steps.
struct Drafting {
  Drafter* drafter = nullptr;  // null: none
  int64_t most = 0;            // guesses of a step
  /// Guesses do not lead across this position, from which on the model rotates keys differently.
  int64_t border = std::numeric_limits<int64_t>::max();
};

/// Functions may be called by several threads at once, each with its own sequence. The scheduler and the runner belong
/// to the loop: others touch them inside exclusively() only.
class StepLoop {
 public:
  StepLoop(Scheduler& scheduler, Runner& runner, std::vector<int32_t> stop_ids, Drafting drafting = {});

  /// What becomes of a sequence when its caller has what was wanted, however that ends: it stays with the caller, who
  /// gives it back one day; or what it computed is kept for prompts with the same beginning; or its blocks are freed.
  /// Blocks that stay with a caller are lost to the others, who fail where they do not suffice; none stay with one who
  /// failed.
  enum class After { kStay, kKeep, kRelease };

  /// Computes what is pending of `sequence`. Nothing if cancelled.
  std::optional<PromptState> prefill(Sequence& sequence, const std::atomic<bool>* cancel = nullptr,
                                     After after = After::kStay);

  struct Callbacks {
    std::function<bool(const SampledToken&)> on_token;  // each token that is no stop id; true ends the answer
    std::function<void()> on_begin;                     // the prompt is computed; may be empty
  };
  /// The same, then samples up to params.max_tokens tokens, which are appended to the sequence. Callbacks come on this
  /// thread. With other callers about, or with drafts, a few tokens more than on_token saw may have been appended at
  /// the end. `constraint` belongs to this answer alone.
  FinishReason generate(Sequence& sequence, const SamplingParams& params, const Callbacks& callbacks,
                        const std::atomic<bool>* cancel = nullptr,
                        std::shared_ptr<TokenConstraint> constraint = nullptr, After after = After::kStay);

  /// Takes a sequence over that had stayed with its caller.
  void give_back(Sequence&& sequence, After after);

  /// Runs `work` between two steps.
  void exclusively(const std::function<void()>& work);

  EngineStats stats() const;

 private:
  struct Job;
  class InVain;

  void run(Job& job, const Callbacks& callbacks);
  bool deliver(Job& job, std::unique_lock<std::mutex>& lock, const Callbacks& callbacks);
  void leave(Job& job, std::unique_lock<std::mutex>& lock);
  void step(std::unique_lock<std::mutex>& lock);
  int64_t compute(const std::vector<Job*>& jobs);
  bool is_stop(int32_t id) const;
  void draft(const std::vector<Job*>& jobs) const;
  void sample(Job& job, std::span<const StepLogits> rows) const;
  void publish(Job& job);
  void withdraw(Job& job);
  void take(Sequence& sequence, After after);
  void take_returned();
  void pass_turn();
  void refresh_stats();

  Scheduler* scheduler_;
  Runner* runner_;
  std::vector<int32_t> stop_ids_;
  Drafting drafting_;

  /// Guards all below. Scheduler, runner and the sequences in the scheduler belong to whoever has the turn.
  mutable std::mutex mutex_;
  bool turn_taken_ = false;
  int exclusive_waiting_ = 0;
  std::condition_variable turn_free_;
  std::vector<Job*> jobs_;  // in order of arrival
  struct Returned {
    Sequence sequence;
    After after;
  };
  std::vector<Returned> returned_;
  EngineStats stats_;  // as of the last step
};

}  // namespace minicpm

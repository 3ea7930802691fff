#include "engine/generator.h"

#include <algorithm>

namespace minicpm {
namespace {

bool is_set(const std::atomic<bool>* cancel) {
  return cancel != nullptr && cancel->load();
}

/// Sequences that give their blocks back whatever happens.
class Beams {
 public:
  Beams(Scheduler& scheduler, int count) : scheduler_(&scheduler), sequences_(count) {}
  ~Beams() { clear(); }
  Beams(const Beams&) = delete;
  Beams& operator=(const Beams&) = delete;

  Sequence& operator[](size_t i) { return sequences_[i]; }
  Sequence* begin() { return sequences_.data(); }
  Sequence* end() { return sequences_.data() + sequences_.size(); }
  void replace(std::vector<Sequence> next) {
    clear();
    sequences_ = std::move(next);
  }

 private:
  void clear() {
    for (Sequence& sequence : sequences_)
      scheduler_->remove(sequence);
  }
  Scheduler* scheduler_;
  std::vector<Sequence> sequences_;
};

}  // namespace

std::vector<StepLogits> Generator::step() {
  const StepPlan plan = scheduler_->next();
  auto logits = runner_->run(plan);
  scheduler_->commit(plan);
  return logits;
}

std::optional<std::span<float>> Generator::prefill(Sequence& sequence, const std::atomic<bool>* cancel) {
  for (;;) {
    if (is_set(cancel)) return std::nullopt;
    const auto logits = step();
    if (sequence.pending() == 0) return logits.back().logits;
  }
}

FinishReason Generator::sample(Sequence& sequence, std::span<float> logits, const SamplingParams& params,
                               const OnToken& on_token, const std::atomic<bool>* cancel) {
  Sampler sampler(params, stop_ids_);
  for (int made = 1; made <= params.max_tokens; ++made) {
    const auto history = std::span(sequence.tokens).subspan(static_cast<size_t>(sequence.prompt_tokens));
    const int32_t id = sampler.sample(logits, history);
    if (std::ranges::find(stop_ids_, id) != stop_ids_.end()) return FinishReason::kStop;
    sequence.tokens.push_back(id);
    if (on_token(id)) return FinishReason::kStop;
    if (made == params.max_tokens) break;
    if (is_set(cancel)) return FinishReason::kCancelled;
    logits = step().front().logits;
  }
  return FinishReason::kLength;
}

FinishReason Generator::beam_search(const Sequence& prompt, std::span<float> logits, const SamplingParams& params,
                                    const OnToken& on_token, const std::atomic<bool>* cancel) {
  BeamSearch search(params, stop_ids_);
  Beams beams(*scheduler_, params.num_beams);
  BeamSearch::Step chosen = search.step(logits, vocab_size_);
  for (Sequence& beam : beams)
    scheduler_->fork(prompt, beam);
  std::vector<float> rows(static_cast<size_t>(params.num_beams * vocab_size_));
  while (!search.done()) {
    if (is_set(cancel)) return FinishReason::kCancelled;
    for (int b = 0; b < params.num_beams; ++b) {
      beams[b].tokens.push_back(chosen.tokens[b]);
      scheduler_->add(beams[b]);
    }
    for (const StepLogits& row : step()) {
      std::ranges::copy(row.logits, rows.begin() + (row.sequence - beams.begin()) * vocab_size_);
    }
    for (Sequence& beam : beams)
      scheduler_->detach(beam);
    chosen = search.step(rows, vocab_size_);
    std::vector<Sequence> next(params.num_beams);
    for (int b = 0; b < params.num_beams; ++b)
      scheduler_->fork(beams[chosen.parents[b]], next[b]);
    beams.replace(std::move(next));
  }
  const BeamSearch::Result best = search.result();
  for (int32_t id : best.tokens) {
    if (on_token(id)) return FinishReason::kStop;
  }
  return best.stopped ? FinishReason::kStop : FinishReason::kLength;
}

int64_t beam_room(const BlockPool& pool, int64_t prompt_tokens, int64_t num_beams) {
  // The prompt's full blocks are shared; each beam owns the rest, and one block more is in use while one is copied.
  const int64_t own_blocks = (pool.num_blocks() - prompt_tokens / kBlockTokens - 1) / num_beams;
  return own_blocks * kBlockTokens - prompt_tokens % kBlockTokens;
}

}  // namespace minicpm

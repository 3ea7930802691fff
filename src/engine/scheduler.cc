#include "engine/scheduler.h"

#include <algorithm>

namespace minicpm {

void Scheduler::detach(Sequence& sequence) {
  std::erase(running_, &sequence);
}

void Scheduler::remove(Sequence& sequence) {
  detach(sequence);
  release(sequence);
}

void Scheduler::release(Sequence& sequence) {
  for (int32_t block : sequence.blocks)
    cache_->pool().release(block);
  sequence.blocks.clear();
  sequence.computed = 0;
}

void Scheduler::truncate(Sequence& sequence, int64_t tokens) {
  const auto keep = static_cast<size_t>((tokens + kBlockTokens - 1) / kBlockTokens);
  while (sequence.blocks.size() > keep) {
    cache_->pool().release(sequence.blocks.back());
    sequence.blocks.pop_back();
  }
  sequence.computed = std::min(sequence.computed, tokens);
}

void Scheduler::fork(const Sequence& parent, Sequence& child) {
  child = parent;
  for (int32_t block : child.blocks)
    cache_->pool().retain(block);
}

// Makes sure that tokens [computed, tokens) have blocks that belong to this sequence alone.
void Scheduler::reserve(Sequence& sequence, int64_t tokens) {
  const auto take = [&] {
    const int32_t block = cache_->pool().allocate();
    if (block < 0) {
      fail(ErrorCode::kOutOfMemory, "the context of {} tokens is full; start with a larger one (-c)",
           cache_->pool().num_blocks() * kBlockTokens);
    }
    return block;
  };
  const auto first_written = static_cast<size_t>(sequence.computed / kBlockTokens);
  for (size_t i = first_written; i < sequence.blocks.size(); ++i) {
    const int32_t shared = sequence.blocks[i];
    if (cache_->pool().references(shared) == 1) continue;
    const int32_t own = take();
    cache_->copy_block(shared, own);
    cache_->pool().release(shared);
    sequence.blocks[i] = own;
  }
  const auto needed = static_cast<size_t>((tokens + kBlockTokens - 1) / kBlockTokens);
  while (sequence.blocks.size() < needed)
    sequence.blocks.push_back(take());
}

StepPlan Scheduler::next() {
  StepPlan plan;
  int64_t budget = chunk_;
  for (Sequence* sequence : running_) {
    if (sequence->pending() != 1 || sequence->computed == 0) continue;
    plan.items.push_back({sequence, sequence->computed, 1, true});
    --budget;
  }
  for (Sequence* sequence : running_) {
    const bool decoding = sequence->pending() == 1 && sequence->computed > 0;
    if (decoding || sequence->pending() == 0) continue;
    const int64_t count = std::min(std::max<int64_t>(budget, 1), sequence->pending());
    const int64_t end = sequence->computed + count;
    for (size_t m = 0; m < sequence->media.size(); ++m) {
      // Encoded when the chunk first reaches it; what lies behind waits, so that memory stays bounded.
      if (sequence->media_rows[m] == nullptr && sequence->media[m]->spans.front() < end) {
        plan.encode.push_back({sequence, m});
      }
    }
    plan.items.push_back({sequence, sequence->computed, count, count == sequence->pending()});
    break;
  }
  for (const WorkItem& item : plan.items)
    reserve(*item.sequence, item.first + item.count);
  return plan;
}

void Scheduler::commit(const StepPlan& plan) {
  for (const WorkItem& item : plan.items)
    item.sequence->computed = item.first + item.count;
}

}  // namespace minicpm

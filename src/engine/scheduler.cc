#include "engine/scheduler.h"

#include <algorithm>

#include "base/error.h"

namespace minicpm {
namespace {

/// More kept sequences than this are not worth the comparisons.
constexpr size_t kMostKept = 256;
/// Rows of prompts in a step while others write, who wait for it between two tokens. On CPUs prompts are read as fast
/// in pieces of 64 as of 512 rows.
constexpr int64_t kRowsBesideWriting = 128;

int64_t blocks_for(int64_t tokens) {
  return (tokens + kBlockTokens - 1) / kBlockTokens;
}

bool is_decoding(const Sequence& sequence) {
  return sequence.pending() == 1 && sequence.computed > 0;
}

/// Tokens in the cache behind the next step of a decoding sequence.
int64_t end_of_step(const Sequence& sequence) {
  return static_cast<int64_t>(sequence.tokens.size() + sequence.guesses.size());
}

/// Tokens at the beginning of both that mean the same: equal ids, and equal media wherever one of them has some.
int64_t common_beginning(const Sequence& a, const Sequence& b) {
  if (a.scope != b.scope) return 0;
  const auto differ = std::mismatch(a.tokens.begin(), a.tokens.end(), b.tokens.begin(), b.tokens.end());
  int64_t common = differ.first - a.tokens.begin();
  for (size_t m = 0; m < std::max(a.media.size(), b.media.size()); ++m) {
    const int64_t first =
        std::min(m < a.media.size() ? a.media[m]->first() : common, m < b.media.size() ? b.media[m]->first() : common);
    if (first >= common) break;
    const bool both = m < a.media_digests.size() && m < b.media_digests.size();
    if (!both || a.media_digests[m] != b.media_digests[m] || a.media[m]->spans != b.media[m]->spans) return first;
  }
  return common;
}

}  // namespace

Scheduler::~Scheduler() {
  forget();
}

void Scheduler::add(Sequence& sequence) {
  for (const auto& media : sequence.media)
    MINICPM_CHECK(!media->spans.empty() && media->span_rows.size() == media->spans.size());
  MINICPM_CHECK(sequence.media_rows.size() == sequence.media.size());
  const auto lower = std::ranges::find_if(running_, [&](const Sequence* s) { return s->priority < sequence.priority; });
  running_.insert(lower, &sequence);
}

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
  const auto keep = static_cast<size_t>(blocks_for(tokens));
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

// ---- kept sequences ------------------------------------------------------------------------------------------------

void Scheduler::keep(Sequence& sequence) {
  detach(sequence);
  truncate(sequence, sequence.computed);  // a last block that was reserved but not written
  if (sequence.computed == 0 || sequence.media_digests.size() != sequence.media.size()) return release(sequence);
  sequence.tokens.resize(static_cast<size_t>(sequence.computed));
  while (!sequence.media.empty() && sequence.media.back()->first() >= sequence.computed) {
    sequence.media.pop_back();
    sequence.media_digests.pop_back();
  }
  sequence.media_rows.clear();
  sequence.encoding = {};
  for (auto& media : sequence.media) {
    auto places = std::make_shared<MediaItem>();
    places->spans = media->spans;
    places->span_rows = media->span_rows;
    media = std::move(places);
  }
  // What was the beginning of this one need not be kept beside it.
  std::erase_if(kept_, [&](Sequence& other) {
    if (common_beginning(other, sequence) < static_cast<int64_t>(other.tokens.size())) return false;
    release(other);
    return true;
  });
  kept_.push_front(std::move(sequence));
  sequence = Sequence{};
  if (kept_.size() > kMostKept) evict();
}

void Scheduler::forget() {
  while (evict()) {
  }
}

bool Scheduler::evict() {
  if (kept_.empty()) return false;
  release(kept_.back());
  kept_.pop_back();
  return true;
}

const Sequence* Scheduler::find_kept(const std::string& scope, const Sequence* prompt) const {
  const Sequence* best = nullptr;
  for (const Sequence& kept : kept_) {  // the most recently used first
    if (kept.scope != scope) continue;
    if (prompt == nullptr) return &kept;
    if (common_beginning(kept, *prompt) < static_cast<int64_t>(prompt->tokens.size())) continue;
    if (best == nullptr || kept.computed > best->computed) best = &kept;
  }
  return best;
}

bool Scheduler::reserve_unused(Sequence& sequence, int64_t tokens) {
  const int64_t needed = blocks_for(tokens);
  if (needed > cache_->pool().num_blocks()) return false;  // nobody loses anything for it
  while (cache_->pool().free_blocks() < needed) {
    if (!evict()) return false;
  }
  reserve(sequence, tokens);
  return true;
}

// Begins with the blocks of the sequence, kept or running, that shares the longest beginning.
void Scheduler::reuse(Sequence& sequence) {
  const auto last = static_cast<int64_t>(sequence.tokens.size()) - 1;  // one row must give logits
  const Sequence* best = nullptr;
  int64_t longest = 0;
  const auto consider = [&](const Sequence& other) {
    const int64_t common = std::min({common_beginning(other, sequence), other.computed, last});
    if (common > longest) {
      best = &other;
      longest = common;
    }
  };
  for (const Sequence* other : running_) {
    if (other != &sequence && other->media_digests.size() == other->media.size()) consider(*other);
  }
  auto from_kept = kept_.end();
  for (auto it = kept_.begin(); it != kept_.end(); ++it) {
    consider(*it);
    if (best == &*it) from_kept = it;
  }
  if (best == nullptr) return;
  for (int64_t i = 0; i < blocks_for(longest); ++i) {
    cache_->pool().retain(best->blocks[i]);
    sequence.blocks.push_back(best->blocks[i]);
  }
  sequence.computed = sequence.reused = longest;
  reused_tokens_ += longest;
  if (from_kept == kept_.end() || best != &*from_kept) return;
  if (longest >= best->computed) {  // this one will hold all of it
    release(*from_kept);
    kept_.erase(from_kept);
  } else {
    kept_.splice(kept_.begin(), kept_, from_kept);
  }
}

// ---- blocks --------------------------------------------------------------------------------------------------------

// New blocks that tokens [computed, tokens) need: those missing, and copies of those that others see, too.
int64_t Scheduler::blocks_to_write(const Sequence& sequence, int64_t tokens) const {
  const auto held = static_cast<int64_t>(sequence.blocks.size());
  int64_t count = std::max<int64_t>(0, blocks_for(tokens) - held);
  for (int64_t i = sequence.computed / kBlockTokens; i < held; ++i)
    count += cache_->pool().references(sequence.blocks[i]) > 1;
  return count;
}

// The youngest that holds blocks gives them back and is computed again later.
bool Scheduler::preempt_other_than(const Sequence* sequence) {
  const auto youngest = std::find_if(running_.rbegin(), running_.rend(),
                                     [&](const Sequence* s) { return s != sequence && !s->blocks.empty(); });
  if (youngest == running_.rend()) return false;
  release(**youngest);
  ++preempted_;
  return true;
}

// Nobody loses what is known for the sake of a guess.
bool Scheduler::drop_guesses() {
  bool any = false;
  for (Sequence* sequence : running_) {
    any = any || !sequence->guesses.empty();
    sequence->guesses.clear();
  }
  return any;
}

void Scheduler::make_room(int64_t blocks) {
  while (cache_->pool().free_blocks() < blocks) {
    if (!evict() && !preempt_other_than(nullptr)) return;
  }
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
  const auto needed = static_cast<size_t>(blocks_for(tokens));
  while (sequence.blocks.size() < needed)
    sequence.blocks.push_back(take());
}

// ---- steps ---------------------------------------------------------------------------------------------------------

// The first prompt that lacks blocks gets those of sequences with a lower priority, the last ones first.
void Scheduler::make_way() {
  const auto waits = [](const Sequence* s) { return s->pending() > 0 && !is_decoding(*s); };
  const auto first = std::ranges::find_if(running_, waits);
  if (first == running_.end()) return;
  const Sequence& sequence = **first;
  const auto tokens = static_cast<int64_t>(sequence.tokens.size());
  const auto lacks = [&] {
    const int64_t missing = blocks_to_write(sequence, tokens);
    return missing > 0 && missing + 1 > cache_->pool().free_blocks();  // one to spare, as in grow()
  };
  while (lacks()) {
    const auto lowest = std::find_if(running_.rbegin(), running_.rend(), [&](const Sequence* s) {
      return s->priority < sequence.priority && !s->blocks.empty();
    });
    if (lowest == running_.rend()) return;
    if (evict()) continue;
    release(**lowest);
    ++preempted_;
  }
}

void Scheduler::plan_decoding(StepPlan& plan) {
  // Whoever must give way does so before the plan is made.
  for (;;) {
    int64_t needed = 0;
    const Sequence* oldest = nullptr;
    for (const Sequence* sequence : running_) {
      if (!is_decoding(*sequence)) continue;
      if (oldest == nullptr) oldest = sequence;
      needed += blocks_to_write(*sequence, end_of_step(*sequence));
    }
    if (needed <= cache_->pool().free_blocks()) break;
    if (!evict() && !drop_guesses() && !preempt_other_than(oldest)) break;
  }
  for (Sequence* sequence : running_) {
    if (!is_decoding(*sequence)) continue;
    const int64_t end = end_of_step(*sequence), rows = end - sequence->computed;
    reserve(*sequence, end);
    plan.items.push_back({sequence, sequence->computed, rows, rows});
  }
}

// Gives a sequence that has nothing yet what others computed, and blocks for all its tokens; false if it must wait.
bool Scheduler::begin(Sequence& sequence, const StepPlan& plan) {
  // What a prompt of this very step computes can be shared in the next one.
  const bool sharing = std::ranges::any_of(plan.items, [&](const WorkItem& item) {
    return std::min(common_beginning(*item.sequence, sequence), item.first + item.count) > item.first + kBlockTokens;
  });
  if (sharing) return false;
  reuse(sequence);
  if (grow(sequence, plan)) return true;
  release(sequence);
  return false;
}

// Blocks for all tokens of a sequence that is not decoding; false if it must wait for those that run.
bool Scheduler::grow(Sequence& sequence, const StepPlan& plan) {
  const auto tokens = static_cast<int64_t>(sequence.tokens.size());
  const auto holds_blocks = [&](const Sequence* s) { return s != &sequence && !s->blocks.empty(); };
  // One to spare, so that the others' next tokens do not drive it out at once.
  const int64_t spare = std::ranges::any_of(running_, holds_blocks) ? 1 : 0;
  const auto missing = [&] { return blocks_to_write(sequence, tokens) + spare > cache_->pool().free_blocks(); };
  while (missing() && evict()) {
  }
  if (missing() && !plan.items.empty()) return false;
  while (missing() && preempt_other_than(&sequence)) {
  }
  reserve(sequence, tokens);
  return true;
}

// Has media encoded that rows [computed, end) show; what lies behind waits, so that memory stays bounded. Returns where
// the rows that can be computed in this step end.
int64_t Scheduler::plan_media(StepPlan& plan, Sequence& sequence, int64_t end) {
  const bool others = running_.size() > 1;
  for (size_t m = 0; m < sequence.media.size(); ++m) {
    const MediaItem& media = *sequence.media[m];
    if (sequence.media_rows[m] != nullptr || media.end() <= sequence.computed) continue;
    if (media.first() >= end) break;
    if (others && !plan.encode.empty()) return media.first();
    // Others wait for one slice at most.
    const int64_t done = sequence.encoding.media == m ? sequence.encoding.groups : 0;
    const int64_t left = static_cast<int64_t>(media.groups.size()) - done;
    const int64_t groups = others ? std::min<int64_t>(left, 1) : left;
    plan.encode.push_back({&sequence, m, groups});
    if (groups < left) return media.first();
  }
  return end;
}

void Scheduler::plan_prompts(StepPlan& plan) {
  int64_t budget = std::max<int64_t>(chunk_ - static_cast<int64_t>(plan.items.size()), 1);
  if (!plan.items.empty()) budget = std::min(budget, kRowsBesideWriting);
  for (Sequence* sequence : running_) {
    if (sequence->pending() == 0 || is_decoding(*sequence)) continue;
    // In order: whoever came later does not overtake.
    if (!(sequence->blocks.empty() ? begin(*sequence, plan) : grow(*sequence, plan))) break;
    const int64_t wanted = sequence->computed + std::min(budget, sequence->pending());
    const int64_t end = plan_media(plan, *sequence, wanted);
    if (end <= sequence->computed) break;
    const bool last = end == static_cast<int64_t>(sequence->tokens.size());
    plan.items.push_back({sequence, sequence->computed, end - sequence->computed, last ? 1 : 0});
    budget -= end - sequence->computed;
    if (budget <= 0 || end < wanted) break;
  }
}

StepPlan Scheduler::next() {
  StepPlan plan;
  make_way();
  plan_decoding(plan);
  plan_prompts(plan);
  return plan;
}

void Scheduler::commit(const StepPlan& plan) {
  for (const WorkItem& item : plan.items) {
    const auto tokens = static_cast<int64_t>(item.sequence->tokens.size());
    item.sequence->computed = std::min(item.first + item.count, tokens);
  }
}

SchedulerStats Scheduler::stats() const {
  return {static_cast<int64_t>(running_.size()), static_cast<int64_t>(kept_.size()), reused_tokens_, preempted_,
          cache_->pool().free_blocks(),          cache_->pool().num_blocks()};
}

}  // namespace minicpm

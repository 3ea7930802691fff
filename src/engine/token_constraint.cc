#include "engine/token_constraint.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "base/error.h"

namespace minicpm {
namespace {

/// A mask has a bit for each id of the vocabulary, some 19 KB.
constexpr size_t kMostMasks = 256;

}  // namespace

VocabularyTree::VocabularyTree(const Tokenizer& tokenizer) : vocab_size_(tokenizer.vocab_size()) {
  bytes_.resize(static_cast<size_t>(vocab_size_));
  std::vector<bool> added(static_cast<size_t>(vocab_size_), false);
  for (const AddedToken& token : tokenizer.added_tokens()) {
    if (token.id >= 0 && token.id < vocab_size_) added[static_cast<size_t>(token.id)] = true;
  }
  for (int32_t id = 0; id < vocab_size_; ++id) {
    if (added[static_cast<size_t>(id)] || tokenizer.is_special(id)) continue;
    bytes_[static_cast<size_t>(id)] = tokenizer.token_bytes(id);
    if (!bytes_[static_cast<size_t>(id)].empty()) ids_.push_back(id);
  }
  std::ranges::stable_sort(ids_, {}, [&](int32_t id) -> const std::string& { return bytes_[static_cast<size_t>(id)]; });

  // Breadth first, so that siblings lie together. A part is the range of ids that begin with a node's bytes.
  struct Part {
    int32_t first, end;
    size_t depth;
  };
  std::vector<Part> parts = {{0, static_cast<int32_t>(ids_.size()), 0}};
  nodes_.push_back({});
  for (size_t n = 0; n < nodes_.size(); ++n) {
    auto [at, end, depth] = parts[n];
    const auto text = [&](int32_t i) -> const std::string& {
      return bytes_[static_cast<size_t>(ids_[static_cast<size_t>(i)])];
    };
    nodes_[n].first_id = at;
    while (at < end && text(at).size() == depth)
      ++at;
    nodes_[n].num_ids = at - nodes_[n].first_id;
    nodes_[n].first_child = static_cast<int32_t>(nodes_.size());
    while (at < end) {
      const char byte = text(at)[depth];
      const int32_t first = at;
      while (at < end && text(at)[depth] == byte)
        ++at;
      nodes_.push_back({static_cast<uint8_t>(byte), 0, 0, 0, 0});
      parts.push_back({first, at, depth + 1});
    }
    nodes_[n].num_children = static_cast<int32_t>(nodes_.size()) - nodes_[n].first_child;
  }
}

TokenConstraint::TokenConstraint(std::shared_ptr<const Grammar> grammar,
                                 std::shared_ptr<const VocabularyTree> vocabulary, ConstrainedPart part)
    : grammar_(std::move(grammar)),
      vocabulary_(std::move(vocabulary)),
      part_(std::move(part)),
      phase_(part_.reasoning_end ? Phase::kReasoning : first_phase()),
      matcher_(*grammar_),
      state_(matcher_.start()) {
  if (state_ == GrammarMatcher::kDead) fail(ErrorCode::kInvalidRequest, "the JSON schema allows no answer at all");
}

TokenConstraint::Phase TokenConstraint::first_phase() const {
  if (!part_.calls) return Phase::kGrammar;
  return part_.calls->only ? Phase::kBegin : Phase::kFree;
}

const TokenConstraint::Mask& TokenConstraint::mask() {
  if (const auto known = masks_.find(state_); known != masks_.end()) return known->second;
  if (masks_.size() >= kMostMasks) masks_.clear();
  Mask& mask = masks_[state_];
  mask.assign(static_cast<size_t>(vocabulary_->vocab_size()), false);
  std::vector<std::pair<const VocabularyTree::Node*, GrammarMatcher::State>> pending = {{&vocabulary_->root(), state_}};
  while (!pending.empty()) {
    const auto [node, state] = pending.back();
    pending.pop_back();
    for (const int32_t id : vocabulary_->ids(*node))
      mask[static_cast<size_t>(id)] = true;
    for (const VocabularyTree::Node& child : vocabulary_->children(*node)) {
      const GrammarMatcher::State next = matcher_.next(state, child.byte);
      if (next != GrammarMatcher::kDead) pending.emplace_back(&child, next);
    }
  }
  const auto allow = [&](int32_t id) {
    if (id >= 0 && id < vocabulary_->vocab_size()) mask[static_cast<size_t>(id)] = true;
  };
  if (!matcher_.accepts(state_)) return mask;
  if (part_.calls) {
    allow(part_.calls->end);
  } else {
    std::ranges::for_each(part_.stop_ids, allow);
  }
  return mask;
}

TokenConstraint::Phase TokenConstraint::behind_call() const {
  if (part_.calls->once) return Phase::kOver;
  return part_.calls->only ? Phase::kNext : Phase::kFree;
}

/// In kBegin, kNext and kOver.
bool TokenConstraint::allowed_between(int32_t id) const {
  if (phase_ != Phase::kOver && id == part_.calls->begin) return true;
  if (phase_ == Phase::kBegin) return false;
  if (std::ranges::find(part_.stop_ids, id) != part_.stop_ids.end()) return true;
  return phase_ == Phase::kNext && id < vocabulary_->vocab_size() && vocabulary_->bytes(id) == "\n";
}

void TokenConstraint::apply(std::span<float> logits) {
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  if (phase_ == Phase::kBegin || phase_ == Phase::kNext || phase_ == Phase::kOver) {
    for (size_t id = 0; id < logits.size(); ++id) {
      if (!allowed_between(static_cast<int32_t>(id))) logits[id] = kNever;
    }
    return;
  }
  if (phase_ != Phase::kGrammar || state_ == GrammarMatcher::kDead) return;
  const Mask& allowed = mask();
  for (size_t id = 0; id < logits.size(); ++id) {
    if (id >= allowed.size() || !allowed[id]) logits[id] = kNever;
  }
}

void TokenConstraint::accept(int32_t id) {
  switch (phase_) {
    case Phase::kReasoning:
      if (id == part_.reasoning_end) phase_ = first_phase();
      return;
    case Phase::kFree:
    case Phase::kBegin:
    case Phase::kNext:
      if (id != part_.calls->begin) {
        if (phase_ == Phase::kNext) phase_ = Phase::kBegin;
        return;
      }
      phase_ = Phase::kGrammar;
      state_ = matcher_.start();
      return;
    case Phase::kGrammar:
      if (part_.calls && id == part_.calls->end) {
        phase_ = behind_call();
      } else if (id >= 0 && id < vocabulary_->vocab_size()) {
        state_ = matcher_.next(state_, vocabulary_->bytes(id));
      }
      return;
    case Phase::kOver:
      return;
  }
}

}  // namespace minicpm

// The greedy merging that both kinds of vocabulary share: again and again the best adjacent pair becomes one symbol.
#pragma once

#include <cstdint>
#include <optional>
#include <queue>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace minicpm {

/// What an adjacent pair would become. Lower priority values merge first; equal ones from left to right.
struct MergeCandidate {
  uint32_t priority;
  int32_t id;
};

/// A symbol of a word: bytes [begin, begin + length) of it. `frozen` symbols never merge.
struct MergeSymbol {
  int32_t id;
  uint32_t begin;
  uint32_t length;
  bool frozen = false;
};

/// Merges until no pair is left. `lookup(left, right)` returns std::optional<MergeCandidate>. O(n log n) for n symbols,
/// quadratic (but faster) for short words.
template <typename Lookup>
void merge_symbols(std::vector<MergeSymbol>& symbols, const Lookup& lookup) {
  constexpr size_t kShortWord = 32;
  if (symbols.size() < 2) return;
  if (symbols.size() <= kShortWord) {
    merge_short(symbols, lookup);
  } else {
    merge_long(symbols, lookup);
  }
}

template <typename Lookup>
std::optional<MergeCandidate> merge_candidate(const MergeSymbol& left, const MergeSymbol& right, const Lookup& lookup) {
  if (left.frozen || right.frozen) return std::nullopt;
  return lookup(left, right);
}

/// Keeps the candidate of every adjacent pair and scans them all for the best.
template <typename Lookup>
void merge_short(std::vector<MergeSymbol>& symbols, const Lookup& lookup) {
  std::vector<std::optional<MergeCandidate>> pairs;  // [i]: symbols i and i + 1
  pairs.reserve(symbols.size());
  for (size_t i = 0; i + 1 < symbols.size(); ++i)
    pairs.push_back(merge_candidate(symbols[i], symbols[i + 1], lookup));
  for (;;) {
    size_t best = pairs.size();
    for (size_t i = 0; i < pairs.size(); ++i) {
      if (pairs[i] && (best == pairs.size() || pairs[i]->priority < pairs[best]->priority)) best = i;
    }
    if (best == pairs.size()) return;
    symbols[best].id = pairs[best]->id;
    symbols[best].length += symbols[best + 1].length;
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(best) + 1);
    pairs.erase(pairs.begin() + static_cast<ptrdiff_t>(best));
    if (best > 0) pairs[best - 1] = merge_candidate(symbols[best - 1], symbols[best], lookup);
    if (best < pairs.size()) pairs[best] = merge_candidate(symbols[best], symbols[best + 1], lookup);
  }
}

/// A linked list of symbols and a heap of candidate pairs. Candidates whose symbols have changed since are skipped.
template <typename Lookup>
void merge_long(std::vector<MergeSymbol>& symbols, const Lookup& lookup) {
  constexpr uint32_t kNone = UINT32_MAX;
  MINICPM_CHECK(symbols.size() < kNone);
  const auto count = static_cast<uint32_t>(symbols.size());
  struct Link {
    uint32_t previous, next;
  };
  struct Candidate {
    uint32_t priority, left, right;
    uint32_t length;  // of both symbols when the pair was seen
    int32_t id;
    bool operator<(const Candidate& other) const {  // the heap yields its largest element first
      return priority != other.priority ? priority > other.priority : left > other.left;
    }
  };
  std::vector<Link> links(count);
  std::vector<Candidate> found;
  found.reserve(count);
  const auto candidate = [&](uint32_t left, uint32_t right) -> std::optional<Candidate> {
    const auto merge = merge_candidate(symbols[left], symbols[right], lookup);
    if (!merge) return std::nullopt;
    return Candidate{merge->priority, left, right, symbols[left].length + symbols[right].length, merge->id};
  };
  for (uint32_t i = 0; i < count; ++i) {
    links[i] = {i == 0 ? kNone : i - 1, i + 1 == count ? kNone : i + 1};
    if (i + 1 == count) break;
    if (const auto pair = candidate(i, i + 1)) found.push_back(*pair);
  }
  std::priority_queue<Candidate> heap({}, std::move(found));

  while (!heap.empty()) {
    const Candidate best = heap.top();
    heap.pop();
    MergeSymbol& left = symbols[best.left];
    MergeSymbol& right = symbols[best.right];
    // A symbol that was merged into its left neighbour has length 0; one that grew makes the lengths differ.
    if (left.length == 0 || right.length == 0 || left.length + right.length != best.length) continue;
    left.id = best.id;
    left.length = best.length;
    right.length = 0;
    const uint32_t next = links[best.right].next;
    links[best.left].next = next;
    if (next != kNone) {
      links[next].previous = best.left;
      if (const auto pair = candidate(best.left, next)) heap.push(*pair);
    }
    const uint32_t previous = links[best.left].previous;
    if (previous != kNone) {
      if (const auto pair = candidate(previous, best.left)) heap.push(*pair);
    }
  }
  std::erase_if(symbols, [](const MergeSymbol& symbol) { return symbol.length == 0; });
}

}  // namespace minicpm

// Decides what the next step computes. Pure bookkeeping over sequences and block numbers, testable without a model.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/kv_cache.h"
#include "media/log_mel.h"
#include "media/slicing.h"
#include "models/resampler.h"

namespace minicpm {

/// One picture or one pack of frames of a prompt, ready for the tower. Each group's query rows go to consecutive
/// positions of the prompt.
struct MediaItem {
  std::vector<Patches> slices;
  std::vector<ResamplerGroup> groups;  // in the order of the slices
  std::vector<int64_t> spans;          // first prompt position of each group
  /// Sound instead of pictures: pieces of at most 30 s, whose rows fill the spans one after another.
  std::vector<MelFrames> sounds;
  std::vector<int64_t> span_rows;  // positions of each span of sound; pictures have the resampler's queries in each

  bool is_sound() const { return !sounds.empty(); }
};

/// A prompt as the model takes it.
struct ModelInput {
  std::vector<int32_t> tokens;
  std::vector<std::shared_ptr<const MediaItem>> media;  // in prompt order
};

/// One stream of tokens with its place in the cache.
struct Sequence {
  std::vector<int32_t> tokens;  // prompt, then generated
  int64_t prompt_tokens = 0;
  int64_t computed = 0;  // tokens whose keys and values are in the cache
  std::vector<int32_t> blocks;
  std::vector<std::shared_ptr<const MediaItem>> media;
  /// Query rows of each media item once encoded, [groups * query_num, hidden]; shared with forks.
  std::vector<std::shared_ptr<const std::vector<float>>> media_rows;

  int64_t pending() const { return static_cast<int64_t>(tokens.size()) - computed; }
};

/// Rows [first, first + count) of a sequence; logits are wanted if they are its last.
struct WorkItem {
  Sequence* sequence;
  int64_t first;
  int64_t count;
  bool logits;
};

struct EncodeItem {
  Sequence* sequence;
  size_t media;
};

/// One step: media to encode first, then one flattened batch.
struct StepPlan {
  std::vector<EncodeItem> encode;
  std::vector<WorkItem> items;
  bool empty() const { return items.empty(); }
};

class Scheduler {
 public:
  /// `chunk`: rows of one step at most.
  Scheduler(KvCache& cache, int64_t chunk) : cache_(&cache), chunk_(chunk) {}

  /// Adds a sequence; it must outlive its membership.
  void add(Sequence& sequence) { running_.push_back(&sequence); }
  /// Takes it out and gives its blocks back.
  void remove(Sequence& sequence);
  /// Takes it out but leaves its blocks with it.
  void detach(Sequence& sequence);

  /// Decoding rows of all sequences, then one chunk of the oldest unfinished prompt, blocks allocated. Throws Error
  /// out_of_memory when no block is left.
  StepPlan next();
  /// Marks the plan's rows as computed.
  void commit(const StepPlan& plan);

  /// A new sequence that continues `parent`: full blocks are shared, written ones are copied when they diverge.
  void fork(const Sequence& parent, Sequence& child);
  /// Gives all blocks of a sequence back.
  void release(Sequence& sequence);
  /// Forgets what was computed after the first `tokens` tokens and gives the blocks behind them back.
  void truncate(Sequence& sequence, int64_t tokens);

 private:
  void reserve(Sequence& sequence, int64_t tokens);

  KvCache* cache_;
  int64_t chunk_;
  std::vector<Sequence*> running_;
};

}  // namespace minicpm

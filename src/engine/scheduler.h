// Decides what the next step computes. Pure bookkeeping over sequences and block numbers, testable without a model.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "base/siphash.h"
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
  std::vector<int64_t> span_rows;      // its positions: of a picture the resampler's queries
  /// Sound instead of pictures: pieces of at most 30 s, whose rows fill the spans one after another.
  std::vector<MelFrames> sounds;
  /// What the towers made of it, [positions, hidden], where that is known already. Nothing is encoded then; slices are
  /// left out and `sounds` are empty, so that such an item cannot be compared with others.
  std::shared_ptr<const std::vector<float>> rows;

  bool is_sound() const { return !sounds.empty(); }
  int64_t first() const { return spans.front(); }
  int64_t end() const { return spans.back() + span_rows.back(); }
};

/// A prompt as the model takes it.
struct ModelInput {
  std::vector<int32_t> tokens;
  std::vector<std::shared_ptr<const MediaItem>> media;  // in prompt order
};

/// What is known of a media item whose groups are encoded in several steps.
struct PartOfMedia {
  size_t media = 0;
  int64_t groups = 0;  // that are encoded
  std::vector<float> rows;
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
  PartOfMedia encoding;
  /// What each media item shows; empty where nothing is to be shared.
  std::vector<Digest128> media_digests;
  std::string scope;    // beginnings are shared between sequences of one scope
  int priority = 0;     // higher ones go first; see Scheduler
  int64_t reused = 0;   // tokens that were taken over from another sequence when this one was begun
  double media_ms = 0;  // spent on encoding its media
  /// Ids that may follow the tokens. The next step of a decoding sequence computes them, too, with logits of each;
  /// those that turn out right become tokens that are computed already.
  std::vector<int32_t> guesses;
  int64_t drafted = 0, accepted = 0;  // guesses that were checked, and those that were right

  int64_t pending() const { return static_cast<int64_t>(tokens.size()) - computed; }
};

/// Rows [first, first + count) of a sequence, whose guesses stand behind its tokens.
struct WorkItem {
  Sequence* sequence;
  int64_t first;
  int64_t count;
  int64_t logits;  // how many of the last of them give logits
};

/// The next `groups` groups of a media item, from sequence->encoding on; a sound is always encoded whole.
struct EncodeItem {
  Sequence* sequence;
  size_t media;
  int64_t groups;
};

/// One step: media to encode first, then one flattened batch.
struct StepPlan {
  std::vector<EncodeItem> encode;
  std::vector<WorkItem> items;
  bool empty() const { return items.empty(); }
};

struct SchedulerStats {
  int64_t running = 0, kept = 0;             // sequences
  int64_t reused_tokens = 0, preempted = 0;  // since the start
  int64_t free_blocks = 0, num_blocks = 0;
};

/// Blocks come from the pool, then from kept sequences, the least recently used first, and at last from the youngest
/// running sequence, which is computed again when there is room. Sequences of a lower priority come behind all of a
/// higher one, as if they had arrived later, and give up their blocks where those lack some.
class Scheduler {
 public:
  /// `chunk`: rows of one step at most.
  Scheduler(KvCache& cache, int64_t chunk) : cache_(&cache), chunk_(chunk) {}
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  /// Adds a sequence; it must outlive its membership.
  void add(Sequence& sequence);
  /// Takes it out and gives its blocks back.
  void remove(Sequence& sequence);
  /// Takes it out but leaves its blocks with it.
  void detach(Sequence& sequence);
  /// Takes it out and keeps what it computed for prompts with the same beginning, until the room is needed.
  void keep(Sequence& sequence);
  /// Gives the blocks of all kept sequences back.
  void forget();

  /// Decoding rows of all sequences, then chunks of prompts in their order, blocks allocated. While others decode, one
  /// group of a media item is encoded in a step. Throws Error out_of_memory when a sequence does not fit although it is
  /// alone.
  StepPlan next();
  /// Marks the plan's tokens as computed. Guesses are not: whoever finds one right appends it and counts it.
  void commit(const StepPlan& plan);

  /// A new sequence that continues `parent`: full blocks are shared, written ones are copied when they diverge.
  void fork(const Sequence& parent, Sequence& child);
  /// Gives all blocks of a sequence back.
  void release(Sequence& sequence);
  /// Forgets what was computed after the first `tokens` tokens and gives the blocks behind them back.
  void truncate(Sequence& sequence, int64_t tokens);
  /// Frees blocks until `blocks` are free, or nothing is left to take them from; running sequences lose theirs, too.
  void make_room(int64_t blocks);

  /// The kept sequence of that scope that was used last; with `prompt` the longest one that begins with all of it. Null
  /// where there is none.
  const Sequence* find_kept(const std::string& scope, const Sequence* prompt) const;
  /// Gives an empty sequence blocks for so many tokens, from those that are free or of kept sequences; false, and none,
  /// where they do not suffice.
  bool reserve_unused(Sequence& sequence, int64_t tokens);

  SchedulerStats stats() const;

 private:
  void make_way();
  void plan_decoding(StepPlan& plan);
  void plan_prompts(StepPlan& plan);
  bool begin(Sequence& sequence, const StepPlan& plan);
  bool grow(Sequence& sequence, const StepPlan& plan);
  int64_t plan_media(StepPlan& plan, Sequence& sequence, int64_t end);
  void reuse(Sequence& sequence);
  int64_t blocks_to_write(const Sequence& sequence, int64_t tokens) const;
  bool evict();
  bool drop_guesses();
  bool preempt_other_than(const Sequence* sequence);
  void reserve(Sequence& sequence, int64_t tokens);

  KvCache* cache_;
  int64_t chunk_;
  std::vector<Sequence*> running_;  // by priority, then in order of arrival
  std::list<Sequence> kept_;        // the most recently used first; without media but their places
  int64_t reused_tokens_ = 0, preempted_ = 0;
};

}  // namespace minicpm

// Carries a step plan out: encodes media, builds the flattened batch, runs the language model.
#pragma once

#include <span>
#include <vector>

#include "engine/kv_cache.h"
#include "engine/media_cache.h"
#include "engine/scheduler.h"
#include "models/loaded_model.h"

namespace minicpm {

/// Logits of one row that was to give them. Both are valid until the next run.
struct StepLogits {
  Sequence* sequence;
  std::span<float> logits;        // [vocab], may be changed
  std::span<const float> hidden;  // [hidden], the state they were made from, after the last norm
};

/// Towers and encoders run in bf16 in the official code; exact stays exact.
inline Precision choose_media_precision(Precision precision, Precision wanted = Precision::kHalf) {
  return precision == Precision::kExact ? precision : wanted;
}

struct RunnerOptions {
  Precision precision = Precision::kFast;
  Precision media_precision = Precision::kHalf;  // of towers and encoders, unless precision is exact
  int64_t media_cache_bytes = 0;
};

class Runner {
 public:
  Runner(const LoadedModel& model, Backend& backend, KvCache& cache, const RunnerOptions& options)
      : model_(&model),
        backend_(&backend),
        cache_(&cache),
        precision_(options.precision),
        media_precision_(choose_media_precision(options.precision, options.media_precision)),
        media_cache_(options.media_cache_bytes) {}

  /// Logits in the order of the plan's items, and of their rows. Throws Interrupted when `interrupt` wants it; nothing
  /// of the plan counts as computed then.
  std::vector<StepLogits> run(const StepPlan& plan, const Interrupt* interrupt = nullptr);

  void set_tracer(Tracer* tracer) { tracer_ = tracer; }
  /// All rows' logits instead of the wanted ones, for reference cases; see trace point "logits".
  void set_all_logits(bool all) { all_logits_ = all; }

  Precision media_precision() const { return media_precision_; }
  const MediaCache& media_cache() const { return media_cache_; }
  size_t peak_bytes() const { return arena_.peak_bytes(); }

 private:
  void encode(const EncodeItem& item, const Interrupt* interrupt);
  Tensor encode_pictures(Context& ctx, const MediaItem& media, int64_t first, int64_t count) const;
  Tensor encode_sound(Context& ctx, const MediaItem& media) const;
  Tensor inputs(Context& ctx, const StepPlan& plan);

  const LoadedModel* model_;
  Backend* backend_;
  KvCache* cache_;
  Precision precision_, media_precision_;
  Tracer* tracer_ = nullptr;
  bool all_logits_ = false;
  MediaCache media_cache_;
  Arena arena_;
  std::vector<float> logits_, hidden_;
};

}  // namespace minicpm

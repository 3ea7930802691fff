#include "engine/runner.h"

#include <algorithm>
#include <chrono>
#include <numeric>

namespace minicpm {
namespace {

/// What a Batch views, with the memory it needs.
struct BatchStorage {
  std::vector<int32_t> positions, block_table;
  std::vector<int64_t> row_starts{0}, kv_lengths, block_starts{0}, logit_rows;

  BatchStorage(const StepPlan& plan, bool all_logits) {
    for (const WorkItem& item : plan.items) {
      for (int64_t i = 0; i < item.count; ++i) {
        if (all_logits) logit_rows.push_back(static_cast<int64_t>(positions.size()));
        positions.push_back(static_cast<int32_t>(item.first + i));
      }
      const auto end = static_cast<int64_t>(positions.size());
      for (int64_t row = end - item.logits; !all_logits && row < end; ++row)
        logit_rows.push_back(row);
      row_starts.push_back(static_cast<int64_t>(positions.size()));
      kv_lengths.push_back(item.first + item.count);
      block_table.insert(block_table.end(), item.sequence->blocks.begin(), item.sequence->blocks.end());
      block_starts.push_back(static_cast<int64_t>(block_table.size()));
    }
  }

  Batch view() const { return {positions, row_starts, kv_lengths, block_table, block_starts, logit_rows}; }
};

}  // namespace

/// Groups [first, first + count).
Tensor Runner::encode_pictures(Context& ctx, const MediaItem& media, int64_t first, int64_t count) const {
  const auto slices_of = [](size_t slices, const ResamplerGroup& group) { return slices + group.slices.size(); };
  const auto begin = media.groups.begin() + first, end = begin + count;
  const size_t before = std::accumulate(media.groups.begin(), begin, size_t{0}, slices_of);
  const size_t wanted = std::accumulate(begin, end, size_t{0}, slices_of);
  std::vector<const Patches*> slices;
  for (const Patches& slice : std::span(media.slices).subspan(before, wanted))
    slices.push_back(&slice);
  return model_->encode(ctx, slices, std::span(begin, end));
}

Tensor Runner::encode_sound(Context& ctx, const MediaItem& media) const {
  std::vector<const MelFrames*> pieces;
  for (const MelFrames& piece : media.sounds)
    pieces.push_back(&piece);
  const Tensor rows = model_->audio().forward(ctx, pieces);
  // Several short sounds may give more rows together than they have places; the last ones are left out then.
  const int64_t places = std::accumulate(media.span_rows.begin(), media.span_rows.end(), int64_t{0});
  if (rows.dim(0) < places || media.span_rows.size() != media.spans.size()) {
    fail(ErrorCode::kInternal, "a sound gives {} rows for {} places in the prompt", rows.dim(0), places);
  }
  return rows;
}

void Runner::encode(const EncodeItem& item, const Interrupt* interrupt) {
  Sequence& sequence = *item.sequence;
  const bool shared = item.media < sequence.media_digests.size();
  PartOfMedia& part = sequence.encoding;
  if (part.media != item.media) part = {item.media, 0, {}};
  if (shared && part.groups == 0) {
    sequence.media_rows[item.media] = media_cache_.find(sequence.scope, sequence.media_digests[item.media]);
    if (sequence.media_rows[item.media] != nullptr) return;
  }
  const auto start = std::chrono::steady_clock::now();
  ArenaScope scratch(arena_);
  Context ctx{*backend_, arena_, media_precision_, tracer_, interrupt};
  const MediaItem& media = *sequence.media[item.media];
  const Tensor rows =
      media.is_sound() ? encode_sound(ctx, media) : encode_pictures(ctx, media, part.groups, item.groups);
  part.rows.insert(part.rows.end(), rows.f32(), rows.f32() + rows.numel());
  part.groups += item.groups;
  sequence.media_ms += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  if (!media.is_sound() && part.groups < static_cast<int64_t>(media.groups.size())) return;
  sequence.media_rows[item.media] = std::make_shared<const std::vector<float>>(std::move(part.rows));
  part = {};
  if (shared) media_cache_.put(sequence.scope, sequence.media_digests[item.media], sequence.media_rows[item.media]);
}

// Token embeddings with rows of pictures and sound put over them at their spans.
Tensor Runner::inputs(Context& ctx, const StepPlan& plan) {
  std::vector<int32_t> ids;
  for (const WorkItem& item : plan.items) {
    const std::vector<int32_t>&tokens = item.sequence->tokens, &guesses = item.sequence->guesses;
    const auto known = std::min(item.count, static_cast<int64_t>(tokens.size()) - item.first);
    ids.insert(ids.end(), tokens.begin() + item.first, tokens.begin() + item.first + known);
    ids.insert(ids.end(), guesses.begin(), guesses.begin() + item.count - known);
  }
  Tensor x = model_->decoder().embed(ctx, ids);
  const int64_t hidden = model_->config().decoder.hidden_size;
  int64_t row = 0;  // of x, where the item begins
  for (const WorkItem& item : plan.items) {
    const int64_t end = item.first + item.count;
    for (size_t m = 0; m < item.sequence->media.size(); ++m) {
      const MediaItem& media = *item.sequence->media[m];
      int64_t first_row = 0;  // of the span among the item's
      for (size_t g = 0; g < media.spans.size(); ++g) {
        const int64_t count = media.span_rows[g];
        const int64_t from = std::max(media.spans[g], item.first), to = std::min(media.spans[g] + count, end);
        if (from < to) {
          const float* encoded = item.sequence->media_rows[m]->data() + (first_row + from - media.spans[g]) * hidden;
          std::copy_n(encoded, (to - from) * hidden, x.f32_row(row + from - item.first));
        }
        first_row += count;
      }
    }
    row += item.count;
  }
  return x;
}

std::vector<StepLogits> Runner::run(const StepPlan& plan, const Interrupt* interrupt) {
  for (const EncodeItem& item : plan.encode)
    encode(item, interrupt);
  if (plan.items.empty()) return {};

  ArenaScope scratch(arena_);
  Context ctx{*backend_, arena_, precision_, tracer_, interrupt};
  const BatchStorage batch(plan, all_logits_);
  const Tensor x = inputs(ctx, plan);
  ctx.trace("inputs_embeds", x);
  Tensor hidden;
  const Tensor logits = model_->decoder().forward(ctx, x, cache_->layers(), batch.view(), &hidden);
  if (all_logits_) return {};

  logits_.assign(logits.f32(), logits.f32() + logits.numel());
  hidden_.assign(hidden.f32(), hidden.f32() + hidden.numel());
  std::vector<StepLogits> result;
  const auto vocab = static_cast<size_t>(model_->config().decoder.vocab_size);
  const auto width = static_cast<size_t>(model_->config().decoder.hidden_size);
  for (const WorkItem& item : plan.items) {
    for (int64_t i = 0; i < item.logits; ++i) {
      const size_t row = result.size();
      result.push_back({item.sequence, std::span(logits_).subspan(row * vocab, vocab),
                        std::span(hidden_).subspan(row * width, width)});
    }
  }
  return result;
}

}  // namespace minicpm

#include "models/speech_decoder.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "models/tensor_loader.h"

namespace minicpm {
namespace {

using C = SpeechConfig;

// clang-format off
constexpr ParamRow<C> kSpeechParams[] = {
    // field                key in tts_config               key after "minicpmtts."
    {&C::llm_dim,            "llm_dim",                      "llm_hidden_size"},
    {&C::hidden_size,        "hidden_size",                  "embedding_length"},
    {&C::num_layers,         "num_hidden_layers",            "block_count"},
    {&C::num_heads,          "num_attention_heads",          "attention.head_count"},
    {&C::intermediate_size,  "intermediate_size",            "feed_forward_length"},
    {&C::max_positions,      "max_position_embeddings",      "context_length", Presence::kOptional},
    {&C::num_text_tokens,    "num_text_tokens",              "text_token_count"},
    {&C::num_audio_tokens,   "num_audio_tokens",             "audio_token_count", Presence::kOptional},
    {&C::num_vq,             "num_vq",                       "codebook_count", Presence::kOptional},
    {&C::speaker_id,         "spk_emb_token_id",             "speaker_token_id"},
    {&C::audio_start_id,     "audio_bos_token_id",           "audio_bos_token_id"},
    {&C::text_end_id,        "text_eos_token_id",            "text_eos_token_id"},
    {&C::text_chunk,         "streaming_text_chunk_size",    "text_chunk_size", Presence::kOptional},
    {&C::audio_chunk,        "streaming_audio_chunk_size",   "audio_chunk_size", Presence::kOptional},
    {&C::reserved_text,      "streaming_text_reserved_len",  "text_slot_count", Presence::kOptional},
};

struct Single {
  Weight weight;
  Tensor bias;  // has no row: rows may name fields of either kind
};
struct Head {
  Tensor scale, direction;  // the stored form: weight = scale * direction / |direction|, row by row
};
struct Norm {
  Tensor norm;
};

constexpr TensorRow<C, Single> kTextEmbedding[] = {
    {&Single::weight, "emb_text.weight", "", {&C::num_text_tokens, &C::hidden_size}, Role::kEmbedding}};
constexpr TensorRow<C, Single> kCodeEmbedding[] = {
    {&Single::weight, "weight", "", {&C::num_audio_tokens, &C::hidden_size}, Role::kEmbedding}};
constexpr TensorRow<C, Head> kHead[] = {
    {&Head::scale,     "parametrizations.weight.original0", "", {&C::num_audio_tokens, &C::one}, Role::kTable},
    {&Head::direction, "parametrizations.weight.original1", "", {&C::num_audio_tokens, &C::hidden_size}, Role::kTable},
};
constexpr TensorRow<C, Norm> kNorm[] = {{&Norm::norm, "model.norm.weight", "", {&C::hidden_size}}};
// clang-format on

constexpr int kFewest = 3;             // codes that filters leave
constexpr size_t kPenaltyWindow = 16;  // frames

}  // namespace

std::span<const ParamRow<SpeechConfig>> speech_params() {
  return kSpeechParams;
}

void SpeechConfig::finish(std::string_view source) {
  const auto require = [&](bool ok, std::string_view what) {
    if (!ok) fail(ErrorCode::kBadFile, "{}: speech decoder: {}", source, what);
  };
  const auto in_range = [](int64_t value, int64_t limit) { return value >= 1 && value <= limit; };
  require(in_range(llm_dim, 1 << 16) && in_range(hidden_size, 1 << 16) && in_range(intermediate_size, 1 << 20),
          "its widths are out of range");
  require(in_range(num_layers, 1024), fmt::format("layer count {} is out of range", num_layers));
  require(in_range(num_heads, hidden_size) && hidden_size % num_heads == 0 && hidden_size / num_heads % 2 == 0,
          fmt::format("{} heads do not divide the hidden size {}", num_heads, hidden_size));
  require(num_vq == kCodebooks, fmt::format("{} codebooks, expected {}", num_vq, kCodebooks));
  require(in_range(num_audio_tokens, 1 << 16) && num_audio_tokens > kFewest,
          fmt::format("{} audio tokens are out of range", num_audio_tokens));
  require(in_range(num_text_tokens, 1 << 24), fmt::format("{} text tokens are out of range", num_text_tokens));
  for (const int64_t id : {speaker_id, audio_start_id, text_end_id})
    require(id >= 0 && id < num_text_tokens, fmt::format("there is no text token {}", id));
  require(in_range(text_chunk, 4096) && in_range(audio_chunk, 4096) && in_range(reserved_text, 1 << 16),
          "the schedule of text and frames is out of range");
  require(in_range(max_positions, 1 << 20) && max_positions > slots() + 1,
          fmt::format("{} positions are out of range", max_positions));
}

int64_t SpeechConfig::visible_slots(int64_t position, int64_t text_tokens) const {
  const int64_t chunks = (position - reserved_text + audio_chunk - 1) / audio_chunk;
  const int64_t due = std::min(chunks * text_chunk, reserved_text) + 2;
  return std::min({due, text_tokens + 3, slots()});
}

std::vector<float> code_probabilities(std::span<const float> logits, int codebook, std::span<const CodeFrame> history,
                                      const SpeechSampling& sampling, int64_t banned) {
  std::vector<float> scores(logits.begin(), logits.end());
  for (float& score : scores)
    score /= sampling.temperature[codebook];
  const auto size = static_cast<int64_t>(scores.size());
  constexpr float kOut = -std::numeric_limits<float>::infinity();
  if (!history.empty()) {
    if (sampling.repetition_penalty != 1.0f) {
      std::vector<int> counts(scores.size());
      for (const CodeFrame& frame : history.last(std::min(history.size(), kPenaltyWindow))) {
        if (frame[codebook] >= 0 && frame[codebook] < size) ++counts[frame[codebook]];
      }
      for (int64_t i = 0; i < size; ++i) {
        const float alpha = std::pow(sampling.repetition_penalty, static_cast<float>(counts[i]));
        scores[i] = scores[i] < 0 ? scores[i] * alpha : scores[i] / alpha;
      }
    }
    std::vector<int32_t> order(scores.size());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, [&](int32_t a, int32_t b) { return scores[a] > scores[b]; });
    // Those whose own and all smaller probabilities together do not reach 1 - top_p go.
    const float highest = scores[order[0]];
    double total = 0;
    for (const float score : scores)
      total += std::exp(score - highest);
    double below = 0;
    for (int64_t i = size - 1; i >= kFewest; --i) {
      below += std::exp(scores[order[i]] - highest) / total;
      if (below > 1.0 - sampling.top_p) break;
      scores[order[i]] = kOut;
    }
    for (int64_t i = std::max(sampling.top_k, kFewest); i < size; ++i)
      scores[order[i]] = kOut;
  }
  if (banned >= 0) scores[static_cast<size_t>(banned)] = kOut;
  const float highest = *std::ranges::max_element(scores);
  float total = 0;
  for (float& score : scores)
    total += score = std::exp(score - highest);
  for (float& score : scores)
    score /= total;
  return scores;
}

SpeechCache::SpeechCache(const SpeechConfig& config)
    : layers_(static_cast<size_t>(config.num_layers)), position_(config.slots()) {
  for (Layer& layer : layers_) {
    layer.k.resize(static_cast<size_t>(config.slots() * config.hidden_size));
    layer.v.resize(layer.k.size());
  }
}

void SpeechCache::rewind(int64_t position) {
  MINICPM_CHECK(position <= position_);
  position_ = position;  // rows behind it are written again before they are seen
}

SpeechDecoder::SpeechDecoder(const SpeechConfig& config, const WeightSource& source, ConvertedStore& store)
    : config_(config) {
  decoder_.vocab_size = config.num_text_tokens;
  decoder_.hidden_size = config.hidden_size;
  decoder_.num_layers = config.num_layers;
  decoder_.num_heads = decoder_.num_kv_heads = config.num_heads;
  decoder_.intermediate_size = config.intermediate_size;
  decoder_.max_positions = config.max_positions;
  decoder_.finish(source.path());
  TensorLoader loader(source, false, store);
  layers_.resize(static_cast<size_t>(config.num_layers));
  for (int64_t i = 0; i < config.num_layers; ++i)
    loader.load(decoder_layer_tensors(), decoder_, fmt::format("tts.model.layers.{}.", i), "", layers_[i]);
  Norm norm;
  loader.load<C, Norm>(kNorm, config_, "tts.", "", norm);
  norm_ = norm.norm;
  Single text;
  loader.load<C, Single>(kTextEmbedding, config_, "tts.", "", text);
  emb_text_ = text.weight;
  for (int64_t q = 0; q < config.num_vq; ++q) {
    Single codes;
    loader.load<C, Single>(kCodeEmbedding, config_, fmt::format("tts.emb_code.{}.", q), "", codes);
    emb_code_.push_back(codes.weight);
    Head head;
    loader.load<C, Head>(kHead, config_, fmt::format("tts.head_code.{}.", q), "", head);
    for (int64_t r = 0; r < config.num_audio_tokens; ++r) {
      float* row = head.direction.f32_row(r);  // a copy of the store's own
      double square = 0;
      for (int64_t i = 0; i < config.hidden_size; ++i)
        square += double{row[i]} * row[i];
      const auto factor = static_cast<float>(head.scale.f32()[r] / std::sqrt(square));
      for (int64_t i = 0; i < config.hidden_size; ++i)
        row[i] *= factor;
    }
    head_code_.push_back(as_weight(head.direction));
  }
  static constexpr TensorRow<C, Projector> kProjector[] = {
      {&Projector::linear1, "linear1.weight", "", {&C::hidden_size, &C::llm_dim}},
      {&Projector::linear1_bias, "linear1.bias", "", {&C::hidden_size}},
      {&Projector::linear2, "linear2.weight", "", {&C::hidden_size, &C::hidden_size}},
      {&Projector::linear2_bias, "linear2.bias", "", {&C::hidden_size}},
  };
  loader.load<C, Projector>(kProjector, config_, "tts.projector.", "", projector_);
  for (int64_t i = 0; i < decoder_.head_dim / 2; ++i) {
    inv_freq_.push_back(
        1.0f / std::pow(decoder_.rope_theta, static_cast<float>(2 * i) / static_cast<float>(decoder_.head_dim)));
  }
}

std::vector<float> SpeechDecoder::speaker(Context& ctx, std::span<const float> hidden) const {
  MINICPM_CHECK(static_cast<int64_t>(hidden.size()) == config_.llm_dim);
  ArenaScope scratch(ctx.arena);
  Tensor x = ctx.arena.tensor(DType::kF32, {1, config_.llm_dim});
  std::ranges::copy(hidden, x.f32());
  x = ops::linear(ctx, x, projector_.linear1, projector_.linear1_bias);
  ops::relu_(ctx, x);
  x = ops::linear(ctx, x, projector_.linear2, projector_.linear2_bias);
  ctx.trace("speech.speaker", x);
  std::vector<float> vector(x.f32(), x.f32() + x.numel());
  double square = 0;
  for (const float value : vector)
    square += double{value} * value;
  const auto norm = static_cast<float>(std::max(std::sqrt(square), 1e-12));
  for (float& value : vector)
    value /= norm;
  return vector;
}

Tensor SpeechDecoder::embed_text(Context& ctx, std::span<const int32_t> ids, std::span<const float> speaker) const {
  const Tensor x = ops::embedding(ctx, emb_text_, ids);
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] == config_.speaker_id && !speaker.empty())
      std::ranges::copy(speaker, x.f32_row(static_cast<int64_t>(i)));
  }
  return x;
}

Tensor SpeechDecoder::embed_codes(Context& ctx, std::span<const CodeFrame> frames) const {
  Tensor x = ctx.arena.tensor(DType::kF32, {static_cast<int64_t>(frames.size()), config_.hidden_size});
  std::fill_n(x.f32(), x.numel(), 0.0f);
  for (int q = 0; q < kCodebooks; ++q) {
    std::vector<int32_t> ids;
    for (const CodeFrame& frame : frames)
      ids.push_back(frame[q]);
    ops::accumulate(ctx, x, ops::embedding(ctx, emb_code_[q], ids));
  }
  return x;
}

void SpeechDecoder::run(Context& ctx, SpeechCache& cache, Tensor x, std::span<const int32_t> positions,
                        std::span<const int64_t> rows, std::span<const Range> seen) const {
  const int64_t n = x.dim(0), d = decoder_.head_dim, hidden = config_.hidden_size;
  const float scale = 1.0f / std::sqrt(static_cast<float>(d));
  const auto cos_sin = ops::rope_table(ctx, positions, inv_freq_);
  for (size_t i = 0; i < layers_.size(); ++i) {
    ArenaScope scratch(ctx.arena);
    const DecoderLayerWeights& w = layers_[i];
    SpeechCache::Layer& known = cache.layers_[i];

    // x += o(attention(rope(q(h)), keys, values)), h = rms_norm(x)
    Tensor h = ops::rms_norm(ctx, x, w.attn_norm, decoder_.rms_norm_eps);
    const auto qkv = ops::linear3(ctx, h, {w.q, {}}, {w.k, {}}, {w.v, {}});
    const Tensor q = ops::split_heads(qkv.first, d), k = ops::split_heads(qkv.second, d);
    ops::rope_(ctx, q, cos_sin, RopeStyle::kHalves);
    ops::rope_(ctx, k, cos_sin, RopeStyle::kHalves);
    if (ctx.tracing()) ctx.trace(fmt::format("speech.k{}", i), k);
    if (ctx.tracing()) ctx.trace(fmt::format("speech.v{}", i), qkv.third);
    for (int64_t r = 0; r < n; ++r) {
      if (rows[r] < 0) continue;
      const auto needed = static_cast<size_t>((rows[r] + 1) * hidden);
      if (known.k.size() < needed) known.k.resize(needed), known.v.resize(needed);
      std::copy_n(qkv.second.f32_row(r), hidden, known.k.data() + rows[r] * hidden);
      std::copy_n(qkv.third.f32_row(r), hidden, known.v.data() + rows[r] * hidden);
    }
    Tensor a = ctx.arena.tensor(DType::kF32, {n, hidden});
    const Tensor out = ops::split_heads(a, d);
    for (int64_t r = 0; r < n;) {  // rows that see the same go together
      int64_t end = r + 1;
      while (end < n && seen[end].begin == seen[r].begin && seen[end].end == seen[r].end)
        ++end;
      const int64_t keys = seen[r].end - seen[r].begin, q_starts[] = {0, end - r}, k_starts[] = {0, keys};
      const Tensor ks(known.k.data() + seen[r].begin * hidden, DType::kF32, {keys, config_.num_heads, d}),
          vs(known.v.data() + seen[r].begin * hidden, DType::kF32, {keys, config_.num_heads, d});
      ctx.backend.attention_varlen(out.slice(r, end), q.slice(r, end), ks, vs, q_starts, k_starts, scale,
                                   ctx.precision);
      r = end;
    }
    ops::accumulate(ctx, x, ops::linear(ctx, a, w.o));

    // x += down(silu(gate(h)) * up(h)), h = rms_norm(x)
    h = ops::rms_norm(ctx, x, w.ffn_norm, decoder_.rms_norm_eps);
    const auto [gate, up] = ops::linear2(ctx, h, {w.gate, {}}, {w.up, {}});
    ops::accumulate(ctx, x, ops::linear(ctx, ops::silu_mul(ctx, gate, up), w.down));
  }
}

void SpeechDecoder::prefill_text(Context& ctx, SpeechCache& cache, std::span<const int32_t> ids, int64_t begin,
                                 std::span<const float> speaker) const {
  MINICPM_CHECK(begin >= 0 && begin + static_cast<int64_t>(ids.size()) <= config_.slots());
  ArenaScope scratch(ctx.arena);
  const Tensor x = embed_text(ctx, ids, speaker);
  ctx.trace("speech.text", x);
  std::vector<int32_t> positions;
  std::vector<int64_t> rows;
  std::vector<Range> seen;
  for (int64_t p = begin; p < begin + static_cast<int64_t>(ids.size()); ++p) {
    positions.push_back(static_cast<int32_t>(p));
    rows.push_back(config_.slots() - 1 - p);
    seen.push_back({config_.slots() - 1 - p, config_.slots()});
  }
  run(ctx, cache, x, positions, rows, seen);
}

void SpeechDecoder::prefill_audio(Context& ctx, SpeechCache& cache, std::span<const CodeFrame> frames,
                                  int64_t text_tokens) const {
  MINICPM_CHECK(cache.position_ == config_.slots());
  ArenaScope scratch(ctx.arena);
  const auto n = static_cast<int64_t>(frames.size());
  const int32_t start[] = {static_cast<int32_t>(config_.audio_start_id)};
  Tensor x = ctx.arena.tensor(DType::kF32, {n + 1, config_.hidden_size});
  const Tensor first = ops::embedding(ctx, emb_text_, start), rest = embed_codes(ctx, frames);
  std::copy_n(first.f32(), first.numel(), x.f32());
  std::copy_n(rest.f32(), rest.numel(), x.f32_row(1));
  const int64_t visible = config_.visible_slots(cache.position_, text_tokens);
  std::vector<int32_t> positions;
  std::vector<int64_t> rows;
  for (int64_t i = 0; i <= n; ++i) {
    positions.push_back(static_cast<int32_t>(config_.slots() + i));
    rows.push_back(i == 0 ? -1 : config_.slots() + i - 1);  // nobody ever sees the start
  }
  const std::vector<Range> seen(static_cast<size_t>(n + 1), {config_.slots() - visible, config_.slots() + n});
  run(ctx, cache, x, positions, rows, seen);
  cache.position_ += n + 1;
}

Tensor SpeechDecoder::step(Context& ctx, SpeechCache& cache, const CodeFrame* last, int64_t text_tokens) const {
  const int64_t position = cache.position_, slots = config_.slots();
  MINICPM_CHECK((last == nullptr) == (position == slots));
  if (position >= config_.max_positions) {
    fail(ErrorCode::kInvalidRequest, "the speech is longer than {} frames", config_.max_positions - slots);
  }
  Tensor logits = ctx.arena.tensor(DType::kF32, {config_.num_vq, config_.num_audio_tokens});
  ArenaScope scratch(ctx.arena);
  const int32_t start[] = {static_cast<int32_t>(config_.audio_start_id)};
  const Tensor x = last == nullptr ? ops::embedding(ctx, emb_text_, start) : embed_codes(ctx, {last, 1});
  const int64_t visible = config_.visible_slots(position, text_tokens);
  const int64_t row = position - slots - 1;  // of the frame among the frames; -1: the start
  const int32_t positions[] = {static_cast<int32_t>(position)};
  const int64_t rows[] = {last == nullptr ? -1 : slots + row};
  const Range seen[] = {{slots - visible, slots + row + 1}};
  run(ctx, cache, x, positions, rows, seen);
  ++cache.position_;
  const Tensor h = ops::rms_norm(ctx, x, norm_, decoder_.rms_norm_eps);
  for (int64_t q = 0; q < config_.num_vq; ++q) {
    const Tensor scores = ops::linear(ctx, h, head_code_[q]);
    std::copy_n(scores.f32(), scores.numel(), logits.f32_row(q));
  }
  return logits;
}

}  // namespace minicpm

#include "models/whisper.h"

#include <algorithm>
#include <cmath>

#include "models/convolution.h"

namespace minicpm {
namespace {

using C = AudioConfig;
using W = AudioWeights;
using L = AudioLayerWeights;
using P = AudioProjectorWeights;

// clang-format off
// The GGUF names are those of the sound encoders that llama.cpp reads, as far as it has them.
constexpr ParamRow<C> kAudioParams[] = {
    // field                key in audio_config         key after "clip.audio."
    {&C::hidden_size,       "d_model",                  "embedding_length"},
    {&C::num_layers,        "encoder_layers",           "block_count"},
    {&C::num_heads,         "encoder_attention_heads",  "attention.head_count"},
    {&C::intermediate_size, "encoder_ffn_dim",          "feed_forward_length"},
    {&C::mel_bins,          "num_mel_bins",             "num_mel_bins",    Presence::kOptional},
    {&C::max_positions,     "max_source_positions",     "context_length",  Presence::kOptional},
    // In config.json these stand outside of audio_config.
    {&C::output_size,       "",                         "projection_dim"},
    {&C::pool_step,         "",                         "pool_step",       Presence::kOptional},
    {&C::chunk_seconds,     "",                         "chunk_length",    Presence::kOptional},
    {&C::chunk_input,       "",                         "chunk_input",     Presence::kOptional},
};

constexpr TensorRow<C, W> kAudioTensors[] = {
    // field          name in safetensors        name in GGUF            shape
    {&W::conv1,      "conv1.weight",            "conv1d.1.weight",      {&C::hidden_size, &C::mel_bins, &C::kernel}},
    {&W::conv1_bias, "conv1.bias",              "conv1d.1.bias",        {&C::hidden_size}},
    {&W::conv2,      "conv2.weight",            "conv1d.2.weight",      {&C::hidden_size, &C::hidden_size, &C::kernel}},
    {&W::conv2_bias, "conv2.bias",              "conv1d.2.bias",        {&C::hidden_size}},
    {&W::position,   "embed_positions.weight",  "position_embd.weight", {&C::max_positions, &C::hidden_size}, Role::kEmbedding},
    {&W::norm,       "layer_norm.weight",       "post_ln.weight",       {&C::hidden_size}},
    {&W::norm_bias,  "layer_norm.bias",         "post_ln.bias",         {&C::hidden_size}},
};

// Keys have no bias.
constexpr TensorRow<C, L> kAudioLayerTensors[] = {
    // field          name in safetensors             name in GGUF       shape
    {&L::norm1,      "self_attn_layer_norm.weight",  "ln1.weight",      {&C::hidden_size}},
    {&L::norm1_bias, "self_attn_layer_norm.bias",    "ln1.bias",        {&C::hidden_size}},
    {&L::q,          "self_attn.q_proj.weight",      "attn_q.weight",   {&C::hidden_size, &C::hidden_size}},
    {&L::q_bias,     "self_attn.q_proj.bias",        "attn_q.bias",     {&C::hidden_size}},
    {&L::k,          "self_attn.k_proj.weight",      "attn_k.weight",   {&C::hidden_size, &C::hidden_size}},
    {&L::v,          "self_attn.v_proj.weight",      "attn_v.weight",   {&C::hidden_size, &C::hidden_size}},
    {&L::v_bias,     "self_attn.v_proj.bias",        "attn_v.bias",     {&C::hidden_size}},
    {&L::out,        "self_attn.out_proj.weight",    "attn_out.weight", {&C::hidden_size, &C::hidden_size}},
    {&L::out_bias,   "self_attn.out_proj.bias",      "attn_out.bias",   {&C::hidden_size}},
    {&L::norm2,      "final_layer_norm.weight",      "ln2.weight",      {&C::hidden_size}},
    {&L::norm2_bias, "final_layer_norm.bias",        "ln2.bias",        {&C::hidden_size}},
    {&L::fc1,        "fc1.weight",                   "ffn_up.weight",   {&C::intermediate_size, &C::hidden_size}},
    {&L::fc1_bias,   "fc1.bias",                     "ffn_up.bias",     {&C::intermediate_size}},
    {&L::fc2,        "fc2.weight",                   "ffn_down.weight", {&C::hidden_size, &C::intermediate_size}},
    {&L::fc2_bias,   "fc2.bias",                     "ffn_down.bias",   {&C::hidden_size}},
};

constexpr TensorRow<C, P> kAudioProjectorTensors[] = {
    // field            name in safetensors  name in GGUF    shape
    {&P::linear1,      "linear1.weight",    "mlp.1.weight", {&C::output_size, &C::hidden_size}},
    {&P::linear1_bias, "linear1.bias",      "mlp.1.bias",   {&C::output_size}},
    {&P::linear2,      "linear2.weight",    "mlp.2.weight", {&C::output_size, &C::output_size}},
    {&P::linear2_bias, "linear2.bias",      "mlp.2.bias",   {&C::output_size}},
};
// clang-format on

constexpr float kLayerNormEps = 1e-5f;

int64_t divide_up(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

}  // namespace

std::span<const ParamRow<AudioConfig>> audio_params() {
  return kAudioParams;
}
std::span<const TensorRow<AudioConfig, AudioWeights>> audio_tensors() {
  return kAudioTensors;
}
std::span<const TensorRow<AudioConfig, AudioLayerWeights>> audio_layer_tensors() {
  return kAudioLayerTensors;
}
std::span<const TensorRow<AudioConfig, AudioProjectorWeights>> audio_projector_tensors() {
  return kAudioProjectorTensors;
}

void AudioConfig::finish(std::string_view source) {
  const auto require = [&](bool ok, std::string_view what) {
    if (!ok) fail(ErrorCode::kBadFile, "{}: sound encoder: {}", source, what);
  };
  const auto in_range = [](int64_t value, int64_t limit) { return value >= 1 && value <= limit; };
  require(in_range(hidden_size, 1 << 16), fmt::format("hidden size {} is out of range", hidden_size));
  require(in_range(num_layers, 1024), fmt::format("layer count {} is out of range", num_layers));
  require(in_range(num_heads, hidden_size) && hidden_size % num_heads == 0,
          fmt::format("{} heads do not divide the hidden size {}", num_heads, hidden_size));
  require(in_range(intermediate_size, 1 << 20), fmt::format("intermediate size {} is out of range", intermediate_size));
  require(in_range(mel_bins, 1024), fmt::format("{} mel bins are out of range", mel_bins));
  // Pieces of 30 s must fit.
  require(max_positions >= encoder_frames(kMaxMelSamples / kMelHop) && max_positions <= 1 << 20,
          fmt::format("{} positions are out of range", max_positions));
  require(in_range(pool_step, 64), fmt::format("pooling over {} frames is out of range", pool_step));
  require(in_range(output_size, 1 << 16), fmt::format("output size {} is out of range", output_size));
  require(chunk_seconds >= 0 && chunk_seconds <= 3600 && (chunk_seconds == 0 || chunk_frames() >= 1),
          fmt::format("chunks of {} s are out of range", chunk_seconds));
  head_dim = hidden_size / num_heads;
}

AudioEncoder::AudioEncoder(AudioConfig config, AudioWeights weights, AudioProjectorWeights projector)
    : config_(std::move(config)), weights_(std::move(weights)), projector_(std::move(projector)) {}

AudioEncoder AudioEncoder::with_chunks(float seconds) const {
  AudioEncoder other = *this;
  other.config_.chunk_seconds = seconds;
  return other;
}

/// The encoder's input for frames [0, encoder_frames(frames)); mel frames beyond the sound's own are zero.
Tensor AudioEncoder::embeddings(Context& ctx, const MelFrames& mel, int64_t frames, int64_t first_position) const {
  MINICPM_CHECK(mel.bins == config_.mel_bins && frames >= mel.frames);
  Tensor x = ctx.arena.tensor(DType::kF32, {AudioConfig::encoder_frames(frames), config_.hidden_size});
  ArenaScope scratch(ctx.arena);
  Tensor input = ctx.arena.tensor(DType::kF32, {frames, mel.bins});
  std::fill(std::copy(mel.values.begin(), mel.values.end(), input.f32()), input.f32() + input.numel(), 0.0f);

  // x = gelu(conv2(gelu(conv1(mel)))) + positions
  const Tensor h = conv1d(ctx, input, weights_.conv1, weights_.conv1_bias, 1, 1);
  ctx.trace("audio.conv1", h);
  ops::gelu_(ctx, h, Gelu::kErf);
  const Tensor y = conv1d(ctx, h, weights_.conv2, weights_.conv2_bias, 2, 1);
  ctx.trace("audio.conv2", y);
  ops::gelu_(ctx, y, Gelu::kErf);
  std::copy_n(y.f32(), y.numel(), x.f32());
  std::vector<int32_t> positions;
  for (int64_t t = 0; t < x.dim(0); ++t)
    positions.push_back(static_cast<int32_t>(std::min(first_position + t, config_.max_positions - 1)));
  ops::accumulate(ctx, x, ops::embedding(ctx, weights_.position, positions));
  return x;
}

template <typename Attend>
void AudioEncoder::layer(Context& ctx, const AudioLayerWeights& w, Tensor x, Attend&& attend) const {
  ArenaScope scratch(ctx.arena);
  // x += out(attention(q(h), k(h), v(h))), h = layer_norm(x)
  Tensor h = ops::layer_norm(ctx, x, w.norm1, w.norm1_bias, kLayerNormEps);
  const auto qkv = ops::linear3(ctx, h, {w.q, w.q_bias}, {w.k, {}}, {w.v, w.v_bias});
  const Tensor a = attend(qkv);
  ops::accumulate(ctx, x, ops::linear(ctx, a, w.out, w.out_bias));

  // x += fc2(gelu(fc1(h))), h = layer_norm(x)
  h = ops::layer_norm(ctx, x, w.norm2, w.norm2_bias, kLayerNormEps);
  h = ops::linear(ctx, h, w.fc1, w.fc1_bias);
  ops::gelu_(ctx, h, Gelu::kErf);
  ops::accumulate(ctx, x, ops::linear(ctx, h, w.fc2, w.fc2_bias));
}

/// linear2(relu(linear1(x))), then the mean of each pool_step rows; rows that do not fill a step are left out.
Tensor AudioEncoder::project(Context& ctx, Tensor x) const {
  const int64_t rows = config_.rows(x.dim(0)), step = config_.pool_step;
  Tensor pooled = ctx.arena.tensor(DType::kF32, {rows, config_.output_size});
  ArenaScope scratch(ctx.arena);
  Tensor h = ops::linear(ctx, x, projector_.linear1, projector_.linear1_bias);
  ops::relu_(ctx, h);
  h = ops::linear(ctx, h, projector_.linear2, projector_.linear2_bias);
  for (int64_t r = 0; r < rows; ++r) {
    float* to = pooled.f32_row(r);
    std::copy_n(h.f32_row(r * step), config_.output_size, to);
    for (int64_t s = 1; s < step; ++s) {
      const float* from = h.f32_row(r * step + s);
      for (int64_t i = 0; i < config_.output_size; ++i)
        to[i] += from[i];
    }
    for (int64_t i = 0; i < config_.output_size; ++i)
      to[i] /= static_cast<float>(step);
  }
  return pooled;
}

/// Encoder output of one piece, [encoder frames, hidden]; `longest`: mel frames of the longest piece of its batch.
Tensor AudioEncoder::encode_piece(Context& ctx, const MelFrames& mel, int64_t longest) const {
  const int64_t own = AudioConfig::encoder_frames(mel.frames), chunk = config_.chunk_frames();
  // The official mask hides keys from the number of *mel* frames on, twice that of encoder frames: frames of padding
  // are seen up to there, so they are computed as far as somebody sees them.
  const int64_t visible = std::min(AudioConfig::encoder_frames(longest), mel.frames);
  const int64_t rows = chunk > 0 ? std::min(visible, divide_up(own, chunk) * chunk) : visible;
  const Tensor all = embeddings(ctx, mel, std::min(longest, 2 * rows + 2), 0);
  Tensor x = all.slice(0, rows);
  const int64_t d = config_.head_dim;
  const float scale = 1.0f / std::sqrt(static_cast<float>(d));
  for (size_t i = 0; i < weights_.layers.size(); ++i) {
    layer(ctx, weights_.layers[i], x, [&](const ops::Triple& qkv) {
      Tensor a = ctx.arena.tensor(DType::kF32, {rows, config_.hidden_size});
      const Tensor out = ops::split_heads(a, d), q = ops::split_heads(qkv.first, d),
                   k = ops::split_heads(qkv.second, d), v = ops::split_heads(qkv.third, d);
      const int64_t step = chunk > 0 ? chunk : rows;
      for (int64_t first = 0; first < rows; first += step) {
        const int64_t end = std::min(first + step, rows);
        const int64_t q_starts[] = {0, end - first}, k_starts[] = {0, end};
        ctx.backend.attention_varlen(out.slice(first, end), q.slice(first, end), k.slice(0, end), v.slice(0, end),
                                     q_starts, k_starts, scale, ctx.precision);
      }
      return a;
    });
    if (ctx.tracing()) ctx.trace(fmt::format("audio.layer{}", i), x.slice(0, own));
  }
  x = ops::layer_norm(ctx, x.slice(0, own), weights_.norm, weights_.norm_bias, kLayerNormEps);
  ctx.trace("audio.output", x);
  return x;
}

Tensor AudioEncoder::forward(Context& ctx, std::span<const MelFrames* const> pieces) const {
  int64_t longest = 0, rows = 0;
  for (const MelFrames* mel : pieces) {
    longest = std::max(longest, mel->frames);
    rows += config_.rows(AudioConfig::encoder_frames(mel->frames));
  }
  Tensor result = ctx.arena.tensor(DType::kF32, {rows, config_.output_size});
  int64_t row = 0;
  for (const MelFrames* mel : pieces) {
    if (mel->frames == 0) continue;
    ArenaScope scratch(ctx.arena);
    const Tensor part = project(ctx, encode_piece(ctx, *mel, longest));
    std::copy_n(part.f32(), part.numel(), result.f32_row(row));
    row += part.dim(0);
  }
  ctx.trace("audio.rows", result);
  return result;
}

Tensor AudioEncoder::forward(Context& ctx, const MelFrames& part, AudioCache& cache) const {
  const int64_t frames = AudioConfig::encoder_frames(part.frames), d = config_.head_dim;
  if (frames > config_.max_positions) {
    fail(ErrorCode::kInvalidRequest, "a part of a stream has {} frames, expected at most {}", frames,
         config_.max_positions);
  }
  if (cache.frames + frames >= config_.max_positions || cache.layers.size() != weights_.layers.size()) cache = {};
  cache.layers.resize(weights_.layers.size());
  Tensor result = ctx.arena.tensor(DType::kF32, {config_.rows(frames), config_.output_size});
  if (frames == 0) return result;
  ArenaScope scratch(ctx.arena);
  Tensor x = embeddings(ctx, part, part.frames, cache.frames);
  const float scale = 1.0f / std::sqrt(static_cast<float>(d));
  const int64_t keys = cache.frames + frames;
  for (size_t i = 0; i < weights_.layers.size(); ++i) {
    AudioCache::Layer& known = cache.layers[i];
    layer(ctx, weights_.layers[i], x, [&](const ops::Triple& qkv) {
      known.k.insert(known.k.end(), qkv.second.f32(), qkv.second.f32() + qkv.second.numel());
      known.v.insert(known.v.end(), qkv.third.f32(), qkv.third.f32() + qkv.third.numel());
      const Tensor k(known.k.data(), DType::kF32, {keys, config_.num_heads, d}),
          v(known.v.data(), DType::kF32, {keys, config_.num_heads, d});
      const int64_t q_starts[] = {0, frames}, k_starts[] = {0, keys};
      return ops::merge_heads(ops::attention(ctx, ops::split_heads(qkv.first, d), k, v, q_starts, k_starts, scale));
    });
  }
  cache.frames = keys;
  x = ops::layer_norm(ctx, x, weights_.norm, weights_.norm_bias, kLayerNormEps);
  const Tensor rows = project(ctx, x);
  std::copy_n(rows.f32(), rows.numel(), result.f32());
  return result;
}

}  // namespace minicpm

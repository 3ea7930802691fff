#include "models/decoder.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace minicpm {
namespace {

using C = DecoderConfig;
using W = DecoderWeights;
using L = DecoderLayerWeights;

// clang-format off
constexpr ParamRow<C> kDecoderParams[] = {
    // field               key in config.json         key in GGUF, after "<arch>."
    {&C::vocab_size,       "vocab_size",              "vocab_size", Presence::kOptional},  // GGUF: from token_embd
    {&C::hidden_size,      "hidden_size",             "embedding_length"},
    {&C::num_layers,       "num_hidden_layers",       "block_count"},
    {&C::num_heads,        "num_attention_heads",     "attention.head_count"},
    {&C::num_kv_heads,     "num_key_value_heads",     "attention.head_count_kv", Presence::kOptional},
    {&C::head_dim,         "head_dim",                "attention.key_length", Presence::kOptional},
    {&C::intermediate_size,"intermediate_size",       "feed_forward_length"},
    {&C::max_positions,    "max_position_embeddings", "context_length"},
    {&C::rms_norm_eps,     "rms_norm_eps",            "attention.layer_norm_rms_epsilon"},
    {&C::rope_theta,       "rope_theta",              "rope.freq_base", Presence::kOptional},
    {&C::tied_embeddings,  "tie_word_embeddings",     "", Presence::kOptional},
};

constexpr TensorRow<C, W> kDecoderTensors[] = {
    // field      name in safetensors          name in GGUF          shape                             role
    {&W::embed,  "model.embed_tokens.weight", "token_embd.weight",  {&C::vocab_size, &C::hidden_size}, Role::kEmbedding},
    {&W::norm,   "model.norm.weight",         "output_norm.weight", {&C::hidden_size}},
    {&W::output, "lm_head.weight",            "output.weight",      {&C::vocab_size, &C::hidden_size}, Role::kLinear, Presence::kOptional},
};

constexpr TensorRow<C, L> kDecoderLayerTensors[] = {
    // field         name in safetensors                  name in GGUF           shape
    {&L::attn_norm, "input_layernorm.weight",            "attn_norm.weight",    {&C::hidden_size}},
    {&L::q,         "self_attn.q_proj.weight",           "attn_q.weight",       {&C::q_dim, &C::hidden_size}},
    {&L::k,         "self_attn.k_proj.weight",           "attn_k.weight",       {&C::kv_dim, &C::hidden_size}},
    {&L::v,         "self_attn.v_proj.weight",           "attn_v.weight",       {&C::kv_dim, &C::hidden_size}},
    {&L::q_bias,    "self_attn.q_proj.bias",             "attn_q.bias",         {&C::q_dim},    Role::kVector, Presence::kOptional},
    {&L::k_bias,    "self_attn.k_proj.bias",             "attn_k.bias",         {&C::kv_dim},   Role::kVector, Presence::kOptional},
    {&L::v_bias,    "self_attn.v_proj.bias",             "attn_v.bias",         {&C::kv_dim},   Role::kVector, Presence::kOptional},
    {&L::q_norm,    "self_attn.q_norm.weight",           "attn_q_norm.weight",  {&C::head_dim}, Role::kVector, Presence::kOptional},
    {&L::k_norm,    "self_attn.k_norm.weight",           "attn_k_norm.weight",  {&C::head_dim}, Role::kVector, Presence::kOptional},
    {&L::o,         "self_attn.o_proj.weight",           "attn_output.weight",  {&C::hidden_size, &C::q_dim}},
    {&L::ffn_norm,  "post_attention_layernorm.weight",   "ffn_norm.weight",     {&C::hidden_size}},
    {&L::gate,      "mlp.gate_proj.weight",              "ffn_gate.weight",     {&C::intermediate_size, &C::hidden_size}},
    {&L::up,        "mlp.up_proj.weight",                "ffn_up.weight",       {&C::intermediate_size, &C::hidden_size}},
    {&L::down,      "mlp.down_proj.weight",              "ffn_down.weight",     {&C::hidden_size, &C::intermediate_size}},
};
// clang-format on

/// 1 / (theta^(2i / head_dim) * factor[i]), in f32 as the reference computes it.
std::vector<float> inverse_frequencies(const DecoderConfig& config, std::span<const float> factors) {
  std::vector<float> result(config.head_dim / 2);
  for (size_t i = 0; i < result.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(config.head_dim);
    const float power = std::pow(config.rope_theta, exponent);
    result[i] = 1.0f / (factors.empty() ? power : factors[i] * power);
  }
  return result;
}

}  // namespace

std::span<const ParamRow<DecoderConfig>> decoder_params() {
  return kDecoderParams;
}
std::span<const TensorRow<DecoderConfig, DecoderWeights>> decoder_tensors() {
  return kDecoderTensors;
}
std::span<const TensorRow<DecoderConfig, DecoderLayerWeights>> decoder_layer_tensors() {
  return kDecoderLayerTensors;
}

void DecoderConfig::finish(std::string_view source) {
  const auto require = [&](bool ok, std::string_view what) {
    if (!ok) fail(ErrorCode::kBadFile, "{}: {}", source, what);
  };
  // Generous limits that keep every product of two sizes far from overflow.
  const auto in_range = [](int64_t value, int64_t limit) { return value >= 1 && value <= limit; };
  require(in_range(hidden_size, 1 << 20), fmt::format("hidden size {} is out of range", hidden_size));
  require(in_range(num_layers, 4096), fmt::format("layer count {} is out of range", num_layers));
  require(in_range(num_heads, 65536), fmt::format("head count {} is out of range", num_heads));
  if (num_kv_heads == 0) num_kv_heads = num_heads;
  require(in_range(num_kv_heads, num_heads) && num_heads % num_kv_heads == 0,
          fmt::format("{} key heads do not divide {} query heads", num_kv_heads, num_heads));
  if (head_dim == 0) {
    require(hidden_size % num_heads == 0, "head_dim is absent and the hidden size is no multiple of the head count");
    head_dim = hidden_size / num_heads;
  }
  require(in_range(head_dim, 1024) && head_dim % 2 == 0, fmt::format("head_dim {} must be even, up to 1024", head_dim));
  require(in_range(intermediate_size, 1 << 22), fmt::format("intermediate size {} is out of range", intermediate_size));
  require(in_range(vocab_size, 1 << 26), fmt::format("vocabulary size {} is out of range", vocab_size));
  require(in_range(max_positions, int64_t{1} << 31), fmt::format("context length {} is out of range", max_positions));
  require(rms_norm_eps > 0 && rms_norm_eps < 1, "the norm's epsilon must lie between 0 and 1");
  require(rope_theta > 0 && std::isfinite(rope_theta), "rope theta must be positive");
  for (const auto* factors : {&rope_factors, &rope_long_factors}) {
    require(factors->empty() || static_cast<int64_t>(factors->size()) == head_dim / 2,
            fmt::format("{} rope factors, expected head_dim / 2 = {}", factors->size(), head_dim / 2));
    for (float factor : *factors)
      require(factor > 0 && std::isfinite(factor), "rope factors must be positive");
  }
  q_dim = num_heads * head_dim;
  kv_dim = num_kv_heads * head_dim;
}

Decoder::Decoder(DecoderConfig config, DecoderWeights weights)
    : config_(std::move(config)), weights_(std::move(weights)) {
  inv_freq_ = inverse_frequencies(config_, config_.rope_factors);
  if (!config_.rope_long_factors.empty()) inv_freq_long_ = inverse_frequencies(config_, config_.rope_long_factors);
}

Tensor Decoder::embed(Context& ctx, std::span<const int32_t> ids) const {
  Tensor x = ops::embedding(ctx, weights_.embed, ids);
  if (config_.embedding_scale != 1.0f) ops::scale_(ctx, x, config_.embedding_scale);
  return x;
}

// Cosines and sines of all rows [rows, head_dim / 2].
ops::Pair Decoder::rope_table(Context& ctx, const Batch& batch) const {
  const auto table = [&](std::span<const float> inv_freq) {
    return ops::rope_table(ctx, batch.positions, inv_freq, config_.rope_attention_factor);
  };
  if (inv_freq_long_.empty()) return table(inv_freq_);
  // The reference picks one factor set per call by the largest position; its call is one sequence of the batch.
  const auto is_long = [&](int64_t s) {
    return batch.positions[batch.row_starts[s + 1] - 1] >= config_.rope_switch_length;
  };
  int64_t longs = 0;
  for (int64_t s = 0; s < batch.sequences(); ++s)
    longs += is_long(s);
  if (longs == 0) return table(inv_freq_);
  const ops::Pair result = table(inv_freq_long_);
  if (longs == batch.sequences()) return result;
  const ops::Pair others = table(inv_freq_);
  for (int64_t s = 0; s < batch.sequences(); ++s) {
    for (int64_t row = batch.row_starts[s]; !is_long(s) && row < batch.row_starts[s + 1]; ++row) {
      std::copy_n(others.first.f32_row(row), others.first.cols(), result.first.f32_row(row));
      std::copy_n(others.second.f32_row(row), others.second.cols(), result.second.f32_row(row));
    }
  }
  return result;
}

// Attention may multiply in bf16 where the products around it round more coarsely: activations of block formats are
// int8. Other models keep f32.
static Precision attention_precision(Precision precision, DType weights) {
  return precision == Precision::kFast && info(weights).is_quantised ? Precision::kHalf : precision;
}

void Decoder::layer(Context& ctx, int64_t index, Tensor x, const KvLayer& kv, const Batch& batch,
                    const ops::Pair& cos_sin) const {
  ArenaScope scratch(ctx.arena);  // only x survives the layer
  const DecoderLayerWeights& w = weights_.layers[index];
  const float scale = 1.0f / std::sqrt(static_cast<float>(config_.head_dim));

  // x += o(attention(rope(norm(q(h))), rope(norm(k(h))), v(h))), h = rms_norm(x)
  Tensor h = ops::rms_norm(ctx, x, w.attn_norm, config_.rms_norm_eps);  // [rows, hidden]
  const auto qkv = ops::linear3(ctx, h, {w.q, w.q_bias}, {w.k, w.k_bias}, {w.v, w.v_bias});
  const Tensor q = ops::split_heads(qkv.first, config_.head_dim);   // [rows, heads, head_dim]
  const Tensor k = ops::split_heads(qkv.second, config_.head_dim);  // [rows, kv_heads, head_dim]
  const Tensor v = ops::split_heads(qkv.third, config_.head_dim);
  if (w.q_norm.defined()) {  // Qwen3 normalises each head before the rotation
    ops::rms_norm_(ctx, q, w.q_norm, config_.rms_norm_eps);
    ops::rms_norm_(ctx, k, w.k_norm, config_.rms_norm_eps);
    if (ctx.tracing()) ctx.trace(fmt::format("l{}.q_norm", index), q);
    if (ctx.tracing()) ctx.trace(fmt::format("l{}.k_norm", index), k);
  }
  ops::rope_(ctx, q, cos_sin, config_.rope_style);
  ops::rope_(ctx, k, cos_sin, config_.rope_style);
  ops::kv_write(ctx, kv, k, v, batch);
  const Tensor a = ops::attention(ctx, q, kv, batch, scale, attention_precision(ctx.precision, w.q.dtype));
  ops::accumulate(ctx, x, ops::linear(ctx, ops::merge_heads(a), w.o), config_.residual_scale);

  // x += down(silu(gate(h)) * up(h)), h = rms_norm(x)
  h = ops::rms_norm(ctx, x, w.ffn_norm, config_.rms_norm_eps);
  const auto [gate, up] = ops::linear2(ctx, h, {w.gate, {}}, {w.up, {}});
  ops::accumulate(ctx, x, ops::linear(ctx, ops::silu_mul(ctx, gate, up), w.down), config_.residual_scale);
}

Tensor Decoder::forward(Context& ctx, Tensor x, std::span<const KvLayer> kv, const Batch& batch, Tensor* hidden) const {
  MINICPM_CHECK(static_cast<int64_t>(kv.size()) == config_.num_layers && x.rows() == batch.rows());
  const ops::Pair cos_sin = rope_table(ctx, batch);
  for (int64_t i = 0; i < config_.num_layers; ++i) {
    layer(ctx, i, x, kv[i], batch, cos_sin);
    // The reference lists the last layer's state after the final norm.
    if (ctx.tracing() && i + 1 < config_.num_layers) ctx.trace(fmt::format("hidden.{}", i), x);
  }
  Tensor h = ops::gather_rows(ctx, x, batch.logit_rows);
  ops::rms_norm_(ctx, h, weights_.norm, config_.rms_norm_eps);
  if (ctx.tracing()) ctx.trace(fmt::format("hidden.{}", config_.num_layers - 1), h);
  if (hidden != nullptr) {
    *hidden = ctx.arena.tensor(DType::kF32, h.shape());
    std::copy_n(h.f32(), h.numel(), hidden->f32());
  }
  if (config_.logit_divisor != 1.0f) ops::scale_(ctx, h, 1.0f / config_.logit_divisor);
  const Tensor logits = ops::linear(ctx, h, weights_.output.defined() ? weights_.output : weights_.embed);
  ctx.trace("logits", logits);
  return logits;
}

}  // namespace minicpm

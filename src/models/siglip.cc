#include "models/siglip.h"

#include <algorithm>
#include <cmath>

namespace minicpm {
namespace {

using C = VisionConfig;
using W = VisionWeights;
using L = VisionLayerWeights;

// clang-format off
constexpr ParamRow<C> kVisionParams[] = {
    // field                key in vision_config       key in GGUF, after "clip.vision."
    {&C::hidden_size,       "hidden_size",             "embedding_length"},
    {&C::num_layers,        "num_hidden_layers",       "block_count"},
    {&C::num_heads,         "num_attention_heads",     "attention.head_count"},
    {&C::intermediate_size, "intermediate_size",       "feed_forward_length"},
    {&C::patch_size,        "patch_size",              "patch_size"},
    {&C::image_size,        "image_size",              ""},  // GGUF files say 448 here; the table's rows decide
    {&C::layer_norm_eps,    "layer_norm_eps",          "attention.layer_norm_epsilon", Presence::kOptional},
};

constexpr TensorRow<C, W> kVisionTensors[] = {
    // field          name in safetensors                      name in GGUF              shape
    {&W::patch,      "embeddings.patch_embedding.weight",     "patch_embd.weight",     {&C::hidden_size, &C::channels, &C::patch_size, &C::patch_size}},
    {&W::patch_bias, "embeddings.patch_embedding.bias",       "patch_embd.bias",       {&C::hidden_size}},
    {&W::position,   "embeddings.position_embedding.weight",  "position_embd.weight",  {&C::num_positions, &C::hidden_size}, Role::kEmbedding},
    {&W::norm,       "post_layernorm.weight",                 "post_ln.weight",        {&C::hidden_size}},
    {&W::norm_bias,  "post_layernorm.bias",                   "post_ln.bias",          {&C::hidden_size}},
};

// Published GGUF files call the first matrix of the MLP ffn_down and the second ffn_up; the loader accepts both orders.
constexpr TensorRow<C, L> kVisionLayerTensors[] = {
    // field          name in safetensors          name in GGUF         shape
    {&L::norm1,      "layer_norm1.weight",        "ln1.weight",        {&C::hidden_size}},
    {&L::norm1_bias, "layer_norm1.bias",          "ln1.bias",          {&C::hidden_size}},
    {&L::q,          "self_attn.q_proj.weight",   "attn_q.weight",     {&C::hidden_size, &C::hidden_size}},
    {&L::q_bias,     "self_attn.q_proj.bias",     "attn_q.bias",       {&C::hidden_size}},
    {&L::k,          "self_attn.k_proj.weight",   "attn_k.weight",     {&C::hidden_size, &C::hidden_size}},
    {&L::k_bias,     "self_attn.k_proj.bias",     "attn_k.bias",       {&C::hidden_size}},
    {&L::v,          "self_attn.v_proj.weight",   "attn_v.weight",     {&C::hidden_size, &C::hidden_size}},
    {&L::v_bias,     "self_attn.v_proj.bias",     "attn_v.bias",       {&C::hidden_size}},
    {&L::out,        "self_attn.out_proj.weight", "attn_out.weight",   {&C::hidden_size, &C::hidden_size}},
    {&L::out_bias,   "self_attn.out_proj.bias",   "attn_out.bias",     {&C::hidden_size}},
    {&L::norm2,      "layer_norm2.weight",        "ln2.weight",        {&C::hidden_size}},
    {&L::norm2_bias, "layer_norm2.bias",          "ln2.bias",          {&C::hidden_size}},
    {&L::fc1,        "mlp.fc1.weight",            "ffn_down.weight",   {&C::intermediate_size, &C::hidden_size}},
    {&L::fc1_bias,   "mlp.fc1.bias",              "ffn_down.bias",     {&C::intermediate_size}},
    {&L::fc2,        "mlp.fc2.weight",            "ffn_up.weight",     {&C::hidden_size, &C::intermediate_size}},
    {&L::fc2_bias,   "mlp.fc2.bias",              "ffn_up.bias",       {&C::hidden_size}},
};
// clang-format on

}  // namespace

std::span<const ParamRow<VisionConfig>> vision_params() {
  return kVisionParams;
}
std::span<const TensorRow<VisionConfig, VisionWeights>> vision_tensors() {
  return kVisionTensors;
}
std::span<const TensorRow<VisionConfig, VisionLayerWeights>> vision_layer_tensors() {
  return kVisionLayerTensors;
}

void VisionConfig::finish(std::string_view source) {
  const auto require = [&](bool ok, std::string_view what) {
    if (!ok) fail(ErrorCode::kBadFile, "{}: vision tower: {}", source, what);
  };
  const auto in_range = [](int64_t value, int64_t limit) { return value >= 1 && value <= limit; };
  require(in_range(hidden_size, 1 << 16), fmt::format("hidden size {} is out of range", hidden_size));
  require(in_range(num_layers, 1024), fmt::format("layer count {} is out of range", num_layers));
  require(in_range(num_heads, hidden_size) && hidden_size % num_heads == 0,
          fmt::format("{} heads do not divide the hidden size {}", num_heads, hidden_size));
  require(in_range(intermediate_size, 1 << 20), fmt::format("intermediate size {} is out of range", intermediate_size));
  require(in_range(patch_size, 256), fmt::format("patch size {} is out of range", patch_size));
  require(in_range(image_size, 1 << 16) && image_size >= patch_size,
          fmt::format("image size {} is out of range", image_size));
  require(layer_norm_eps > 0 && layer_norm_eps < 1, "the norm's epsilon must lie between 0 and 1");
  patch_dim = channels * patch_size * patch_size;
  grid_size = image_size / patch_size;
  num_positions = grid_size * grid_size;
  head_dim = hidden_size / num_heads;
}

namespace {

/// torch.arange in f32 as the official code meets it on x86-64: whole pairs of 8-lane vectors start from a base that is
/// rounded to f32, the rest is evaluated element by element. The last bit decides buckets (count 49, element 28).
std::vector<float> reference_arange(double start, double step, int64_t count) {
  constexpr int64_t kLanes = 8, kUnroll = 2 * kLanes;
  std::vector<float> values(count);
  const int64_t vectorised = count / kUnroll * kUnroll;
  for (int64_t i = 0; i < count; ++i) {
    if (i < vectorised) {
      const auto base = static_cast<float>(start + step * static_cast<double>(i / kLanes * kLanes));
      values[i] = static_cast<float>(static_cast<double>(base) + static_cast<double>(i % kLanes) * step);
    } else {
      values[i] = static_cast<float>(start + step * static_cast<double>(i));
    }
  }
  return values;
}

}  // namespace

std::vector<int32_t> position_buckets(int64_t count, int64_t grid_size) {
  const double grid_step = 1.0 / static_cast<double>(grid_size);
  const std::vector<float> boundaries = reference_arange(grid_step, grid_step, grid_size - 1);
  const float step = 1.0f / static_cast<float>(count);  // an element of an integer tensor gives an f32 quotient
  std::vector<int32_t> buckets;
  for (float fraction : reference_arange(0.0, static_cast<double>(step), count)) {
    const auto above = std::ranges::upper_bound(boundaries, fraction);  // boundaries <= fraction are counted
    buckets.push_back(static_cast<int32_t>(above - boundaries.begin()));
  }
  return buckets;
}

SiglipTower::SiglipTower(VisionConfig config, VisionWeights weights)
    : config_(std::move(config)), weights_(std::move(weights)) {}

Tensor SiglipTower::embeddings(Context& ctx, std::span<const Patches* const> slices) const {
  int64_t rows = 0;
  for (const Patches* slice : slices)
    rows += int64_t{slice->h} * slice->w;
  Tensor x = ctx.arena.tensor(DType::kF32, {rows, config_.hidden_size});

  ArenaScope scratch(ctx.arena);
  Tensor pixels = ctx.arena.tensor(DType::kF32, {rows, config_.patch_dim});
  std::vector<int32_t> positions;
  positions.reserve(rows);
  float* next = pixels.f32();
  for (const Patches* slice : slices) {
    next = std::copy(slice->values.begin(), slice->values.end(), next);
    const auto row_buckets = position_buckets(slice->h, config_.grid_size);
    const auto col_buckets = position_buckets(slice->w, config_.grid_size);
    for (int32_t row : row_buckets) {
      for (int32_t col : col_buckets) {
        positions.push_back(static_cast<int32_t>(row * config_.grid_size + col));
      }
    }
  }
  MINICPM_CHECK(next == pixels.f32() + pixels.numel());
  const LinearTarget target{x, weights_.patch, weights_.patch_bias};
  ctx.backend.linear({&target, 1}, pixels, ctx.precision);
  ops::accumulate(ctx, x, ops::embedding(ctx, weights_.position, positions));
  return x;
}

void SiglipTower::layer(Context& ctx, const VisionLayerWeights& w, Tensor x,
                        std::span<const int64_t> slice_starts) const {
  ArenaScope scratch(ctx.arena);
  const float scale = 1.0f / std::sqrt(static_cast<float>(config_.head_dim));

  // x += out(attention(q(h), k(h), v(h))), h = layer_norm(x); patches see their own slice only
  Tensor h = ops::layer_norm(ctx, x, w.norm1, w.norm1_bias, config_.layer_norm_eps);
  const auto qkv = ops::linear3(ctx, h, {w.q, w.q_bias}, {w.k, w.k_bias}, {w.v, w.v_bias});
  const Tensor a =
      ops::attention(ctx, ops::split_heads(qkv.first, config_.head_dim), ops::split_heads(qkv.second, config_.head_dim),
                     ops::split_heads(qkv.third, config_.head_dim), slice_starts, slice_starts, scale);
  ops::accumulate(ctx, x, ops::linear(ctx, ops::merge_heads(a), w.out, w.out_bias));

  // x += fc2(gelu(fc1(h))), h = layer_norm(x)
  h = ops::layer_norm(ctx, x, w.norm2, w.norm2_bias, config_.layer_norm_eps);
  h = ops::linear(ctx, h, w.fc1, w.fc1_bias);
  ops::gelu_(ctx, h, Gelu::kTanh);
  ops::accumulate(ctx, x, ops::linear(ctx, h, w.fc2, w.fc2_bias));
}

Tensor SiglipTower::forward(Context& ctx, std::span<const Patches* const> slices) const {
  std::vector<int64_t> slice_starts{0};
  for (const Patches* slice : slices)
    slice_starts.push_back(slice_starts.back() + int64_t{slice->h} * slice->w);

  Tensor x = embeddings(ctx, slices);
  ctx.trace("vision.embeddings", x);
  for (size_t i = 0; i < weights_.layers.size(); ++i) {
    layer(ctx, weights_.layers[i], x, slice_starts);
    if (ctx.tracing()) ctx.trace(fmt::format("vision.layer{}", i), x);
  }
  ctx.backend.layer_norm(x, x, weights_.norm, weights_.norm_bias, config_.layer_norm_eps);
  ctx.trace("vision.output", x);
  return x;
}

}  // namespace minicpm

#include "models/resampler.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace minicpm {
namespace {

constexpr int64_t kHeadDim = 128;  // the official code derives the head count from it

using C = ResamplerConfig;
using W = ResamplerWeights;

// clang-format off
constexpr TensorRow<C, W> kResamplerTensors[] = {
    // field             name in safetensors     name in GGUF        shape                             role
    {&W::query,         "query",                "query",            {&C::query_num, &C::embed_dim},   Role::kTable},
    {&W::kv_proj,       "kv_proj.weight",       "kv.weight",        {&C::embed_dim, &C::vision_dim}},
    {&W::q,             "attn.in_proj_weight",  "attn.q.weight",    {&C::embed_dim, &C::embed_dim},   Role::kLinear, Presence::kRequired, Layout::kFirstThird},
    {&W::k,             "attn.in_proj_weight",  "attn.k.weight",    {&C::embed_dim, &C::embed_dim},   Role::kLinear, Presence::kRequired, Layout::kSecondThird},
    {&W::v,             "attn.in_proj_weight",  "attn.v.weight",    {&C::embed_dim, &C::embed_dim},   Role::kLinear, Presence::kRequired, Layout::kLastThird},
    {&W::q_bias,        "attn.in_proj_bias",    "attn.q.bias",      {&C::embed_dim},                  Role::kVector, Presence::kRequired, Layout::kFirstThird},
    {&W::k_bias,        "attn.in_proj_bias",    "attn.k.bias",      {&C::embed_dim},                  Role::kVector, Presence::kRequired, Layout::kSecondThird},
    {&W::v_bias,        "attn.in_proj_bias",    "attn.v.bias",      {&C::embed_dim},                  Role::kVector, Presence::kRequired, Layout::kLastThird},
    {&W::out,           "attn.out_proj.weight", "attn.out.weight",  {&C::embed_dim, &C::embed_dim}},
    {&W::out_bias,      "attn.out_proj.bias",   "attn.out.bias",    {&C::embed_dim}},
    {&W::ln_q,          "ln_q.weight",          "ln_q.weight",      {&C::embed_dim}},
    {&W::ln_q_bias,     "ln_q.bias",            "ln_q.bias",        {&C::embed_dim}},
    {&W::ln_kv,         "ln_kv.weight",         "ln_kv.weight",     {&C::embed_dim}},
    {&W::ln_kv_bias,    "ln_kv.bias",           "ln_kv.bias",       {&C::embed_dim}},
    {&W::ln_post,       "ln_post.weight",       "ln_post.weight",   {&C::embed_dim}},
    {&W::ln_post_bias,  "ln_post.bias",         "ln_post.bias",     {&C::embed_dim}},
    {&W::proj,          "proj",                 "proj.weight",      {&C::embed_dim, &C::embed_dim},   Role::kLinear, Presence::kRequired, Layout::kTransposed},
};
// clang-format on

/// out[0..2n) = [sin(position * w), cos(position * w)], w_j = 10000^(-j/n): all in f32, as the reference's tables.
void sincos(float position, int64_t n, float* out) {
  for (int64_t j = 0; j < n; ++j) {
    const float omega = 1.0f / std::pow(10000.0f, static_cast<float>(j) / static_cast<float>(n));
    const float angle = position * omega;
    out[j] = std::sin(angle);
    out[n + j] = std::cos(angle);
  }
}

}  // namespace

std::span<const TensorRow<ResamplerConfig, ResamplerWeights>> resampler_tensors() {
  return kResamplerTensors;
}

void ResamplerConfig::finish(std::string_view source) {
  if (embed_dim < kHeadDim || embed_dim % kHeadDim != 0) {
    fail(ErrorCode::kBadFile, "{}: resampler: width {} is no multiple of {}", source, embed_dim, kHeadDim);
  }
  if (query_num < 1 || query_num > 65536) {
    fail(ErrorCode::kBadFile, "{}: resampler: {} queries is out of range", source, query_num);
  }
  num_heads = embed_dim / kHeadDim;
}

Resampler::Resampler(ResamplerConfig config, ResamplerWeights weights)
    : config_(std::move(config)), weights_(std::move(weights)) {}

// Keys carry where a patch lies: the first half of the channels encodes the column, the second the row, and the frame's
// time is added over all channels.
Tensor Resampler::key_positions(Context& ctx, std::span<const ResamplerGroup> groups, int64_t rows) const {
  const int64_t dim = config_.embed_dim;
  Tensor positions = ctx.arena.tensor(DType::kF32, {rows, dim});
  int64_t side = 0;
  for (const ResamplerGroup& group : groups) {
    for (const PatchGrid& grid : group.slices)
      side = std::max<int64_t>({side, grid.h, grid.w});
  }
  std::vector<float> line(side * dim / 2);  // the table of one axis: row p holds position p
  for (int64_t p = 0; p < side; ++p)
    sincos(static_cast<float>(p), dim / 4, line.data() + p * dim / 2);

  std::vector<float> time(dim);
  int64_t row = 0;
  for (const ResamplerGroup& group : groups) {
    for (size_t s = 0; s < group.slices.size(); ++s) {
      const PatchGrid& grid = group.slices[s];
      const int32_t frame = group.frame_ids.empty() ? -1 : group.frame_ids[s];
      if (frame >= 0) sincos(static_cast<float>(frame), dim / 2, time.data());
      for (int y = 0; y < grid.h; ++y) {
        for (int x = 0; x < grid.w; ++x, ++row) {
          float* out = positions.f32_row(row);
          std::memcpy(out, line.data() + x * dim / 2, dim / 2 * sizeof(float));
          std::memcpy(out + dim / 2, line.data() + y * dim / 2, dim / 2 * sizeof(float));
          if (frame < 0) continue;
          for (int64_t i = 0; i < dim; ++i)
            out[i] += time[i];
        }
      }
    }
  }
  MINICPM_CHECK(row == rows);
  return positions;
}

Tensor Resampler::forward(Context& ctx, Tensor features, std::span<const ResamplerGroup> groups) const {
  const auto& w = weights_;
  const auto num_groups = static_cast<int64_t>(groups.size());
  const int64_t rows = features.rows();
  Tensor out = ctx.arena.tensor(DType::kF32, {num_groups * config_.query_num, config_.embed_dim});
  {
    ArenaScope scratch(ctx.arena);
    // k = ln_kv(kv_proj(features)) + positions, v = ln_kv(kv_proj(features)), q = ln_q(query)
    const Tensor x =
        ops::layer_norm(ctx, ops::linear(ctx, features, w.kv_proj), w.ln_kv, w.ln_kv_bias, config_.layer_norm_eps);
    const Tensor v = ops::split_heads(ops::linear(ctx, x, w.v, w.v_bias), kHeadDim);
    ops::accumulate(ctx, x, key_positions(ctx, groups, rows));
    const Tensor k = ops::split_heads(ops::linear(ctx, x, w.k, w.k_bias), kHeadDim);
    const Tensor query = ops::layer_norm(ctx, w.query, w.ln_q, w.ln_q_bias, config_.layer_norm_eps);
    const Tensor one_q = ops::linear(ctx, query, w.q, w.q_bias);

    // The same queries attend once per group, over the patches of all its slices.
    std::vector<int64_t> q_rows, q_starts{0}, k_starts{0};
    for (const ResamplerGroup& group : groups) {
      for (int64_t i = 0; i < config_.query_num; ++i)
        q_rows.push_back(i);
      q_starts.push_back(q_starts.back() + config_.query_num);
      int64_t patches = 0;
      for (const PatchGrid& grid : group.slices)
        patches += int64_t{grid.h} * grid.w;
      k_starts.push_back(k_starts.back() + patches);
    }
    const Tensor q = ops::split_heads(ops::gather_rows(ctx, one_q, q_rows), kHeadDim);
    const float scale = 1.0f / std::sqrt(static_cast<float>(kHeadDim));
    const Tensor a = ops::merge_heads(ops::attention(ctx, q, k, v, q_starts, k_starts, scale));

    // y = ln_post(out_proj(a)) @ proj
    const Tensor o =
        ops::layer_norm(ctx, ops::linear(ctx, a, w.out, w.out_bias), w.ln_post, w.ln_post_bias, config_.layer_norm_eps);
    const LinearTarget target{out, w.proj, {}};
    ctx.backend.linear({&target, 1}, o, ctx.precision);
  }
  const Tensor result = out.reshape({num_groups, config_.query_num, config_.embed_dim});
  ctx.trace("resampler", result);
  return result;
}

}  // namespace minicpm

// Operations that models are written in: eager functions over views. Each checks shapes, takes its result from the
// context's arena and calls the backend. Names are torch.nn.functional's. Activations are f32.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "backend/context.h"

namespace minicpm::ops {

/// A linear layer's parameters: out = x w^T + bias. bias may be undefined.
struct LinearParams {
  Weight w;     // [out, in]
  Tensor bias;  // [out] f32
};

/// Rows of `table` [n, d] by id -> [ids, d]. Requires 0 <= id < n (the caller validated the prompt).
Tensor embedding(Context& ctx, const Weight& table, std::span<const int32_t> ids);

/// x [..., in] -> [..., out].
Tensor linear(Context& ctx, Tensor x, const Weight& w, Tensor bias = {});
Tensor linear(Context& ctx, Tensor x, const LinearParams& params);

/// Several products of the same x [rows, in] in one pass over it.
struct Pair {
  Tensor first, second;
};
struct Triple {
  Tensor first, second, third;
};
Pair linear2(Context& ctx, Tensor x, const LinearParams& a, const LinearParams& b);
Triple linear3(Context& ctx, Tensor x, const LinearParams& a, const LinearParams& b, const LinearParams& c);

/// x / sqrt(mean(x^2) + eps) * w over the last dim, w [d].
Tensor rms_norm(Context& ctx, Tensor x, Tensor w, float eps);
/// In place, for tensors that are not needed afterwards.
void rms_norm_(Context& ctx, Tensor x, Tensor w, float eps);
Tensor layer_norm(Context& ctx, Tensor x, Tensor w, Tensor b, float eps);

/// x += factor * y.
void accumulate(Context& ctx, Tensor x, Tensor y, float factor = 1.0f);
void scale_(Context& ctx, Tensor x, float factor);
/// x[r, :] += row for every r.
void add_row_(Context& ctx, Tensor x, Tensor row);
void gelu_(Context& ctx, Tensor x, Gelu kind);
void relu_(Context& ctx, Tensor x);
/// silu(gate) * up; the result takes gate's memory.
Tensor silu_mul(Context& ctx, Tensor gate, Tensor up);

/// [rows, heads * head_dim] <-> [rows, heads, head_dim]; views.
Tensor split_heads(Tensor x, int64_t head_dim);
Tensor merge_heads(Tensor x);

/// cos and sin of position * inv_freq, times `factor`: [rows, inv_freq.size()] each, angles in f32 as in the reference.
Pair rope_table(Context& ctx, std::span<const int32_t> positions, std::span<const float> inv_freq, float factor = 1.0f);
/// Rotates x [rows, heads, head_dim] in place.
void rope_(Context& ctx, Tensor x, const Pair& cos_sin, RopeStyle style);

void kv_write(Context& ctx, const KvLayer& kv, Tensor k, Tensor v, const Batch& batch);
/// Causal attention over the cache: q [rows, heads, head_dim] -> same shape. `precision` instead of the context's.
Tensor attention(Context& ctx, Tensor q, const KvLayer& kv, const Batch& batch, float scale, Precision precision);
/// Full attention inside groups of rows; see Backend::attention_varlen.
Tensor attention(Context& ctx, Tensor q, Tensor k, Tensor v, std::span<const int64_t> q_starts,
                 std::span<const int64_t> k_starts, float scale);

void scatter_rows(Context& ctx, Tensor dst, std::span<const int64_t> dst_rows, Tensor src);
Tensor gather_rows(Context& ctx, Tensor src, std::span<const int64_t> src_rows);

}  // namespace minicpm::ops

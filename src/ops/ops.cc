#include "ops/ops.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace minicpm::ops {
namespace {

Tensor like(Context& ctx, const Tensor& x) {
  return ctx.arena.tensor(DType::kF32, x.shape());
}

void check_dense(const Tensor& x) {
  MINICPM_CHECK(x.dtype == DType::kF32 && x.rank >= 1 && x.is_contiguous());
}

void check_same_shape(const Tensor& a, const Tensor& b) {
  MINICPM_CHECK(std::ranges::equal(a.shape(), b.shape()));
}

/// The result of x [..., in] times w [out, in]: [..., out].
Tensor linear_result(Context& ctx, const Tensor& x, const LinearParams& p) {
  check_dense(x);
  MINICPM_CHECK(p.w.defined() && x.cols() == p.w.cols());
  MINICPM_CHECK(!p.bias.defined() || p.bias.numel() == p.w.rows());
  std::array<int64_t, kMaxRank> shape{};
  std::copy(x.dims, x.dims + x.rank, shape.begin());
  shape[x.rank - 1] = p.w.rows();
  return ctx.arena.tensor(DType::kF32, std::span<const int64_t>(shape.data(), x.rank));
}

Tensor flat(const Tensor& x) {
  return x.reshape({x.rows(), x.cols()});
}

LinearTarget target(const Tensor& out, const LinearParams& p) {
  return {flat(out), p.w, p.bias};
}

// out += scale * B (A x) where the weight carries an adapter. A and B are taken as they are, so the base may have any
// format.
void add_adapter(Context& ctx, const LinearTarget& target, const Tensor& x) {
  const LowRank& low_rank = *target.w.adapter;
  ArenaScope scratch(ctx.arena);
  const Tensor inner = ctx.arena.tensor(DType::kF32, {x.rows(), low_rank.a.rows()});
  const Tensor delta = ctx.arena.tensor(DType::kF32, {x.rows(), low_rank.b.rows()});
  const LinearTarget down{inner, low_rank.a, {}}, up{delta, low_rank.b, {}};
  ctx.backend.linear({&down, 1}, x, ctx.precision);
  ctx.backend.linear({&up, 1}, inner, ctx.precision);
  ctx.backend.add_scaled(target.out, delta, low_rank.scale);
}

void run(Context& ctx, std::span<const LinearTarget> targets, const Tensor& x) {
  if (x.rows() == 0) return;
  ctx.check_interrupt();
  ctx.backend.linear(targets, x, ctx.precision);
  for (const LinearTarget& target : targets) {
    if (target.w.adapter != nullptr) add_adapter(ctx, target, x);
  }
}

}  // namespace

Tensor embedding(Context& ctx, const Weight& table, std::span<const int32_t> ids) {
  Tensor out = ctx.arena.tensor(DType::kF32, {static_cast<int64_t>(ids.size()), table.cols()});
  if (!ids.empty()) ctx.backend.embedding(out, table, ids);
  return out;
}

Tensor linear(Context& ctx, Tensor x, const LinearParams& params) {
  Tensor out = linear_result(ctx, x, params);
  const LinearTarget targets[] = {target(out, params)};
  run(ctx, targets, flat(x));
  return out;
}

Tensor linear(Context& ctx, Tensor x, const Weight& w, Tensor bias) {
  return linear(ctx, x, LinearParams{w, bias});
}

Pair linear2(Context& ctx, Tensor x, const LinearParams& a, const LinearParams& b) {
  const Pair out{linear_result(ctx, x, a), linear_result(ctx, x, b)};
  const LinearTarget targets[] = {target(out.first, a), target(out.second, b)};
  run(ctx, targets, flat(x));
  return out;
}

Triple linear3(Context& ctx, Tensor x, const LinearParams& a, const LinearParams& b, const LinearParams& c) {
  const Triple out{linear_result(ctx, x, a), linear_result(ctx, x, b), linear_result(ctx, x, c)};
  const LinearTarget targets[] = {target(out.first, a), target(out.second, b), target(out.third, c)};
  run(ctx, targets, flat(x));
  return out;
}

Tensor rms_norm(Context& ctx, Tensor x, Tensor w, float eps) {
  check_dense(x);
  MINICPM_CHECK(w.numel() == x.cols());
  Tensor out = like(ctx, x);
  ctx.backend.rms_norm(out, x, w, eps);
  return out;
}

void rms_norm_(Context& ctx, Tensor x, Tensor w, float eps) {
  check_dense(x);
  MINICPM_CHECK(w.numel() == x.cols());
  ctx.backend.rms_norm(x, x, w, eps);
}

Tensor layer_norm(Context& ctx, Tensor x, Tensor w, Tensor b, float eps) {
  check_dense(x);
  MINICPM_CHECK(w.numel() == x.cols() && b.numel() == x.cols());
  Tensor out = like(ctx, x);
  ctx.backend.layer_norm(out, x, w, b, eps);
  return out;
}

void accumulate(Context& ctx, Tensor x, Tensor y, float factor) {
  check_dense(x);
  check_dense(y);
  MINICPM_CHECK(x.numel() == y.numel());
  if (factor == 1.0f) {
    ctx.backend.add(x, y);
  } else {
    ctx.backend.add_scaled(x, y, factor);
  }
}

void scale_(Context& ctx, Tensor x, float factor) {
  check_dense(x);
  ctx.backend.scale(x, factor);
}

void add_row_(Context& ctx, Tensor x, Tensor row) {
  check_dense(x);
  MINICPM_CHECK(row.numel() == x.cols());
  ctx.backend.add_row(x, row);
}

void gelu_(Context& ctx, Tensor x, Gelu kind) {
  check_dense(x);
  ctx.backend.gelu(x, kind);
}

void relu_(Context& ctx, Tensor x) {
  check_dense(x);
  ctx.backend.relu(x);
}

Tensor silu_mul(Context& ctx, Tensor gate, Tensor up) {
  check_dense(gate);
  check_same_shape(gate, up);
  ctx.backend.silu_mul(gate, gate, up);
  return gate;
}

Tensor split_heads(Tensor x, int64_t head_dim) {
  MINICPM_CHECK(x.cols() % head_dim == 0);
  return x.reshape({x.rows(), x.cols() / head_dim, head_dim});
}

Tensor merge_heads(Tensor x) {
  MINICPM_CHECK(x.rank == 3);
  return x.reshape({x.dims[0], x.dims[1] * x.dims[2]});
}

Pair rope_table(Context& ctx, std::span<const int32_t> positions, std::span<const float> inv_freq, float factor) {
  const auto rows = static_cast<int64_t>(positions.size());
  const auto width = static_cast<int64_t>(inv_freq.size());
  const Pair table{ctx.arena.tensor(DType::kF32, {rows, width}), ctx.arena.tensor(DType::kF32, {rows, width})};
  for (int64_t r = 0; r < rows; ++r) {
    float* cos_row = table.first.f32_row(r);
    float* sin_row = table.second.f32_row(r);
    for (int64_t i = 0; i < width; ++i) {
      const float angle = static_cast<float>(positions[r]) * inv_freq[i];
      cos_row[i] = std::cos(angle) * factor;
      sin_row[i] = std::sin(angle) * factor;
    }
  }
  return table;
}

void rope_(Context& ctx, Tensor x, const Pair& cos_sin, RopeStyle style) {
  check_dense(x);
  MINICPM_CHECK(x.rank == 3 && cos_sin.first.dims[0] == x.dims[0] && 2 * cos_sin.first.dims[1] <= x.dims[2]);
  ctx.backend.rope(x, cos_sin.first, cos_sin.second, style);
}

void kv_write(Context& ctx, const KvLayer& kv, Tensor k, Tensor v, const Batch& batch) {
  check_dense(k);
  check_same_shape(k, v);
  MINICPM_CHECK(k.rank == 3 && k.dims[0] == batch.rows() && k.dims[1] == kv.kv_heads && k.dims[2] == kv.head_dim);
  ctx.backend.kv_write(kv, k, v, batch);
}

Tensor attention(Context& ctx, Tensor q, const KvLayer& kv, const Batch& batch, float scale, Precision precision) {
  check_dense(q);
  MINICPM_CHECK(q.rank == 3 && q.dims[0] == batch.rows() && q.dims[2] == kv.head_dim && q.dims[1] % kv.kv_heads == 0);
  Tensor out = like(ctx, q);
  ctx.backend.attention_paged(out, q, kv, batch, scale, precision);
  return out;
}

Tensor attention(Context& ctx, Tensor q, Tensor k, Tensor v, std::span<const int64_t> q_starts,
                 std::span<const int64_t> k_starts, float scale) {
  MINICPM_CHECK(q.rank == 3 && k.rank == 3 && q.dims[1] == k.dims[1] && q.dims[2] == k.dims[2]);
  check_same_shape(k, v);
  MINICPM_CHECK(q_starts.size() == k_starts.size() && q_starts.back() == q.dims[0] && k_starts.back() == k.dims[0]);
  Tensor out = like(ctx, q);
  ctx.backend.attention_varlen(out, q, k, v, q_starts, k_starts, scale, ctx.precision);
  return out;
}

void scatter_rows(Context& ctx, Tensor dst, std::span<const int64_t> dst_rows, Tensor src) {
  check_dense(dst);
  check_dense(src);
  MINICPM_CHECK(src.rows() == static_cast<int64_t>(dst_rows.size()) && src.cols() == dst.cols());
  if (!dst_rows.empty()) ctx.backend.scatter_rows(dst, dst_rows, src);
}

Tensor gather_rows(Context& ctx, Tensor src, std::span<const int64_t> src_rows) {
  check_dense(src);
  Tensor out = ctx.arena.tensor(DType::kF32, {static_cast<int64_t>(src_rows.size()), src.cols()});
  if (!src_rows.empty()) ctx.backend.gather_rows(out, src, src_rows);
  return out;
}

}  // namespace minicpm::ops

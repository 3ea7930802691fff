#include "models/convolution.h"

#include <algorithm>

namespace minicpm {
namespace {

constexpr float kNormEps = 1e-6f;

Tensor depthwise(Context& ctx, const ConvNextWeights& w, Tensor x, int64_t dilation) {
  const int64_t n = x.dim(0), dim = x.dim(1), kernel = w.depthwise.numel() / dim;
  const int64_t padding = dilation * (kernel / 2);
  Tensor y = ctx.arena.tensor(DType::kF32, {n, dim});
  for (int64_t t = 0; t < n; ++t) {
    float* to = y.f32_row(t);
    std::copy_n(w.depthwise_bias.f32(), dim, to);
    for (int64_t k = 0; k < kernel; ++k) {
      const int64_t from = t + k * dilation - padding;
      if (from < 0 || from >= n) continue;
      const float *row = x.f32_row(from), *tap = w.depthwise.f32() + k;
      for (int64_t c = 0; c < dim; ++c)
        to[c] += row[c] * tap[c * kernel];
    }
  }
  return y;
}

}  // namespace

Tensor conv1d(Context& ctx, Tensor x, const Weight& w, Tensor bias, int64_t stride, int64_t padding) {
  const int64_t n = x.dim(0), channels = x.dim(1), kernel = w.dims[2];
  MINICPM_CHECK(w.rank == 3 && w.dims[1] == channels && n + 2 * padding >= kernel);
  const int64_t rows = (n + 2 * padding - kernel) / stride + 1;
  Tensor y = ctx.arena.tensor(DType::kF32, {rows, w.dims[0]});
  ArenaScope scratch(ctx.arena);
  // What each output sees, in the order of its weights; then a linear layer.
  Tensor columns = ctx.arena.tensor(DType::kF32, {rows, channels * kernel});
  for (int64_t t = 0; t < rows; ++t) {
    float* to = columns.f32_row(t);
    for (int64_t k = 0; k < kernel; ++k) {
      const int64_t from = t * stride + k - padding;
      const float* row = from >= 0 && from < n ? x.f32_row(from) : nullptr;
      for (int64_t c = 0; c < channels; ++c)
        to[c * kernel + k] = row != nullptr ? row[c] : 0.0f;
    }
  }
  const LinearTarget target{y, w, bias};
  ctx.backend.linear({&target, 1}, columns, ctx.precision);
  return y;
}

void convnext_(Context& ctx, const ConvNextWeights& w, Tensor x, int64_t dilation) {
  ArenaScope scratch(ctx.arena);
  Tensor h = ops::layer_norm(ctx, depthwise(ctx, w, x, dilation), w.norm, w.norm_bias, kNormEps);
  h = ops::linear(ctx, h, w.expand, w.expand_bias);
  ops::gelu_(ctx, h, Gelu::kErf);
  h = ops::linear(ctx, h, w.contract, w.contract_bias);
  for (int64_t t = 0; t < x.dim(0); ++t) {
    for (int64_t c = 0; c < x.dim(1); ++c)
      x.f32_row(t)[c] += w.scale.f32()[c] * h.f32_row(t)[c];
  }
}

}  // namespace minicpm

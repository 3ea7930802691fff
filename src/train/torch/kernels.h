// Fused element-wise loops of training on the CPU, forward and backward. The library's own bf16 element-wise kernels
// take longer than the matrix products between them; these read and write each value once. All work on contiguous rows;
// a range of rows is one task of a parallel loop. Sums are in f32, variances in two passes.
#pragma once

#include <cstdint>

namespace minicpm::train {

/// The upper half of an f32, as torch stores BFloat16. A plain integer: compilers vectorise no loops over class types.
using Bf16 = uint16_t;

/// y = (x - mean) * rstd * w + b over rows [begin, end) of d elements; keeps mean and rstd of each row.
template <typename X, typename Y>
void layer_norm(const X* x, const float* w, const float* b, Y* y, float* mean, float* rstd, int64_t begin, int64_t end,
                int64_t d, float eps);
/// dx, and this task's share of dw and db, which are added to.
template <typename X, typename Y>
void layer_norm_backward(const Y* dy, const X* x, const float* w, const float* mean, const float* rstd, X* dx,
                         float* dw, float* db, int64_t begin, int64_t end, int64_t d);

/// y = x * rstd * w, rstd = 1 / sqrt(mean(x^2) + eps).
template <typename X, typename Y>
void rms_norm(const X* x, const float* w, Y* y, float* rstd, int64_t begin, int64_t end, int64_t d, float eps);
template <typename X, typename Y>
void rms_norm_backward(const Y* dy, const X* x, const float* w, const float* rstd, X* dx, float* dw, int64_t begin,
                       int64_t end, int64_t d);

/// GELU in its tanh form over elements [begin, end).
template <typename T>
void gelu(const T* x, T* y, int64_t begin, int64_t end);
template <typename T>
void gelu_backward(const T* dy, const T* x, T* dx, int64_t begin, int64_t end);

/// y = silu(gate) * up.
template <typename T>
void silu_mul(const T* gate, const T* up, T* y, int64_t begin, int64_t end);
template <typename T>
void silu_mul_backward(const T* dy, const T* gate, const T* up, T* dgate, T* dup, int64_t begin, int64_t end);

/// What a row of scores sees of its columns.
struct Visible {
  /// Rows of one sequence, if a row sees only so far: row r the columns up to the end of its piece of `chunk` rows,
  /// those of r % length counted from the last `length` columns. Pieces of one row are causal attention. 0: all
  /// columns.
  int64_t length = 0;
  int64_t chunk = 1;
  /// For causal rows only and may be null: pairs [from, to) of columns that are not seen either; row r has pair
  /// (r / sequence_rows) * length + r % length.
  const int64_t* hidden = nullptr;
  int64_t sequence_rows = 0;
};
/// Rows of scores become softmax(scale * row) in place; columns that are not seen become 0.
template <typename T>
void softmax(T* s, int64_t begin, int64_t end, int64_t columns, float scale, const Visible& visible);
/// ds = scale * p * (dp - sum(dp * p)), written over dp.
template <typename T>
void softmax_backward(const T* p, T* dp, int64_t begin, int64_t end, int64_t columns, float scale);

/// Rotates pairs (i, i + head_dim / 2) of x [rows, heads, head_dim] by the row's angles cos, sin [rows, head_dim / 2];
/// sign -1 turns back.
template <typename T>
void rope(const T* x, const float* cos, const float* sin, T* y, int64_t begin, int64_t end, int64_t heads,
          int64_t head_dim, float sign);

/// out = x + y, x and out f32.
template <typename T>
void add(const float* x, const T* y, float* out, int64_t begin, int64_t end);

/// x[r, :] += bias for rows [begin, end).
template <typename T>
void add_bias(T* x, const float* bias, int64_t begin, int64_t end, int64_t columns);

/// Sums of columns [begin, end) over all rows of x [rows, columns].
template <typename T>
void column_sums(const T* x, float* sums, int64_t rows, int64_t columns, int64_t begin, int64_t end);

/// -log softmax(logits)[target] of each row with target >= 0 and its gradient times weight; rows with a negative target
/// give 0. `hit` tells whether the target has the largest logit.
template <typename T>
void cross_entropy(const T* logits, const int64_t* target, const float* weight, T* gradient, float* loss, uint8_t* hit,
                   int64_t begin, int64_t end, int64_t classes);

/// One step of AdamW (decoupled decay): moments m, v; corrections are 1 - beta^t.
struct AdamW {
  float rate, beta1, beta2, eps, decay, correction1, correction2;
};
void adamw(float* w, const float* g, float* m, float* v, int64_t begin, int64_t end, float gradient_scale,
           const AdamW& step);

/// Momentum of Muon: g *= gradient_scale, m = momentum * m + g, out = g + momentum * m.
void muon_momentum(const float* g, float* m, float* out, int64_t begin, int64_t end, float gradient_scale,
                   float momentum);
/// w = keep * w - rate * update.
void muon_apply(float* w, const float* update, int64_t begin, int64_t end, float keep, float rate);
/// out = b * x + c * y, plus `a` on the diagonal: rows [begin, end) of n x n matrices that lie one after another.
void diagonal_sum(const Bf16* x, const Bf16* y, Bf16* out, int64_t begin, int64_t end, int64_t n, float a, float b,
                  float c);

}  // namespace minicpm::train

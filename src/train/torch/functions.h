// Differentiable operations of the models, in the compute type of their input (f32 or bf16; double for gradient
// checks). On the CPU they run as fused loops, elsewhere as torch's own operations. Parameters stay in f32 (or double)
// whatever the compute type. Names are torch.nn.functional's.
#pragma once

#include <torch/torch.h>

#include <vector>

namespace minicpm::train {

using at::Tensor;

/// `count` sequences of equal lengths, one after another in the packed rows.
struct Run {
  int64_t count = 0;
  int64_t q_start = 0, q_len = 0;  // rows of q: [q_start, q_start + count * q_len)
  int64_t k_start = 0, k_len = 0;
};

namespace fn {

/// x [..., in] w [out, in] -> [..., out]; bias may be undefined. The product is in x's type.
Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias = {});

/// Over the last dim; the result has type `out`.
Tensor layer_norm(const Tensor& x, const Tensor& w, const Tensor& b, double eps, at::ScalarType out);
Tensor rms_norm(const Tensor& x, const Tensor& w, double eps, at::ScalarType out);

/// GELU in its tanh form.
Tensor gelu(const Tensor& x);
/// GELU by the error function.
Tensor gelu_erf(const Tensor& x);
/// silu(gate) * up.
Tensor silu_mul(const Tensor& gate, const Tensor& up);

/// Rotates x [rows, heads, head_dim] by angles given as cos, sin [rows, head_dim / 2].
Tensor rope(const Tensor& x, const Tensor& cos, const Tensor& sin);

/// Residual stream x (f32, or double) plus a branch y in the compute type.
Tensor add(const Tensor& x, const Tensor& y);

/// Rows of x [rows, ...] by number, each at most once: index [n] int64 -> [n, ...].
Tensor select_rows(const Tensor& x, const Tensor& index);

/// softmax(scale q k^T) v inside each sequence: q [q_rows, heads, head_dim], k and v [k_rows, kv_heads, head_dim] ->
/// [q_rows, heads, head_dim]. Query heads share key heads in order. `chunk` > 0 needs q_len == k_len: a row sees the
/// piece of so many rows that it is in and all before it; 1 is causal attention, 0 sees everything. `hidden` [q_rows,
/// 2] int64, for causal attention only and may be undefined: the keys [from, to) of its sequence that a row does not
/// see, none of them after the row's own.
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const std::vector<Run>& runs, double scale,
                 int64_t chunk, const Tensor& hidden = {});

struct Loss {
  Tensor value;  // scalar: sum over rows of weight * -log p(target)
  Tensor hit;    // [rows] bool: the target has the largest logit
};
/// logits [rows, classes], target [rows] int64 (negative: ignored), weight [rows] f32.
Loss cross_entropy(const Tensor& logits, const Tensor& target, const Tensor& weight);

}  // namespace fn
}  // namespace minicpm::train

#include "train/torch/functions.h"

#include <ATen/Parallel.h>

#include <cstring>

#include "train/torch/kernels.h"

#ifndef INTRA_OP_PARALLEL
#error "at::parallel_for runs on one thread unless this is compiled with OpenMP"
#endif

namespace minicpm::train {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

bool fused(const Tensor& x) {
  return x.device().is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

/// Runs body(T*) with the element type of a fused tensor.
template <typename Body>
void with_type(at::ScalarType type, Body body) {
  if (type == at::kFloat) {
    body(float{});
  } else {
    body(Bf16{});
  }
}
/// The pairs of input and output types that norms come in.
template <typename Body>
void with_types(at::ScalarType x, at::ScalarType y, Body body) {
  if (x == at::kFloat && y == at::kFloat) body(float{}, float{});
  if (x == at::kFloat && y == at::kBFloat16) body(float{}, Bf16{});
  if (x == at::kBFloat16) body(Bf16{}, Bf16{});
}
template <typename T>
T* ptr(const Tensor& x) {
  return static_cast<T*>(x.data_ptr());
}
float* f32(const Tensor& x) {
  return x.data_ptr<float>();
}

constexpr int64_t kRowsPerTask = 64;
constexpr int64_t kElementsPerTask = 1 << 15;

/// Gradients of norm parameters are summed over rows by each of a fixed number of parts, then over the parts in order:
/// the same bits whatever thread took which part.
constexpr int64_t kNormParts = 8;
template <typename Body>
void in_parts(int64_t rows, Body body) {
  const int64_t per_part = (rows + kNormParts - 1) / kNormParts;
  at::parallel_for(0, kNormParts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part)
      body(part, std::min(rows, part * per_part), std::min(rows, (part + 1) * per_part));
  });
}

struct LinearFunction : Function<LinearFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& w, const c10::optional<Tensor>& bias) {
    const Tensor typed = w.to(x.scalar_type());
    ctx->save_for_backward({x, typed});
    ctx->saved_data["bias"] = bias.has_value();
    Tensor y = at::linear(x, typed);
    if (bias.has_value()) {
      const int64_t columns = y.size(-1);
      with_type(y.scalar_type(), [&](auto type) {
        at::parallel_for(0, y.numel() / columns, kRowsPerTask, [&](int64_t begin, int64_t end) {
          add_bias(ptr<decltype(type)>(y), f32(*bias), begin, end, columns);
        });
      });
    }
    return y;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &w = saved[1];
    const Tensor dy = grads[0].contiguous().reshape({-1, w.size(0)});
    Tensor dx, dw, db;
    if (ctx->needs_input_grad(0)) dx = at::mm(dy, w).reshape(x.sizes());
    if (ctx->needs_input_grad(1)) dw = at::mm(dy.t(), x.reshape({-1, w.size(1)})).to(at::kFloat);
    if (ctx->saved_data["bias"].toBool() && ctx->needs_input_grad(2)) {
      db = at::empty({w.size(0)}, at::kFloat);
      with_type(dy.scalar_type(), [&](auto type) {
        using T = decltype(type);
        const int64_t half = (w.size(0) / 2 + 15) / 16 * 16;
        at::parallel_for(0, w.size(0), half, [&](int64_t begin, int64_t end) {
          column_sums(ptr<T>(dy), f32(db), dy.size(0), dy.size(1), begin, end);
        });
      });
    }
    return {dx, dw, db};
  }
};

struct LayerNormFunction : Function<LayerNormFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& w, const Tensor& b, double eps,
                        int64_t out) {
    const auto type = static_cast<at::ScalarType>(out);
    const int64_t d = x.size(-1), rows = x.numel() / d;
    Tensor y = at::empty(x.sizes(), type), mean = at::empty({rows}, at::kFloat), rstd = at::empty({rows}, at::kFloat);
    with_types(x.scalar_type(), type, [&](auto tx, auto ty) {
      at::parallel_for(0, rows, kRowsPerTask, [&](int64_t begin, int64_t end) {
        layer_norm(ptr<decltype(tx)>(x), f32(w), f32(b), ptr<decltype(ty)>(y), f32(mean), f32(rstd), begin, end, d,
                   static_cast<float>(eps));
      });
    });
    ctx->save_for_backward({x, w, mean, rstd});
    return y;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &w = saved[1];
    const Tensor dy = grads[0].contiguous();
    const int64_t d = x.size(-1), rows = x.numel() / d;
    Tensor dx = at::empty_like(x), dw = at::zeros({kNormParts, d}, at::kFloat), db = at::zeros_like(dw);
    with_types(x.scalar_type(), dy.scalar_type(), [&](auto tx, auto ty) {
      in_parts(rows, [&](int64_t part, int64_t begin, int64_t end) {
        layer_norm_backward(ptr<decltype(ty)>(dy), ptr<decltype(tx)>(x), f32(w), f32(saved[2]), f32(saved[3]),
                            ptr<decltype(tx)>(dx), f32(dw) + part * d, f32(db) + part * d, begin, end, d);
      });
    });
    return {dx, dw.sum(0), db.sum(0), Tensor(), Tensor()};
  }
};

struct RmsNormFunction : Function<RmsNormFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& w, double eps, int64_t out) {
    const auto type = static_cast<at::ScalarType>(out);
    const int64_t d = x.size(-1), rows = x.numel() / d;
    Tensor y = at::empty(x.sizes(), type), rstd = at::empty({rows}, at::kFloat);
    with_types(x.scalar_type(), type, [&](auto tx, auto ty) {
      at::parallel_for(0, rows, kRowsPerTask, [&](int64_t begin, int64_t end) {
        rms_norm(ptr<decltype(tx)>(x), f32(w), ptr<decltype(ty)>(y), f32(rstd), begin, end, d, static_cast<float>(eps));
      });
    });
    ctx->save_for_backward({x, w, rstd});
    return y;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &w = saved[1];
    const Tensor dy = grads[0].contiguous();
    const int64_t d = x.size(-1), rows = x.numel() / d;
    Tensor dx = at::empty_like(x), dw = at::zeros({kNormParts, d}, at::kFloat);
    with_types(x.scalar_type(), dy.scalar_type(), [&](auto tx, auto ty) {
      in_parts(rows, [&](int64_t part, int64_t begin, int64_t end) {
        rms_norm_backward(ptr<decltype(ty)>(dy), ptr<decltype(tx)>(x), f32(w), f32(saved[2]), ptr<decltype(tx)>(dx),
                          f32(dw) + part * d, begin, end, d);
      });
    });
    return {dx, dw.sum(0), Tensor(), Tensor()};
  }
};

struct GeluFunction : Function<GeluFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x) {
    Tensor y = at::empty_like(x);
    with_type(x.scalar_type(), [&](auto type) {
      using T = decltype(type);
      at::parallel_for(0, x.numel(), kElementsPerTask,
                       [&](int64_t begin, int64_t end) { gelu(ptr<T>(x), ptr<T>(y), begin, end); });
    });
    ctx->save_for_backward({x});
    return y;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const Tensor x = ctx->get_saved_variables()[0], dy = grads[0].contiguous();
    Tensor dx = at::empty_like(x);
    with_type(x.scalar_type(), [&](auto type) {
      using T = decltype(type);
      at::parallel_for(0, x.numel(), kElementsPerTask, [&](int64_t begin, int64_t end) {
        gelu_backward(ptr<T>(dy), ptr<T>(x), ptr<T>(dx), begin, end);
      });
    });
    return {dx};
  }
};

struct SiluMulFunction : Function<SiluMulFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& gate, const Tensor& up) {
    Tensor y = at::empty_like(gate);
    with_type(gate.scalar_type(), [&](auto type) {
      using T = decltype(type);
      at::parallel_for(0, y.numel(), kElementsPerTask,
                       [&](int64_t begin, int64_t end) { silu_mul(ptr<T>(gate), ptr<T>(up), ptr<T>(y), begin, end); });
    });
    ctx->save_for_backward({gate, up});
    return y;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor dy = grads[0].contiguous();
    Tensor dgate = at::empty_like(saved[0]), dup = at::empty_like(saved[1]);
    with_type(dy.scalar_type(), [&](auto type) {
      using T = decltype(type);
      at::parallel_for(0, dy.numel(), kElementsPerTask, [&](int64_t begin, int64_t end) {
        silu_mul_backward(ptr<T>(dy), ptr<T>(saved[0]), ptr<T>(saved[1]), ptr<T>(dgate), ptr<T>(dup), begin, end);
      });
    });
    return {dgate, dup};
  }
};

Tensor rotate(const Tensor& x, const Tensor& cos, const Tensor& sin, float sign) {
  Tensor y = at::empty_like(x);
  with_type(x.scalar_type(), [&](auto type) {
    using T = decltype(type);
    at::parallel_for(0, x.size(0), kRowsPerTask, [&](int64_t begin, int64_t end) {
      rope(ptr<T>(x), f32(cos), f32(sin), ptr<T>(y), begin, end, x.size(1), x.size(2), sign);
    });
  });
  return y;
}

struct RopeFunction : Function<RopeFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& cos, const Tensor& sin) {
    ctx->save_for_backward({cos, sin});
    return rotate(x, cos, sin, 1);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    return {rotate(grads[0].contiguous(), saved[0], saved[1], -1), Tensor(), Tensor()};
  }
};

struct AddFunction : Function<AddFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& y) {
    ctx->saved_data["type"] = static_cast<int64_t>(y.scalar_type());
    Tensor out = at::empty_like(x);
    with_type(y.scalar_type(), [&](auto type) {
      using T = decltype(type);
      at::parallel_for(0, x.numel(), kElementsPerTask,
                       [&](int64_t begin, int64_t end) { add(f32(x), ptr<T>(y), f32(out), begin, end); });
    });
    return out;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    return {grads[0], grads[0].to(static_cast<at::ScalarType>(ctx->saved_data["type"].toInt()))};
  }
};

/// Rows [start, start + count * len) of x [rows, heads, d] <-> [count * groups, heads / groups * len, d]: the heads of
/// one group lie one after another, as softmax rows that share keys. Torch's own permuted copies of bf16 take as long
/// as the products between them.
template <typename Copy>
void each_head(const Tensor& x, int64_t count, int64_t len, Copy copy) {
  const int64_t heads = x.size(1), row = heads * x.size(2) * x.element_size();
  const auto bytes = static_cast<size_t>(x.size(2) * x.element_size());
  at::parallel_for(0, count * heads, 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t sequence = i / heads, head = i % heads;
      for (int64_t t = 0; t < len; ++t)
        copy((sequence * len + t) * row + head * static_cast<int64_t>(bytes),
             (i * len + t) * static_cast<int64_t>(bytes), bytes);
    }
  });
}
Tensor gather_heads(const Tensor& x, int64_t start, int64_t count, int64_t len, int64_t groups) {
  Tensor result = at::empty({count * groups, x.size(1) / groups * len, x.size(2)}, x.options());
  const char* from = static_cast<const char*>(x.data_ptr()) + start * x.stride(0) * x.element_size();
  char* to = static_cast<char*>(result.data_ptr());
  each_head(x, count, len, [&](int64_t packed, int64_t split, size_t n) { std::memcpy(to + split, from + packed, n); });
  return result;
}
void scatter_heads(const Tensor& split_heads, Tensor& x, int64_t start, int64_t count, int64_t len) {
  const Tensor contiguous = split_heads.contiguous();
  const char* from = static_cast<const char*>(contiguous.data_ptr());
  char* to = static_cast<char*>(x.data_ptr()) + start * x.stride(0) * x.element_size();
  each_head(x, count, len, [&](int64_t packed, int64_t split, size_t n) { std::memcpy(to + packed, from + split, n); });
}

struct AttentionFunction : Function<AttentionFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& q, const Tensor& k, const Tensor& v,
                        const std::vector<int64_t>& runs, double scale, int64_t chunk,
                        const c10::optional<Tensor>& hidden) {
    Tensor out = at::empty_like(q);
    const int64_t groups = k.size(1);
    variable_list saved;
    for (size_t i = 0; i + 5 <= runs.size(); i += 5) {
      const int64_t *r = runs.data() + i, n = r[0];
      const Tensor qs = gather_heads(q, r[1], n, r[2], groups), ks = gather_heads(k, r[3], n, r[4], groups),
                   vs = gather_heads(v, r[3], n, r[4], groups);
      const Tensor p = at::bmm(qs, ks.transpose(1, 2));  // [n * groups, heads_per_group * q_len, k_len]
      const int64_t* ranges = hidden.has_value() ? hidden->data_ptr<int64_t>() + 2 * r[1] : nullptr;
      const Visible visible{chunk > 0 ? r[2] : 0, std::max<int64_t>(chunk, 1), ranges, q.size(1) * r[2]};
      with_type(p.scalar_type(), [&](auto type) {
        at::parallel_for(0, p.size(0) * p.size(1), kRowsPerTask, [&](int64_t begin, int64_t end) {
          softmax(ptr<decltype(type)>(p), begin, end, p.size(2), static_cast<float>(scale), visible);
        });
      });
      scatter_heads(at::bmm(p, vs), out, r[1], n, r[2]);
      saved.insert(saved.end(), {qs, ks, vs, p});
    }
    ctx->save_for_backward(saved);
    ctx->saved_data["runs"] = runs;
    ctx->saved_data["scale"] = scale;
    ctx->saved_data["q"] = q.sizes().vec();
    ctx->saved_data["k"] = k.sizes().vec();
    return out;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const auto runs = ctx->saved_data["runs"].toIntVector();
    const auto scale = static_cast<float>(ctx->saved_data["scale"].toDouble());
    const Tensor dy = grads[0].contiguous();
    Tensor dq = at::empty(ctx->saved_data["q"].toIntVector(), dy.options()),
           dk = at::empty(ctx->saved_data["k"].toIntVector(), dy.options()), dv = at::empty_like(dk);
    const int64_t groups = dk.size(1);
    for (size_t i = 0; i + 5 <= runs.size(); i += 5) {
      const int64_t *r = runs.data() + i, n = r[0];
      const Tensor *s = saved.data() + i / 5 * 4, &p = s[3];
      const Tensor dys = gather_heads(dy, r[1], n, r[2], groups);
      scatter_heads(at::bmm(p.transpose(1, 2), dys), dv, r[3], n, r[4]);
      const Tensor ds = at::bmm(dys, s[2].transpose(1, 2));
      with_type(p.scalar_type(), [&](auto type) {
        using T = decltype(type);
        at::parallel_for(0, p.size(0) * p.size(1), kRowsPerTask, [&](int64_t begin, int64_t end) {
          softmax_backward(ptr<T>(p), ptr<T>(ds), begin, end, p.size(2), scale);
        });
      });
      scatter_heads(at::bmm(ds, s[1]), dq, r[1], n, r[2]);
      scatter_heads(at::bmm(ds.transpose(1, 2), s[0]), dk, r[3], n, r[4]);
    }
    return {dq, dk, dv, Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

/// The same by torch's operations, for double and other devices.
Tensor plain_attention(const Tensor& q, const Tensor& k, const Tensor& v, const std::vector<Run>& runs, double scale,
                       int64_t chunk, const Tensor& hidden) {
  std::vector<Tensor> outs;
  const int64_t shared = q.size(1) / k.size(1), heads = q.size(1), d = q.size(2);
  for (const Run& r : runs) {
    const auto split = [&](const Tensor& x, int64_t start, int64_t len) {
      return x.narrow(0, start, r.count * len).view({r.count, len, x.size(1), d}).transpose(1, 2);
    };
    const Tensor qs = split(q, r.q_start, r.q_len), ks = split(k, r.k_start, r.k_len).repeat_interleave(shared, 1),
                 vs = split(v, r.k_start, r.k_len).repeat_interleave(shared, 1);
    Tensor scores = at::matmul(qs, ks.transpose(-1, -2)) * scale;
    if (chunk > 0) {
      const auto places = at::TensorOptions(at::kLong).device(scores.device());
      const Tensor ends = (at::arange(r.q_len, places).div(chunk, "floor") + 1) * chunk;
      Tensor unseen = at::arange(r.k_len, places).unsqueeze(0).ge(ends.unsqueeze(1));
      if (hidden.defined()) {
        const Tensor pairs = hidden.narrow(0, r.q_start, r.count * r.q_len).view({r.count, 1, r.q_len, 2});
        const Tensor keys = at::arange(r.k_len, hidden.options());
        unseen = unseen.logical_or(keys.ge(pairs.narrow(3, 0, 1)).logical_and(keys.lt(pairs.narrow(3, 1, 1))));
      }
      scores = scores.masked_fill(unseen, -std::numeric_limits<double>::infinity());
    }
    outs.push_back(at::matmul(scores.softmax(-1), vs).transpose(1, 2).reshape({r.count * r.q_len, heads, d}));
  }
  return at::cat(outs);
}

struct SelectRowsFunction : Function<SelectRowsFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& index) {
    ctx->save_for_backward({index});
    ctx->saved_data["rows"] = x.size(0);
    std::vector<int64_t> shape = x.sizes().vec();
    shape[0] = index.size(0);
    Tensor y = at::empty(shape, x.options());
    copy_rows(x, y, index, [](char* to, char* from, size_t n) { std::memcpy(to, from, n); });
    return y;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const Tensor index = ctx->get_saved_variables()[0], dy = grads[0].contiguous();
    std::vector<int64_t> shape = dy.sizes().vec();
    shape[0] = ctx->saved_data["rows"].toInt();
    const Tensor dx = at::zeros(shape, dy.options());
    copy_rows(dx, dy, index, [](char* from, char* to, size_t n) { std::memcpy(to, from, n); });
    return {dx, Tensor()};
  }
  /// copy(row i of `few`, row index[i] of `many`) for all i.
  template <typename Copy>
  static void copy_rows(const Tensor& many, const Tensor& few, const Tensor& index, Copy copy) {
    if (few.size(0) == 0) return;
    const auto bytes = static_cast<size_t>(few.nbytes() / few.size(0));
    const int64_t* rows = index.data_ptr<int64_t>();
    char *all = static_cast<char*>(many.data_ptr()), *some = static_cast<char*>(few.data_ptr());
    at::parallel_for(0, few.size(0), kRowsPerTask, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        copy(some + static_cast<size_t>(i) * bytes, all + static_cast<size_t>(rows[i]) * bytes, bytes);
    });
  }
};

struct CrossEntropyFunction : Function<CrossEntropyFunction> {
  static variable_list forward(AutogradContext* ctx, const Tensor& logits, const Tensor& target, const Tensor& weight) {
    const int64_t rows = logits.size(0);
    Tensor gradient = at::empty_like(logits), loss = at::empty({rows}, at::kFloat), hit = at::empty({rows}, at::kByte);
    with_type(logits.scalar_type(), [&](auto type) {
      using T = decltype(type);
      at::parallel_for(0, rows, kRowsPerTask, [&](int64_t begin, int64_t end) {
        cross_entropy(ptr<T>(logits), target.data_ptr<int64_t>(), f32(weight), ptr<T>(gradient), f32(loss),
                      hit.data_ptr<uint8_t>(), begin, end, logits.size(1));
      });
    });
    ctx->save_for_backward({gradient});
    const Tensor hits = hit.to(at::kBool);
    ctx->mark_non_differentiable({hits});
    return {loss.sum(), hits};
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const Tensor gradient = ctx->get_saved_variables()[0];
    return {gradient * grads[0].to(gradient.scalar_type()), Tensor(), Tensor()};
  }
};

}  // namespace

namespace fn {

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias) {
  if (fused(x)) {
    return LinearFunction::apply(x.contiguous(), w, bias.defined() ? c10::optional<Tensor>(bias) : c10::nullopt);
  }
  return at::linear(x, w.to(x.scalar_type()), bias.defined() ? bias.to(x.scalar_type()) : Tensor());
}

Tensor layer_norm(const Tensor& x, const Tensor& w, const Tensor& b, double eps, at::ScalarType out) {
  if (fused(x)) return LayerNormFunction::apply(x.contiguous(), w, b, eps, static_cast<int64_t>(out));
  return at::layer_norm(x.to(w.scalar_type()), {x.size(-1)}, w, b, eps).to(out);
}

Tensor rms_norm(const Tensor& x, const Tensor& w, double eps, at::ScalarType out) {
  if (fused(x)) return RmsNormFunction::apply(x.contiguous(), w, eps, static_cast<int64_t>(out));
  const Tensor wide = x.to(w.scalar_type());
  return (wide * at::rsqrt(wide.square().mean(-1, true) + eps) * w).to(out);
}

Tensor gelu(const Tensor& x) {
  return fused(x) ? GeluFunction::apply(x.contiguous()) : at::gelu(x, "tanh");
}

Tensor gelu_erf(const Tensor& x) {
  return at::gelu(x, "none");
}

Tensor select_rows(const Tensor& x, const Tensor& index) {
  return fused(x) ? SelectRowsFunction::apply(x.contiguous(), index) : x.index_select(0, index);
}

Tensor silu_mul(const Tensor& gate, const Tensor& up) {
  return fused(gate) ? SiluMulFunction::apply(gate.contiguous(), up.contiguous()) : at::silu(gate) * up;
}

Tensor rope(const Tensor& x, const Tensor& cos, const Tensor& sin) {
  if (fused(x)) return RopeFunction::apply(x.contiguous(), cos, sin);
  const auto parts = x.chunk(2, -1);
  const Tensor c = cos.unsqueeze(1).to(x.scalar_type()), s = sin.unsqueeze(1).to(x.scalar_type());
  return at::cat({parts[0] * c - parts[1] * s, parts[1] * c + parts[0] * s}, -1);
}

Tensor add(const Tensor& x, const Tensor& y) {
  if (fused(x) && fused(y)) return AddFunction::apply(x.contiguous(), y.contiguous());
  return x + y;
}

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const std::vector<Run>& runs, double scale,
                 int64_t chunk, const Tensor& hidden) {
  if (!fused(q)) return plain_attention(q, k, v, runs, scale, chunk, hidden);
  std::vector<int64_t> flat;
  for (const Run& r : runs)
    flat.insert(flat.end(), {r.count, r.q_start, r.q_len, r.k_start, r.k_len});
  return AttentionFunction::apply(q.contiguous(), k.contiguous(), v.contiguous(), flat, scale, chunk,
                                  hidden.defined() ? c10::optional<Tensor>(hidden) : c10::nullopt);
}

Loss cross_entropy(const Tensor& logits, const Tensor& target, const Tensor& weight) {
  if (fused(logits)) {
    const auto result = CrossEntropyFunction::apply(logits.contiguous(), target, weight);
    return {result[0], result[1]};
  }
  const Tensor used = target.ge(0), safe = target.clamp_min(0);
  const Tensor log_p = at::log_softmax(logits, -1).gather(1, safe.unsqueeze(1)).squeeze(1);
  return {-(log_p * used * weight.to(log_p.scalar_type())).sum(), logits.argmax(-1).eq(safe).logical_and(used)};
}

}  // namespace fn
}  // namespace minicpm::train

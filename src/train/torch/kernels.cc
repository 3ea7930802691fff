#include "train/torch/kernels.h"

#include <algorithm>
#include <cmath>
#include <limits>

// Each loop is compiled for several instruction sets and chosen when the program starts.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define MINICPM_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define MINICPM_CLONES
#endif
#define MINICPM_INLINE inline __attribute__((always_inline))

namespace minicpm::train {
namespace {

MINICPM_INLINE float load(float x) {
  return x;
}
MINICPM_INLINE float load(Bf16 x) {
  return __builtin_bit_cast(float, static_cast<uint32_t>(x) << 16);
}
MINICPM_INLINE void store(float& to, float x) {
  to = x;
}
/// Rounds to nearest, ties to even. Values are finite or will be noticed as NaN: a NaN keeps its exponent.
MINICPM_INLINE void store(Bf16& to, float x) {
  const uint32_t u = __builtin_bit_cast(uint32_t, x);
  to = static_cast<Bf16>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

// Plain expressions: a call in a loop, even to std::max, keeps it from being vectorised.
MINICPM_INLINE float larger(float a, float b) {
  return a > b ? a : b;
}
MINICPM_INLINE float from_bits(uint32_t bits) {
  return __builtin_bit_cast(float, bits);
}
MINICPM_INLINE uint32_t to_bits(float x) {
  return __builtin_bit_cast(uint32_t, x);
}

/// e^x to about 1e-7; inputs are clamped, so that nothing overflows to infinity.
MINICPM_INLINE float fast_exp(float x) {
  x = larger(x, -87.0f);
  x = x < 88.0f ? x : 88.0f;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const float shifted = x * 1.44269504088896f + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // x - n ln 2, ln 2 in two parts
  float p = 1.0f / 720;                                         // Taylor series on |r| <= ln 2 / 2
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const uint32_t exponent = to_bits(shifted) - to_bits(kRound);
  return p * from_bits((exponent + 127) << 23);
}
MINICPM_INLINE float sigmoid(float x) {
  return 1.0f / (1.0f + fast_exp(-x));
}

template <typename X, typename Y>
MINICPM_INLINE void layer_norm_rows(const X* x, const float* w, const float* b, Y* y, float* mean, float* rstd,
                                    int64_t begin, int64_t end, int64_t d, float eps) {
  for (int64_t r = begin; r < end; ++r) {
    const X* row = x + r * d;
    Y* out = y + r * d;
    float sum = 0, square = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < d; ++i)
      sum += load(row[i]);
    const float mu = sum / static_cast<float>(d);
#pragma omp simd reduction(+ : square)
    for (int64_t i = 0; i < d; ++i) {
      const float c = load(row[i]) - mu;
      square += c * c;
    }
    const float scale = 1.0f / std::sqrt(square / static_cast<float>(d) + eps);
#pragma omp simd
    for (int64_t i = 0; i < d; ++i)
      store(out[i], (load(row[i]) - mu) * scale * w[i] + b[i]);
    mean[r] = mu;
    rstd[r] = scale;
  }
}

template <typename X, typename Y>
MINICPM_INLINE void layer_norm_backward_rows(const Y* dy, const X* x, const float* w, const float* mean,
                                             const float* rstd, X* dx, float* dw, float* db, int64_t begin, int64_t end,
                                             int64_t d) {
  for (int64_t r = begin; r < end; ++r) {
    const X* row = x + r * d;
    const Y* g = dy + r * d;
    X* out = dx + r * d;
    const float mu = mean[r], scale = rstd[r];
    float sum_g = 0, sum_gx = 0;
#pragma omp simd reduction(+ : sum_g, sum_gx)
    for (int64_t i = 0; i < d; ++i) {
      const float xhat = (load(row[i]) - mu) * scale, gi = load(g[i]);
      dw[i] += gi * xhat;
      db[i] += gi;
      sum_g += gi * w[i];
      sum_gx += gi * w[i] * xhat;
    }
    const float a = sum_g / static_cast<float>(d), c = sum_gx / static_cast<float>(d);
#pragma omp simd
    for (int64_t i = 0; i < d; ++i) {
      const float xhat = (load(row[i]) - mu) * scale;
      store(out[i], (load(g[i]) * w[i] - a - xhat * c) * scale);
    }
  }
}

template <typename X, typename Y>
MINICPM_INLINE void rms_norm_rows(const X* x, const float* w, Y* y, float* rstd, int64_t begin, int64_t end, int64_t d,
                                  float eps) {
  for (int64_t r = begin; r < end; ++r) {
    const X* row = x + r * d;
    Y* out = y + r * d;
    float square = 0;
#pragma omp simd reduction(+ : square)
    for (int64_t i = 0; i < d; ++i)
      square += load(row[i]) * load(row[i]);
    const float scale = 1.0f / std::sqrt(square / static_cast<float>(d) + eps);
#pragma omp simd
    for (int64_t i = 0; i < d; ++i)
      store(out[i], load(row[i]) * scale * w[i]);
    rstd[r] = scale;
  }
}

template <typename X, typename Y>
MINICPM_INLINE void rms_norm_backward_rows(const Y* dy, const X* x, const float* w, const float* rstd, X* dx, float* dw,
                                           int64_t begin, int64_t end, int64_t d) {
  for (int64_t r = begin; r < end; ++r) {
    const X* row = x + r * d;
    const Y* g = dy + r * d;
    X* out = dx + r * d;
    const float scale = rstd[r];
    float sum_gx = 0;
#pragma omp simd reduction(+ : sum_gx)
    for (int64_t i = 0; i < d; ++i) {
      const float xhat = load(row[i]) * scale, gi = load(g[i]);
      dw[i] += gi * xhat;
      sum_gx += gi * w[i] * xhat;
    }
    const float c = sum_gx / static_cast<float>(d);
#pragma omp simd
    for (int64_t i = 0; i < d; ++i)
      store(out[i], (load(g[i]) * w[i] - load(row[i]) * scale * c) * scale);
  }
}

constexpr float kGeluScale = 0.7978845608028654f;  // sqrt(2 / pi)
constexpr float kGeluCubic = 0.044715f;

template <typename T>
MINICPM_INLINE void gelu_range(const T* x, T* y, int64_t begin, int64_t end) {
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) {
    const float v = load(x[i]);
    // 0.5 (1 + tanh(u)) = sigmoid(2 u)
    store(y[i], v * sigmoid(2 * kGeluScale * (v + kGeluCubic * v * v * v)));
  }
}

template <typename T>
MINICPM_INLINE void gelu_backward_range(const T* dy, const T* x, T* dx, int64_t begin, int64_t end) {
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) {
    const float v = load(x[i]);
    const float s = sigmoid(2 * kGeluScale * (v + kGeluCubic * v * v * v));
    const float slope = 2 * kGeluScale * (1 + 3 * kGeluCubic * v * v);
    store(dx[i], load(dy[i]) * (s + v * s * (1 - s) * slope));
  }
}

template <typename T>
MINICPM_INLINE void silu_mul_range(const T* gate, const T* up, T* y, int64_t begin, int64_t end) {
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) {
    const float g = load(gate[i]);
    store(y[i], g * sigmoid(g) * load(up[i]));
  }
}

template <typename T>
MINICPM_INLINE void silu_mul_backward_range(const T* dy, const T* gate, const T* up, T* dgate, T* dup, int64_t begin,
                                            int64_t end) {
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) {
    const float g = load(gate[i]), u = load(up[i]), d = load(dy[i]);
    const float s = sigmoid(g);
    store(dgate[i], d * u * s * (1 + g * (1 - s)));
    store(dup[i], d * g * s);
  }
}

template <typename T>
MINICPM_INLINE float largest_of(const T* row, int64_t begin, int64_t end, float largest) {
#pragma omp simd reduction(max : largest)
  for (int64_t i = begin; i < end; ++i)
    largest = larger(largest, load(row[i]));
  return largest;
}
template <typename T>
MINICPM_INLINE float sum_of_exp(const T* row, int64_t begin, int64_t end, float largest, float scale) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = begin; i < end; ++i)
    sum += fast_exp((load(row[i]) - largest) * scale);
  return sum;
}
template <typename T>
MINICPM_INLINE void write_exp(T* row, int64_t begin, int64_t end, float largest, float scale, float factor) {
#pragma omp simd
  for (int64_t i = begin; i < end; ++i)
    store(row[i], fast_exp((load(row[i]) - largest) * scale) * factor);
}

template <typename T>
MINICPM_INLINE void softmax_rows(T* scores, int64_t begin, int64_t end, int64_t columns, float scale,
                                 const Visible& seen) {
  for (int64_t r = begin; r < end; ++r) {
    T* row = scores + r * columns;
    const int64_t place = seen.length > 0 ? r % seen.length : 0;
    const int64_t piece_end = columns - seen.length + (place / seen.chunk + 1) * seen.chunk;
    const int64_t visible = seen.length > 0 ? std::min(columns, piece_end) : columns;
    int64_t from = visible, to = visible;  // the row sees [0, from) and [to, visible)
    if (seen.hidden != nullptr) {
      const int64_t* pair = seen.hidden + 2 * (r / seen.sequence_rows * seen.length + place);
      from = pair[0], to = pair[1];
    }
    float largest = largest_of(row, 0, from, -std::numeric_limits<float>::infinity());
    largest = largest_of(row, to, visible, largest);
    const float sum = sum_of_exp(row, 0, from, largest, scale) + sum_of_exp(row, to, visible, largest, scale);
    write_exp(row, 0, from, largest, scale, 1.0f / sum);
    write_exp(row, to, visible, largest, scale, 1.0f / sum);
    for (int64_t i = from; i < to; ++i)
      store(row[i], 0.0f);
    for (int64_t i = visible; i < columns; ++i)
      store(row[i], 0.0f);
  }
}

template <typename T>
MINICPM_INLINE void softmax_backward_rows(const T* p, T* dp, int64_t begin, int64_t end, int64_t columns, float scale) {
  for (int64_t r = begin; r < end; ++r) {
    const T* prob = p + r * columns;
    T* grad = dp + r * columns;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < columns; ++i)
      sum += load(prob[i]) * load(grad[i]);
#pragma omp simd
    for (int64_t i = 0; i < columns; ++i)
      store(grad[i], scale * load(prob[i]) * (load(grad[i]) - sum));
  }
}

template <typename T>
MINICPM_INLINE void rope_rows(const T* x, const float* cos, const float* sin, T* y, int64_t begin, int64_t end,
                              int64_t heads, int64_t head_dim, float sign) {
  const int64_t half = head_dim / 2;
  for (int64_t r = begin; r < end; ++r) {
    const float *c = cos + r * half, *s = sin + r * half;
    for (int64_t h = 0; h < heads; ++h) {
      const T* from = x + (r * heads + h) * head_dim;
      T* to = y + (r * heads + h) * head_dim;
#pragma omp simd
      for (int64_t i = 0; i < half; ++i) {
        const float a = load(from[i]), b = load(from[half + i]), si = sign * s[i];
        store(to[i], a * c[i] - b * si);
        store(to[half + i], b * c[i] + a * si);
      }
    }
  }
}

template <typename T>
MINICPM_INLINE void add_range(const float* x, const T* y, float* out, int64_t begin, int64_t end) {
#pragma omp simd
  for (int64_t i = begin; i < end; ++i)
    out[i] = x[i] + load(y[i]);
}

template <typename T>
MINICPM_INLINE void add_bias_rows(T* x, const float* bias, int64_t begin, int64_t end, int64_t columns) {
  for (int64_t r = begin; r < end; ++r) {
    T* row = x + r * columns;
#pragma omp simd
    for (int64_t i = 0; i < columns; ++i)
      store(row[i], load(row[i]) + bias[i]);
  }
}

template <typename T>
MINICPM_INLINE void column_sums_range(const T* x, float* sums, int64_t rows, int64_t columns, int64_t begin,
                                      int64_t end) {
  for (int64_t i = begin; i < end; ++i)
    sums[i] = 0;
  for (int64_t r = 0; r < rows; ++r) {
    const T* row = x + r * columns;
#pragma omp simd
    for (int64_t i = begin; i < end; ++i)
      sums[i] += load(row[i]);
  }
}

template <typename T>
MINICPM_INLINE void cross_entropy_rows(const T* logits, const int64_t* target, const float* weight, T* gradient,
                                       float* loss, uint8_t* hit, int64_t begin, int64_t end, int64_t classes) {
  for (int64_t r = begin; r < end; ++r) {
    const T* row = logits + r * classes;
    T* grad = gradient + r * classes;
    loss[r] = 0;
    hit[r] = 0;
    if (target[r] < 0) {
      for (int64_t i = 0; i < classes; ++i)
        store(grad[i], 0.0f);
      continue;
    }
    float largest = -std::numeric_limits<float>::infinity(), sum = 0;
#pragma omp simd reduction(max : largest)
    for (int64_t i = 0; i < classes; ++i)
      largest = larger(largest, load(row[i]));
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < classes; ++i)
      sum += fast_exp(load(row[i]) - largest);
    const float own = load(row[target[r]]), scale = weight[r] / sum;
#pragma omp simd
    for (int64_t i = 0; i < classes; ++i)
      store(grad[i], fast_exp(load(row[i]) - largest) * scale);
    store(grad[target[r]], fast_exp(own - largest) * scale - weight[r]);
    loss[r] = (std::log(sum) + largest - own) * weight[r];
    hit[r] = own >= largest ? 1 : 0;
  }
}

}  // namespace

MINICPM_CLONES void adamw(float* w, const float* g, float* m, float* v, int64_t begin, int64_t end,
                          float gradient_scale, const AdamW& step) {
  const AdamW s = step;
  const float rate = s.rate / s.correction1, keep = 1 - s.rate * s.decay, unbias = 1 / s.correction2;
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) {
    const float gi = g[i] * gradient_scale;
    m[i] = s.beta1 * m[i] + (1 - s.beta1) * gi;
    v[i] = s.beta2 * v[i] + (1 - s.beta2) * gi * gi;
    w[i] = keep * w[i] - rate * m[i] / (std::sqrt(v[i] * unbias) + s.eps);
  }
}

MINICPM_CLONES void muon_momentum(const float* g, float* m, float* out, int64_t begin, int64_t end,
                                  float gradient_scale, float momentum) {
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) {
    const float gi = g[i] * gradient_scale;
    m[i] = momentum * m[i] + gi;
    out[i] = gi + momentum * m[i];
  }
}

MINICPM_CLONES void muon_apply(float* w, const float* update, int64_t begin, int64_t end, float keep, float rate) {
#pragma omp simd
  for (int64_t i = begin; i < end; ++i)
    w[i] = keep * w[i] - rate * update[i];
}

MINICPM_CLONES void diagonal_sum(const Bf16* x, const Bf16* y, Bf16* out, int64_t begin, int64_t end, int64_t n,
                                 float a, float b, float c) {
  for (int64_t r = begin; r < end; ++r) {
    const Bf16 *from = x + r * n, *other = y + r * n;
    Bf16* to = out + r * n;
#pragma omp simd
    for (int64_t i = 0; i < n; ++i)
      store(to[i], b * load(from[i]) + c * load(other[i]));
    const int64_t d = r % n;
    store(to[d], a + b * load(from[d]) + c * load(other[d]));
  }
}

// Attributes do not reach template instances, so each pair of types is a function of its own.
#define MINICPM_NORMS(X, Y)                                                                                        \
  template <>                                                                                                      \
  MINICPM_CLONES void layer_norm<X, Y>(const X* x, const float* w, const float* b, Y* y, float* mean, float* rstd, \
                                       int64_t begin, int64_t end, int64_t d, float eps) {                         \
    layer_norm_rows(x, w, b, y, mean, rstd, begin, end, d, eps);                                                   \
  }                                                                                                                \
  template <>                                                                                                      \
  MINICPM_CLONES void layer_norm_backward<X, Y>(const Y* dy, const X* x, const float* w, const float* mean,        \
                                                const float* rstd, X* dx, float* dw, float* db, int64_t begin,     \
                                                int64_t end, int64_t d) {                                          \
    layer_norm_backward_rows(dy, x, w, mean, rstd, dx, dw, db, begin, end, d);                                     \
  }                                                                                                                \
  template <>                                                                                                      \
  MINICPM_CLONES void rms_norm<X, Y>(const X* x, const float* w, Y* y, float* rstd, int64_t begin, int64_t end,    \
                                     int64_t d, float eps) {                                                       \
    rms_norm_rows(x, w, y, rstd, begin, end, d, eps);                                                              \
  }                                                                                                                \
  template <>                                                                                                      \
  MINICPM_CLONES void rms_norm_backward<X, Y>(const Y* dy, const X* x, const float* w, const float* rstd, X* dx,   \
                                              float* dw, int64_t begin, int64_t end, int64_t d) {                  \
    rms_norm_backward_rows(dy, x, w, rstd, dx, dw, begin, end, d);                                                 \
  }

#define MINICPM_LOOPS(T)                                                                                             \
  template <>                                                                                                        \
  MINICPM_CLONES void gelu<T>(const T* x, T* y, int64_t begin, int64_t end) {                                        \
    gelu_range(x, y, begin, end);                                                                                    \
  }                                                                                                                  \
  template <>                                                                                                        \
  MINICPM_CLONES void gelu_backward<T>(const T* dy, const T* x, T* dx, int64_t begin, int64_t end) {                 \
    gelu_backward_range(dy, x, dx, begin, end);                                                                      \
  }                                                                                                                  \
  template <>                                                                                                        \
  MINICPM_CLONES void silu_mul<T>(const T* gate, const T* up, T* y, int64_t begin, int64_t end) {                    \
    silu_mul_range(gate, up, y, begin, end);                                                                         \
  }                                                                                                                  \
  template <>                                                                                                        \
  MINICPM_CLONES void silu_mul_backward<T>(const T* dy, const T* gate, const T* up, T* dgate, T* dup, int64_t begin, \
                                           int64_t end) {                                                            \
    silu_mul_backward_range(dy, gate, up, dgate, dup, begin, end);                                                   \
  }                                                                                                                  \
  template <>                                                                                                        \
  MINICPM_CLONES void softmax<T>(T * s, int64_t begin, int64_t end, int64_t columns, float scale,                    \
                                 const Visible& visible) {                                                           \
    softmax_rows(s, begin, end, columns, scale, visible);                                                            \
  }                                                                                                                  \
  template <>                                                                                                        \
  MINICPM_CLONES void softmax_backward<T>(const T* p, T* dp, int64_t begin, int64_t end, int64_t columns,            \
                                          float scale) {                                                             \
    softmax_backward_rows(p, dp, begin, end, columns, scale);                                                        \
  }                                                                                                                  \
  template <>                                                                                                        \
  MINICPM_CLONES void rope<T>(const T* x, const float* cos, const float* sin, T* y, int64_t begin, int64_t end,      \
                              int64_t heads, int64_t head_dim, float sign) {                                         \
    rope_rows(x, cos, sin, y, begin, end, heads, head_dim, sign);                                                    \
  }                                                                                                                  \
  template <>                                                                                                        \
  MINICPM_CLONES void add<T>(const float* x, const T* y, float* out, int64_t begin, int64_t end) {                   \
    add_range(x, y, out, begin, end);                                                                                \
  }                                                                                                                  \
  template <>                                                                                                        \
  MINICPM_CLONES void add_bias<T>(T * x, const float* bias, int64_t begin, int64_t end, int64_t columns) {           \
    add_bias_rows(x, bias, begin, end, columns);                                                                     \
  }                                                                                                                  \
  template <>                                                                                                        \
  MINICPM_CLONES void column_sums<T>(const T* x, float* sums, int64_t rows, int64_t columns, int64_t begin,          \
                                     int64_t end) {                                                                  \
    column_sums_range(x, sums, rows, columns, begin, end);                                                           \
  }                                                                                                                  \
  template <>                                                                                                        \
  MINICPM_CLONES void cross_entropy<T>(const T* logits, const int64_t* target, const float* weight, T* gradient,     \
                                       float* loss, uint8_t* hit, int64_t begin, int64_t end, int64_t classes) {     \
    cross_entropy_rows(logits, target, weight, gradient, loss, hit, begin, end, classes);                            \
  }

MINICPM_NORMS(float, float)
MINICPM_NORMS(float, Bf16)
MINICPM_NORMS(Bf16, Bf16)
MINICPM_LOOPS(float)
MINICPM_LOOPS(Bf16)

}  // namespace minicpm::train

// Matrix products for any processor; the plain statement of what the other instruction sets compute. One driver serves
// few and many rows: a weight row is decoded block by block and multiplied with all rows of activations, which stay in
// the form of one row after another.
#include <stddef.h>

#include "backend/cpu/kernels/linear_kernels.h"
#include "backend/cpu/kernels/vec_scalar.h"
// vec_scalar.h first: it defines MINICPM_INLINE
#include "backend/cpu/kernels/loaders_scalar.h"

namespace minicpm::cpu::scalar {
namespace {

constexpr int kBlockK = 256;
constexpr float kSmallestScaled = 1e-30f;  // groups of activations below this count as zero

/// Calls body(block address, first k, number of weights) for the blocks of one weight row. A short last block is copied
/// and filled up with zeros.
template <class L, class Body>
void for_blocks(const uint8_t* row, int64_t k, Body&& body) {
  alignas(8) uint8_t tail[L::kBytes] = {};
  for (int64_t k0 = 0; k0 < k; k0 += kBlockK, row += L::kBytes) {
    const int values = static_cast<int>(k - k0 < kBlockK ? k - k0 : kBlockK);
    if (values < kBlockK) __builtin_memcpy(tail, row, static_cast<size_t>(values / 32 * (L::kBytes / 8)));
    body(values < kBlockK ? tail : row, k0, values);
  }
}

void set_bias(const ProductArgs& args, int64_t col) {
  for (int64_t r = 0; r < args.rows; ++r)
    args.out[r * args.out_stride + col] = args.bias != nullptr ? args.bias[col] : 0.0f;
}

/// Eight chains of sums, so that the compiler may use vectors.
float dot(const float* a, const float* b, int64_t n) {
  float sums[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (int j = 0; j < 8; ++j)
      sums[j] += a[i + j] * b[i + j];
  }
  for (; i < n; ++i)
    sums[i % 8] += a[i] * b[i];
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

float block_dot(const Decoded& w, const ActBlock& x) {
  float sum = 0.0f;
  for (int s = 0; s < 16; ++s) {
    int32_t codes = 0;
    for (int j = 16 * s; j < 16 * s + 16; ++j)
      codes += w.codes[j] * x.q[j];
    sum += static_cast<float>(codes) * (w.d[s] * x.d16[s]) + w.m[s] * x.sum16[s];
  }
  return sum;
}

template <class L>
void product_q8(const ProductArgs& args) {
  Decoded w;
  for (int64_t col = 0; col < args.cols; ++col) {
    set_bias(args, col);
    for_blocks<L>(args.w + col * args.w_stride, args.k, [&](const uint8_t* block, int64_t k0, int) {
      L::decode(block, w);
      for (int64_t r = 0; r < args.rows; ++r) {
        const auto* x = reinterpret_cast<const ActBlock*>(static_cast<const uint8_t*>(args.x) + r * args.x_stride);
        args.out[r * args.out_stride + col] += block_dot(w, x[k0 / kBlockK]);
      }
    });
  }
}

template <class L>
void product_f32(const ProductArgs& args) {
  Decoded w;
  float values[kBlockK];
  for (int64_t col = 0; col < args.cols; ++col) {
    set_bias(args, col);
    for_blocks<L>(args.w + col * args.w_stride, args.k, [&](const uint8_t* block, int64_t k0, int count) {
      L::decode(block, w);
      for (int i = 0; i < kBlockK; ++i)
        values[i] = w.d[i / 16] * w.codes[i] + w.m[i / 16];
      for (int64_t r = 0; r < args.rows; ++r) {
        const float* x = static_cast<const float*>(args.x) + r * (args.x_stride / 4) + k0;
        args.out[r * args.out_stride + col] += dot(values, x, count);
      }
    });
  }
}

struct PlainF32 {
  static float read(const uint8_t* w, int64_t i) { return reinterpret_cast<const float*>(w)[i]; }
};
struct PlainF16 {
  static float read(const uint8_t* w, int64_t i) { return f16(reinterpret_cast<const uint16_t*>(w)[i]); }
};
struct PlainBF16 {
  static float read(const uint8_t* w, int64_t i) { return load_bf16(reinterpret_cast<const uint16_t*>(w) + i).v; }
};

template <class E>
void product_plain(const ProductArgs& args) {
  float values[kBlockK];
  for (int64_t col = 0; col < args.cols; ++col) {
    set_bias(args, col);
    const uint8_t* w = args.w + col * args.w_stride;
    for (int64_t k0 = 0; k0 < args.k; k0 += kBlockK) {
      const int64_t count = args.k - k0 < kBlockK ? args.k - k0 : kBlockK;
      for (int64_t i = 0; i < count; ++i)
        values[i] = E::read(w, k0 + i);
      for (int64_t r = 0; r < args.rows; ++r) {
        const float* x = static_cast<const float*>(args.x) + r * (args.x_stride / 4) + k0;
        args.out[r * args.out_stride + col] += dot(values, x, count);
      }
    }
  }
}

int64_t q8_row_bytes(int64_t k) {
  return (k + kBlockK - 1) / kBlockK * static_cast<int64_t>(sizeof(ActBlock));
}

/// Requires k % 32 == 0. What lies beyond k in the last block is zero. NaN and infinity make the scale so.
void q8_row(const float* x, int64_t k, void* out) {
  auto* blocks = static_cast<ActBlock*>(out);
  if (k % kBlockK != 0) __builtin_memset(static_cast<void*>(blocks + k / kBlockK), 0, sizeof(ActBlock));
  for (int64_t group = 0; group < k / 32; ++group) {
    const float* values = x + group * 32;
    ActBlock& block = blocks[group / 8];
    const int64_t g = group % 8;
    uint32_t largest_bits = 0;  // ordered as integers, so that NaN counts as the largest
    for (int i = 0; i < 32; ++i) {
      const uint32_t bits = __builtin_bit_cast(uint32_t, values[i]) & 0x7fffffffu;
      largest_bits = bits > largest_bits ? bits : largest_bits;
    }
    const auto largest = __builtin_bit_cast(float, largest_bits);
    const bool finite = largest_bits < 0x7f800000u;
    const float to_code = finite && largest >= kSmallestScaled ? 127.0f / largest : 0.0f;
    const float d = largest < kSmallestScaled ? 0.0f : largest * (1.0f / 127.0f);
    int sums[2] = {0, 0};
    for (int i = 0; i < 32; ++i) {
      const int code = finite ? static_cast<int>(__builtin_lrintf(values[i] * to_code)) : 0;
      block.q[g * 32 + i] = static_cast<int8_t>(code);
      sums[i / 16] += code;
    }
    block.d[g] = block.d16[2 * g] = block.d16[2 * g + 1] = d;
    block.sum16[2 * g] = d * static_cast<float>(sums[0]);
    block.sum16[2 * g + 1] = d * static_cast<float>(sums[1]);
    block.sum[g] = d * static_cast<float>(sums[0] + sums[1]);
  }
}

}  // namespace

#define MINICPM_BLOCKS(Loader) \
  { kInputQ8, product_q8<Loader>, product_q8<Loader>, product_f32<Loader>, product_f32<Loader> }
#define MINICPM_PLAIN(E) \
  { kInputF32, product_plain<E>, product_plain<E>, product_plain<E>, product_plain<E> }

const LinearKernels kLinear = {
    .panel_cols = 16,
    .scratch_bytes = 0,
    .inputs = {{.gemv_rows = INT64_MAX}, {}, {.to_row = q8_row, .row_bytes = q8_row_bytes, .gemv_rows = INT64_MAX}},
    .f32 = MINICPM_PLAIN(PlainF32),
    .f16 = MINICPM_PLAIN(PlainF16),
    .bf16 = MINICPM_PLAIN(PlainBF16),
    .q4_0 = MINICPM_BLOCKS(LoadQ4_0),
    .q4_1 = MINICPM_BLOCKS(LoadQ4_1),
    .q5_0 = MINICPM_BLOCKS(LoadQ5_0),
    .q5_1 = MINICPM_BLOCKS(LoadQ5_1),
    .q8_0 = MINICPM_BLOCKS(LoadQ8_0),
    .q2_k = MINICPM_BLOCKS(LoadQ2_K),
    .q3_k = MINICPM_BLOCKS(LoadQ3_K),
    .q4_k = MINICPM_BLOCKS(LoadQ4_K),
    .q5_k = MINICPM_BLOCKS(LoadQ5_K),
    .q6_k = MINICPM_BLOCKS(LoadQ6_K),
    .iq4_nl = MINICPM_BLOCKS(LoadIQ4_NL),
    .iq4_xs = MINICPM_BLOCKS(LoadIQ4_XS),
};

}  // namespace minicpm::cpu::scalar

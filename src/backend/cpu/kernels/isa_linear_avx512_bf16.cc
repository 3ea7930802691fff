// Products of bf16 weights with bf16 activations by vdpbf16ps: twice the speed of f32.
#include <stddef.h>

#include "backend/cpu/kernels/codes_avx512.h"
#include "backend/cpu/kernels/linear_kernels.h"

namespace minicpm::cpu::avx512_bf16 {
namespace {

using namespace avx512;

// Six cycles of latency, two a cycle: at least 12 sums, better 24.
constexpr int kDenseRows = 6, kDenseVecs = 4;
constexpr int kDenseGemvRows = 6;

// Each builds on those before it.
// clang-format off
#include "backend/cpu/kernels/linear_common.inl"
#include "backend/cpu/kernels/gemv_dense.inl"
#include "backend/cpu/kernels/gemm_common.inl"
#include "backend/cpu/kernels/gemm_dense.inl"
// clang-format on

constexpr int kVectorElements = 2 * kLanes;

MINICPM_INLINE __mmask32 first_elements(int64_t count) {
  return static_cast<__mmask32>((uint64_t{1} << count) - 1);
}

/// Pairs of bf16 as they are.
struct Pairs {
  static constexpr int kBytes = 2;
  static constexpr int kElements = 2;
  MINICPM_INLINE Vec read(const uint8_t* p) { return {_mm512_loadu_ps(p)}; }
  MINICPM_INLINE Vec read_rest(const uint8_t* p, int64_t elements) {
    return {_mm512_castsi512_ps(_mm512_maskz_loadu_epi16(first_elements(elements), p))};
  }
};
struct MultiplyPairs {
  MINICPM_INLINE Vec run(Vec acc, Vec w, Vec x) { return {_mm512_dpbf16_ps(acc.v, (__m512bh)w.v, (__m512bh)x.v)}; }
};
struct PairSource {
  MINICPM_INLINE int64_t words(int64_t k) { return (k + 1) / 2; }
  MINICPM_INLINE int64_t bytes(int64_t words) { return words * 4; }
  MINICPM_INLINE void fill(const uint8_t* w, int64_t k, int64_t word, int64_t count, float* out) {
    const int64_t elements = smaller(2 * count, k - 2 * word);
    out[count - 1] = 0.0f;  // the second half of the last word for odd k
    __builtin_memcpy(out, w + 4 * word, static_cast<size_t>(2 * elements));
  }
};

/// Pairs of bf16 from wider weights, rounded.
template <class E>
struct RoundedSource {
  MINICPM_INLINE int64_t words(int64_t k) { return (k + 1) / 2; }
  MINICPM_INLINE int64_t bytes(int64_t words) { return words * 2 * E::kBytes; }
  MINICPM_INLINE Vec read(const uint8_t* p, int64_t elements) {
    if (elements >= kLanes) return E::read(p);
    return elements > 0 ? E::read_rest(p, elements) : zero();
  }
  MINICPM_INLINE void fill(const uint8_t* w, int64_t k, int64_t word, int64_t count, float* out) {
    const int64_t elements = smaller(2 * count, k - 2 * word);
    w += 2 * word * E::kBytes;
    for (int64_t i = 0; i < elements; i += kVectorElements) {
      const Vec low = read(w + i * E::kBytes, elements - i);
      const Vec high = read(w + (i + kLanes) * E::kBytes, elements - i - kLanes);
      _mm512_storeu_ps(out + i / 2, (__m512)_mm512_cvtne2ps_pbh(high.v, low.v));
    }
  }
};

/// `count` words of bf16 pairs from 2 * count floats, of which `elements` exist; the others are zero.
MINICPM_INLINE void to_pairs(const float* x, int64_t elements, float* out) {
  int64_t i = 0;
  for (; i + kVectorElements <= elements; i += kVectorElements) {
    const __m512bh pairs = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + i + kLanes), _mm512_loadu_ps(x + i));
    _mm512_storeu_ps(out + i / 2, (__m512)pairs);
  }
  if (i < elements) {
    const __mmask32 mask = first_elements(elements - i);
    const __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), x + i);
    const __m512 high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> kLanes), x + i + kLanes);
    _mm512_storeu_ps(out + i / 2, (__m512)_mm512_cvtne2ps_pbh(high, low));
  }
}

int64_t row_bytes(int64_t k) {
  return round_up(k, kVectorElements) * 2;
}
void to_row(const float* x, int64_t k, void* out) {
  to_pairs(x, k, static_cast<float*>(out));
}
int64_t tile_row_bytes(int64_t k) {
  return round_up(PairSource::words(k), kDenseUnroll) * 4;
}
void to_tile(const float* x, int64_t x_stride, int64_t k, int64_t rows, int64_t tile, void* out) {
  alignas(64) float words[kDenseDepth];
  interleave(PairSource::words(k), rows, tile, static_cast<float*>(out),
             [&](int64_t row, int64_t word, int64_t count) MINICPM_BODY {
               to_pairs(x + row * x_stride + 2 * word, smaller(2 * count, k - 2 * word), words);
               return words;
             });
}

}  // namespace

const LinearInput kInput = {to_row, to_tile, row_bytes, tile_row_bytes, kDenseRows, kDenseGemvRows};
const ProductFn kGemv = gemv_dense<Pairs, MultiplyPairs>;
const ProductFn kGemm = gemm_dense<PairSource, MultiplyPairs>;
const ProductFn kGemmOfF16 = gemm_dense<RoundedSource<PlainF16>, MultiplyPairs>;
const ProductFn kGemmOfF32 = gemm_dense<RoundedSource<PlainF32>, MultiplyPairs>;

}  // namespace minicpm::cpu::avx512_bf16

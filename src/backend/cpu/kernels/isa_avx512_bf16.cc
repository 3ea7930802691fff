// Kernels for processors with AVX-512 and products of bf16.
#include "backend/cpu/kernels/kernel_table.h"
#include "backend/cpu/kernels/vec_avx512.h"

namespace minicpm::cpu::avx512_bf16 {
using namespace avx512;

#include "backend/cpu/kernels/elementwise.inl"

#include "backend/cpu/kernels/cache_rows.inl"

#include "backend/cpu/kernels/attention.inl"

MINICPM_INLINE int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}
/// acc + the products of both bf16 of each word.
MINICPM_INLINE Vec multiply_pairs(Vec acc, Vec a, Vec b) {
  return {_mm512_dpbf16_ps(acc.v, (__m512bh)a.v, (__m512bh)b.v)};
}
/// 32 values, 16 in each, to words of neighbours.
MINICPM_INLINE Vec join_pairs(Vec low, Vec high) {
  return {(__m512)_mm512_cvtne2ps_pbh(high.v, low.v)};
}
/// Word i from a[i] and b[i].
MINICPM_INLINE Vec zip_pairs(Vec a, Vec b) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
                                         5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return {(__m512)_mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(b.v, a.v))};
}

#include "backend/cpu/kernels/attention_half.inl"

#define MINICPM_HALF_ATTENTION .halve_keys = halve_keys, .halve_queries = halve_queries, .attend_half = attend_half,
#include "backend/cpu/kernels/table.inl"
}  // namespace minicpm::cpu::avx512_bf16

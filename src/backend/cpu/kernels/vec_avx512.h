// Vector wrapper for AVX-512 (F, BW, VL, DQ): 16 f32. The functions mean what vec_scalar.h says.
#pragma once

#include <immintrin.h>
#include <stdint.h>

#define MINICPM_INLINE static inline __attribute__((always_inline))

namespace minicpm::cpu::avx512 {

constexpr int kLanes = 16;

// Register tile of attention: 24 sums, 3 query vectors and one broadcast of 32 registers.
constexpr int kTileRows = 8;
constexpr int kTileVectors = 3;
// Sums that the row kernels keep in registers.
constexpr int kRowSums = 16;

struct Vec {
  __m512 v;
};
struct Mask {
  __mmask16 v;
};
struct Whole {};
struct First {
  int count;
};

MINICPM_INLINE __mmask16 first_lanes(First part) {
  return static_cast<__mmask16>((1u << part.count) - 1u);
}

MINICPM_INLINE Vec zero() {
  return {_mm512_setzero_ps()};
}
MINICPM_INLINE Vec set1(float x) {
  return {_mm512_set1_ps(x)};
}
MINICPM_INLINE Vec load(const float* p, Whole = {}) {
  return {_mm512_loadu_ps(p)};
}
MINICPM_INLINE Vec load(const float* p, First part) {
  return {_mm512_maskz_loadu_ps(first_lanes(part), p)};
}
MINICPM_INLINE void store(float* p, Vec a, Whole = {}) {
  _mm512_storeu_ps(p, a.v);
}
MINICPM_INLINE void store(float* p, Vec a, First part) {
  _mm512_mask_storeu_ps(p, first_lanes(part), a.v);
}

MINICPM_INLINE Vec operator+(Vec a, Vec b) {
  return {_mm512_add_ps(a.v, b.v)};
}
MINICPM_INLINE Vec operator-(Vec a, Vec b) {
  return {_mm512_sub_ps(a.v, b.v)};
}
MINICPM_INLINE Vec operator*(Vec a, Vec b) {
  return {_mm512_mul_ps(a.v, b.v)};
}
MINICPM_INLINE Vec operator/(Vec a, Vec b) {
  return {_mm512_div_ps(a.v, b.v)};
}
MINICPM_INLINE Vec fma(Vec a, Vec b, Vec c) {
  return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
MINICPM_INLINE Vec fnma(Vec a, Vec b, Vec c) {
  return {_mm512_fnmadd_ps(a.v, b.v, c.v)};
}
MINICPM_INLINE Vec min(Vec a, Vec b) {
  return {_mm512_min_ps(a.v, b.v)};
}
MINICPM_INLINE Vec max(Vec a, Vec b) {
  return {_mm512_max_ps(a.v, b.v)};
}
MINICPM_INLINE Vec abs(Vec a) {
  return {_mm512_abs_ps(a.v)};
}
MINICPM_INLINE Mask operator<(Vec a, Vec b) {
  return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)};
}
MINICPM_INLINE Vec select(Mask m, Vec yes, Vec no) {
  return {_mm512_mask_blend_ps(m.v, no.v, yes.v)};
}
MINICPM_INLINE Vec round(Vec a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
MINICPM_INLINE Vec scale_by_power(Vec a, Vec n) {
  return {_mm512_scalef_ps(a.v, n.v)};
}
MINICPM_INLINE float sum(Vec a) {
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
MINICPM_INLINE float max_of(Vec a) {
  return _mm512_reduce_max_ps(a.v);
}
MINICPM_INLINE Vec zip_low(Vec a, Vec b) {
  const __m512i order = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  return {_mm512_permutex2var_ps(a.v, order, b.v)};
}
MINICPM_INLINE Vec zip_high(Vec a, Vec b) {
  const __m512i order = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  return {_mm512_permutex2var_ps(a.v, order, b.v)};
}

MINICPM_INLINE Vec load_f16(const uint16_t* p, Whole = {}) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
MINICPM_INLINE Vec load_f16(const uint16_t* p, First part) {
  return {_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(part), p))};
}
MINICPM_INLINE void store_f16(uint16_t* p, Vec a, Whole = {}) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT));
}
MINICPM_INLINE void store_f16(uint16_t* p, Vec a, First part) {
  _mm256_mask_storeu_epi16(p, first_lanes(part), _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT));
}
MINICPM_INLINE Vec widen_bf16(__m256i bits) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
}
MINICPM_INLINE Vec load_bf16(const uint16_t* p, Whole = {}) {
  return widen_bf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
MINICPM_INLINE Vec load_bf16(const uint16_t* p, First part) {
  return widen_bf16(_mm256_maskz_loadu_epi16(first_lanes(part), p));
}
MINICPM_INLINE __m256i narrow_to_bf16(Vec a) {
  const __m512i bits = _mm512_castps_si512(a.v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __m512i quiet_nan = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
  const __mmask16 is_nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_mask_blend_epi32(is_nan, rounded, quiet_nan), 16));
}
MINICPM_INLINE void store_bf16(uint16_t* p, Vec a, Whole = {}) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow_to_bf16(a));
}
MINICPM_INLINE void store_bf16(uint16_t* p, Vec a, First part) {
  _mm256_mask_storeu_epi16(p, first_lanes(part), narrow_to_bf16(a));
}

MINICPM_INLINE Vec load_i8(const void* p) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p))))};
}
MINICPM_INLINE Vec set1_f16(const void* p) {
  uint16_t bits;
  __builtin_memcpy(&bits, p, sizeof(bits));
  return {_mm512_cvtph_ps(_mm256_set1_epi16(static_cast<short>(bits)))};
}

}  // namespace minicpm::cpu::avx512

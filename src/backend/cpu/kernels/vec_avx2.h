// Vector wrapper for AVX2 with FMA and F16C: 8 f32. The functions mean what vec_scalar.h says.
#pragma once

#include <immintrin.h>
#include <stdint.h>

#define MINICPM_INLINE static inline __attribute__((always_inline))

namespace minicpm::cpu::avx2 {

constexpr int kLanes = 8;

// Register tile of attention: 12 sums, 3 query vectors and one broadcast fill the 16 registers.
constexpr int kTileRows = 4;
constexpr int kTileVectors = 3;
// Sums that the row kernels keep in registers.
constexpr int kRowSums = 8;

struct Vec {
  __m256 v;
};
struct Mask {
  __m256 v;
};
struct Whole {};
struct First {
  int count;
};

/// All bits set in the first lanes.
MINICPM_INLINE __m256i first_lanes(First part) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(part.count), lane);
}
MINICPM_INLINE __m128i load_first_u16(const uint16_t* p, First part) {
  alignas(16) uint16_t lanes[8] = {};
  __builtin_memcpy(lanes, p, static_cast<unsigned>(part.count) * sizeof(uint16_t));
  return _mm_load_si128(reinterpret_cast<const __m128i*>(lanes));
}
MINICPM_INLINE void store_first_u16(uint16_t* p, __m128i a, First part) {
  alignas(16) uint16_t lanes[8];
  _mm_store_si128(reinterpret_cast<__m128i*>(lanes), a);
  __builtin_memcpy(p, lanes, static_cast<unsigned>(part.count) * sizeof(uint16_t));
}

MINICPM_INLINE Vec zero() {
  return {_mm256_setzero_ps()};
}
MINICPM_INLINE Vec set1(float x) {
  return {_mm256_set1_ps(x)};
}
MINICPM_INLINE Vec load(const float* p, Whole = {}) {
  return {_mm256_loadu_ps(p)};
}
MINICPM_INLINE Vec load(const float* p, First part) {
  return {_mm256_maskload_ps(p, first_lanes(part))};
}
MINICPM_INLINE void store(float* p, Vec a, Whole = {}) {
  _mm256_storeu_ps(p, a.v);
}
MINICPM_INLINE void store(float* p, Vec a, First part) {
  _mm256_maskstore_ps(p, first_lanes(part), a.v);
}

MINICPM_INLINE Vec operator+(Vec a, Vec b) {
  return {_mm256_add_ps(a.v, b.v)};
}
MINICPM_INLINE Vec operator-(Vec a, Vec b) {
  return {_mm256_sub_ps(a.v, b.v)};
}
MINICPM_INLINE Vec operator*(Vec a, Vec b) {
  return {_mm256_mul_ps(a.v, b.v)};
}
MINICPM_INLINE Vec operator/(Vec a, Vec b) {
  return {_mm256_div_ps(a.v, b.v)};
}
MINICPM_INLINE Vec fma(Vec a, Vec b, Vec c) {
  return {_mm256_fmadd_ps(a.v, b.v, c.v)};
}
MINICPM_INLINE Vec fnma(Vec a, Vec b, Vec c) {
  return {_mm256_fnmadd_ps(a.v, b.v, c.v)};
}
MINICPM_INLINE Vec min(Vec a, Vec b) {
  return {_mm256_min_ps(a.v, b.v)};
}
MINICPM_INLINE Vec max(Vec a, Vec b) {
  return {_mm256_max_ps(a.v, b.v)};
}
MINICPM_INLINE Vec abs(Vec a) {
  return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)};
}
MINICPM_INLINE Mask operator<(Vec a, Vec b) {
  return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)};
}
MINICPM_INLINE Vec select(Mask m, Vec yes, Vec no) {
  return {_mm256_blendv_ps(no.v, yes.v, m.v)};
}
MINICPM_INLINE Vec round(Vec a) {
  return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
MINICPM_INLINE Vec scale_by_power(Vec a, Vec n) {
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127));
  return {_mm256_mul_ps(a.v, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)))};
}
MINICPM_INLINE float sum(Vec a) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
MINICPM_INLINE float max_of(Vec a) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
MINICPM_INLINE Vec zip_low(Vec a, Vec b) {
  return {_mm256_permute2f128_ps(_mm256_unpacklo_ps(a.v, b.v), _mm256_unpackhi_ps(a.v, b.v), 0x20)};
}
MINICPM_INLINE Vec zip_high(Vec a, Vec b) {
  return {_mm256_permute2f128_ps(_mm256_unpacklo_ps(a.v, b.v), _mm256_unpackhi_ps(a.v, b.v), 0x31)};
}

MINICPM_INLINE Vec load_f16(const uint16_t* p, Whole = {}) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
MINICPM_INLINE Vec load_f16(const uint16_t* p, First part) {
  return {_mm256_cvtph_ps(load_first_u16(p, part))};
}
MINICPM_INLINE void store_f16(uint16_t* p, Vec a, Whole = {}) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT));
}
MINICPM_INLINE void store_f16(uint16_t* p, Vec a, First part) {
  store_first_u16(p, _mm256_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT), part);
}
MINICPM_INLINE Vec widen_bf16(__m128i bits) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16))};
}
MINICPM_INLINE Vec load_bf16(const uint16_t* p, Whole = {}) {
  return widen_bf16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
MINICPM_INLINE Vec load_bf16(const uint16_t* p, First part) {
  return widen_bf16(load_first_u16(p, part));
}
MINICPM_INLINE __m128i narrow_to_bf16(Vec a) {
  const __m256i bits = _mm256_castps_si256(a.v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i quiet_nan = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q));
  const __m256i high = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet_nan, is_nan), 16);
  return _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
}
MINICPM_INLINE void store_bf16(uint16_t* p, Vec a, Whole = {}) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), narrow_to_bf16(a));
}
MINICPM_INLINE void store_bf16(uint16_t* p, Vec a, First part) {
  store_first_u16(p, narrow_to_bf16(a), part);
}

MINICPM_INLINE Vec load_i8(const void* p) {
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(static_cast<const __m128i*>(p))))};
}
MINICPM_INLINE Vec set1_f16(const void* p) {
  uint16_t bits;
  __builtin_memcpy(&bits, p, sizeof(bits));
  return {_mm256_cvtph_ps(_mm_set1_epi16(static_cast<short>(bits)))};
}

}  // namespace minicpm::cpu::avx2

// Integer vectors for the matrix products with AVX-512 (F, BW, VL, DQ, VNNI): 64 codes or 16 sums in a register.
#pragma once

#include "backend/cpu/kernels/repeated_byte.h"
#include "backend/cpu/kernels/vec_avx512.h"

namespace minicpm::cpu::avx512 {

constexpr int kSumLanes = 16;              // sums in a vector
constexpr int kCodeLanes = 4 * kSumLanes;  // codes in a vector
constexpr int kSignedOffset = 128;         // what dot_signed adds to the codes, and to_panel
constexpr bool kSignedPanels = false;      // panels of signed codes are multiplied by `dot`

constexpr int kBlockK = 256;               // weights that a loader sees at a time
constexpr float kSmallestScaled = 1e-30f;  // groups of activations below this count as zero

/// 64 codes (int8 or uint8) or 16 int32.
struct Codes {
  __m512i v;
};
using Sums = Vec;  // kSumLanes floats

MINICPM_INLINE Sums zero_sums() {
  return zero();
}
MINICPM_INLINE Sums set_sums(float x) {
  return set1(x);
}
MINICPM_INLINE Sums load_sums(const float* p) {
  return load(p);
}
MINICPM_INLINE void store_sums(float* p, Sums a) {
  store(p, a);
}

MINICPM_INLINE Codes zero_codes() {
  return {_mm512_setzero_si512()};
}
MINICPM_INLINE Codes load_codes(const void* p) {
  return {_mm512_loadu_si512(p)};
}
MINICPM_INLINE void store_codes(void* p, Codes a) {
  _mm512_storeu_si512(p, a.v);
}
/// Four bytes, or one int32, in every lane.
MINICPM_INLINE Codes broadcast4(const void* p) {
  int32_t x;
  __builtin_memcpy(&x, p, sizeof(x));
  return {_mm512_set1_epi32(x)};
}
MINICPM_INLINE Codes subtract(Codes a, Codes b) {
  return {_mm512_sub_epi32(a.v, b.v)};
}
MINICPM_INLINE Codes shift_left(Codes a, Codes counts) {
  return {_mm512_sllv_epi32(a.v, counts.v)};
}
MINICPM_INLINE Codes set_codes(int32_t x) {
  return {_mm512_set1_epi32(x)};
}
MINICPM_INLINE Sums to_float(Codes a) {
  return {_mm512_cvtepi32_ps(a.v)};
}
template <int kByte>
MINICPM_INLINE __m512i repeated_byte() {
  return _mm512_set1_epi32(static_cast<int>(kRepeatedByte[kByte]));
}
/// acc + sums over 4 neighbours of w * a; w unsigned (below 128), a signed.
MINICPM_INLINE Codes dot(Codes acc, Codes w, Codes a) {
  return {_mm512_dpbusd_epi32(acc.v, w.v, a.v)};
}
/// Signed codes as the unsigned ones that `dot` takes: w + kSignedOffset.
MINICPM_INLINE Codes to_panel(Codes w) {
  return {_mm512_xor_si512(w.v, repeated_byte<0x80>())};
}
/// acc + sums over 4 neighbours of (w + kSignedOffset) * a; both signed.
MINICPM_INLINE Codes dot_signed(Codes acc, Codes w, Codes a) {
  return dot(acc, to_panel(w), a);
}
/// Quarter `part` of the codes as floats.
template <bool kSigned>
MINICPM_INLINE Vec widen(Codes a, int part) {
  const __m128i quarter = part == 0   ? _mm512_castsi512_si128(a.v)
                          : part == 1 ? _mm512_extracti32x4_epi32(a.v, 1)
                          : part == 2 ? _mm512_extracti32x4_epi32(a.v, 2)
                                      : _mm512_extracti32x4_epi32(a.v, 3);
  return {_mm512_cvtepi32_ps(kSigned ? _mm512_cvtepi8_epi32(quarter) : _mm512_cvtepu8_epi32(quarter))};
}

/// Scales of the groups that the sums of step `step` (64 codes) belong to, from those of the whole block of 256.
template <int kGroup>
MINICPM_INLINE Sums spread(const float* scales, int step) {
  if constexpr (kGroup == 32) {
    const __m512i first = _mm512_set_epi32(1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0);
    return {_mm512_permutexvar_ps(_mm512_add_epi32(first, _mm512_set1_epi32(2 * step)),
                                  _mm512_castps256_ps512(_mm256_load_ps(scales)))};
  } else {
    const __m512i first = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    return {_mm512_permutexvar_ps(_mm512_add_epi32(first, _mm512_set1_epi32(4 * step)), _mm512_load_ps(scales))};
  }
}
/// out = a * b for the scales of a block: 8 values for kGroup 32, else 16. All aligned to 64.
template <int kGroup>
MINICPM_INLINE void multiply_scales(float* out, const float* a, const float* b) {
  if constexpr (kGroup == 32) {
    _mm256_store_ps(out, _mm256_mul_ps(_mm256_load_ps(a), _mm256_load_ps(b)));
  } else {
    _mm512_store_ps(out, _mm512_mul_ps(_mm512_load_ps(a), _mm512_load_ps(b)));
  }
}
/// acc + a * b over the scales of a block.
template <int kGroup>
MINICPM_INLINE Sums add_scales(Sums acc, const float* a, const float* b) {
  if constexpr (kGroup == 32) {
    return fma(Vec{_mm512_zextps256_ps512(_mm256_load_ps(a))}, Vec{_mm512_zextps256_ps512(_mm256_load_ps(b))}, acc);
  } else {
    return fma(load(a), load(b), acc);
  }
}

/// Quantises 32 floats: codes in [-127, 127], the sums of both halves, and the scale as the result. NaN and infinity
/// make the scale so, and with it every product of the row.
MINICPM_INLINE float quantize_group(const float* x, int8_t* q, int32_t* sums) {
  const __m512 low = _mm512_loadu_ps(x), high = _mm512_loadu_ps(x + 16);
  // Ordered as integers, so that NaN counts as the largest.
  const __m512i magnitude =
      _mm512_max_epi32(_mm512_castps_si512(_mm512_abs_ps(low)), _mm512_castps_si512(_mm512_abs_ps(high)));
  const __m256i eight = _mm256_max_epi32(_mm512_castsi512_si256(magnitude), _mm512_extracti64x4_epi64(magnitude, 1));
  __m128i four = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0xb1));
  const float largest = _mm_cvtss_f32(_mm_castsi128_ps(four));
  // Below the threshold 127 / largest would overflow.
  const __m512 to_code = _mm512_set1_ps(largest < kSmallestScaled ? 0.0f : 127.0f / largest);
  const __m128i first = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(low, to_code)));
  const __m128i second = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(high, to_code)));
  const __m256i codes = _mm256_inserti128_si256(_mm256_castsi128_si256(first), second, 1);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), codes);
  __m256i s = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm512_castsi512_si256(repeated_byte<1>()), codes);
  s = _mm256_add_epi32(s, _mm256_shuffle_epi32(s, 0x4e));
  s = _mm256_add_epi32(s, _mm256_shuffle_epi32(s, 0xb1));
  sums[0] = _mm256_cvtsi256_si32(s);
  sums[1] = _mm_cvtsi128_si32(_mm256_extracti128_si256(s, 1));
  return largest < kSmallestScaled ? 0.0f : largest * (1.0f / 127.0f);
}

/// Rows become columns: lane j of v[i] and lane i of v[j] change places.
MINICPM_INLINE void transpose(Codes (&v)[kSumLanes]) {
#define MINICPM_QUAD(a, b, c, d)                        \
  {                                                     \
    const __m512i t0 = _mm512_unpacklo_epi32(a.v, b.v); \
    const __m512i t1 = _mm512_unpackhi_epi32(a.v, b.v); \
    const __m512i t2 = _mm512_unpacklo_epi32(c.v, d.v); \
    const __m512i t3 = _mm512_unpackhi_epi32(c.v, d.v); \
    a.v = _mm512_unpacklo_epi64(t0, t2);                \
    b.v = _mm512_unpackhi_epi64(t0, t2);                \
    c.v = _mm512_unpacklo_epi64(t1, t3);                \
    d.v = _mm512_unpackhi_epi64(t1, t3);                \
  }
#define MINICPM_LANES(a, b, c, d)                            \
  {                                                          \
    const __m512i t0 = _mm512_shuffle_i32x4(a.v, b.v, 0x88); \
    const __m512i t1 = _mm512_shuffle_i32x4(a.v, b.v, 0xdd); \
    const __m512i t2 = _mm512_shuffle_i32x4(c.v, d.v, 0x88); \
    const __m512i t3 = _mm512_shuffle_i32x4(c.v, d.v, 0xdd); \
    a.v = _mm512_shuffle_i32x4(t0, t2, 0x88);                \
    c.v = _mm512_shuffle_i32x4(t0, t2, 0xdd);                \
    b.v = _mm512_shuffle_i32x4(t1, t3, 0x88);                \
    d.v = _mm512_shuffle_i32x4(t1, t3, 0xdd);                \
  }
  MINICPM_QUAD(v[0], v[1], v[2], v[3])
  MINICPM_QUAD(v[4], v[5], v[6], v[7])
  MINICPM_QUAD(v[8], v[9], v[10], v[11])
  MINICPM_QUAD(v[12], v[13], v[14], v[15])
  MINICPM_LANES(v[0], v[4], v[8], v[12])
  MINICPM_LANES(v[1], v[5], v[9], v[13])
  MINICPM_LANES(v[2], v[6], v[10], v[14])
  MINICPM_LANES(v[3], v[7], v[11], v[15])
#undef MINICPM_QUAD
#undef MINICPM_LANES
}

/// Scales of the groups of 16 rows, from one row after another to out[group * stride + row].
template <int kCount>
MINICPM_INLINE void transpose_scales(const float (&rows)[kSumLanes][16], float* out, int64_t stride) {
  Codes v[kSumLanes];
  for (int c = 0; c < kSumLanes; ++c)
    v[c] = load_codes(rows[c]);
  transpose(v);
  for (int g = 0; g < kCount; ++g)
    store_codes(out + g * stride, v[g]);
}

}  // namespace minicpm::cpu::avx512

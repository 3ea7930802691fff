// Integer vectors for the matrix products with AVX2: 32 codes or 8 sums in a register. With AVX-VNNI there is a product
// of unsigned and signed bytes with 32-bit sums. Without it vpmaddubsw adds pairs in 16 bits and saturates, so unsigned
// codes must stay below 128 and signed ones are multiplied as magnitudes: 2 * 128 * 127 fits.
#pragma once

#include "backend/cpu/kernels/repeated_byte.h"
#include "backend/cpu/kernels/vec_avx2.h"

namespace minicpm::cpu::avx2 {

constexpr int kSumLanes = 8;               // sums in a vector
constexpr int kCodeLanes = 4 * kSumLanes;  // codes in a vector
#if defined(__AVXVNNI__)
constexpr int kSignedOffset = 128;     // what dot_signed adds to the codes, and to_panel
constexpr bool kSignedPanels = false;  // panels of signed codes are multiplied by `dot`
#else
constexpr int kSignedOffset = 0;
constexpr bool kSignedPanels = true;  // by `dot_signed`
#endif
constexpr int kBlockK = 256;               // weights that a loader sees at a time
constexpr float kSmallestScaled = 1e-30f;  // groups of activations below this count as zero

/// 32 codes (int8 or uint8) or 8 int32.
struct Codes {
  __m256i v;
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
  return {_mm256_setzero_si256()};
}
MINICPM_INLINE Codes load_codes(const void* p) {
  return {_mm256_loadu_si256(static_cast<const __m256i*>(p))};
}
MINICPM_INLINE void store_codes(void* p, Codes a) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), a.v);
}
/// Four bytes, or one int32, in every lane.
MINICPM_INLINE Codes broadcast4(const void* p) {
  int32_t x;
  __builtin_memcpy(&x, p, sizeof(x));
  return {_mm256_set1_epi32(x)};
}
MINICPM_INLINE Codes set_codes(int32_t x) {
  return {_mm256_set1_epi32(x)};
}
MINICPM_INLINE Codes subtract(Codes a, Codes b) {
  return {_mm256_sub_epi32(a.v, b.v)};
}
MINICPM_INLINE Codes shift_left(Codes a, Codes counts) {
  return {_mm256_sllv_epi32(a.v, counts.v)};
}
MINICPM_INLINE Sums to_float(Codes a) {
  return {_mm256_cvtepi32_ps(a.v)};
}
template <int kByte>
MINICPM_INLINE __m256i repeated_byte() {
  return _mm256_set1_epi32(static_cast<int>(kRepeatedByte[kByte]));
}
/// Signed codes as the panels hold them.
MINICPM_INLINE Codes to_panel(Codes w) {
  return kSignedPanels ? w : Codes{_mm256_xor_si256(w.v, repeated_byte<0x80>())};
}
/// acc + sums over 4 neighbours of w * a; w unsigned (below 128 without AVX-VNNI), a signed.
MINICPM_INLINE Codes dot(Codes acc, Codes w, Codes a) {
#if defined(__AVXVNNI__)
  return {_mm256_dpbusd_avx_epi32(acc.v, w.v, a.v)};
#else
  const __m256i pairs = _mm256_maddubs_epi16(w.v, a.v);
  return {_mm256_add_epi32(acc.v, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))};
#endif
}
/// acc + sums over 4 neighbours of (w + kSignedOffset) * a; both signed, a above -128.
MINICPM_INLINE Codes dot_signed(Codes acc, Codes w, Codes a) {
  if constexpr (kSignedOffset != 0) return dot(acc, to_panel(w), a);
  return dot(acc, {_mm256_abs_epi8(w.v)}, {_mm256_sign_epi8(a.v, w.v)});
}
/// Quarter `part` of the codes as floats.
template <bool kSigned>
MINICPM_INLINE Vec widen(Codes a, int part) {
  const __m128i half = part < 2 ? _mm256_castsi256_si128(a.v) : _mm256_extracti128_si256(a.v, 1);
  const __m128i quarter = part % 2 == 0 ? half : _mm_unpackhi_epi64(half, half);
  return {_mm256_cvtepi32_ps(kSigned ? _mm256_cvtepi8_epi32(quarter) : _mm256_cvtepu8_epi32(quarter))};
}

/// Scales of the groups that the sums of step `step` (32 codes) belong to, from those of the whole block of 256.
template <int kGroup>
MINICPM_INLINE Sums spread(const float* scales, int step) {
  if constexpr (kGroup == 32) return set1(scales[step]);
  return {_mm256_set_m128(_mm_set1_ps(scales[2 * step + 1]), _mm_set1_ps(scales[2 * step]))};
}
/// out = a * b for the scales of a block: 8 values for kGroup 32, else 16. All aligned to 64.
template <int kGroup>
MINICPM_INLINE void multiply_scales(float* out, const float* a, const float* b) {
  store(out, load(a) * load(b));
  if constexpr (kGroup == 16) store(out + 8, load(a + 8) * load(b + 8));
}
/// acc + a * b over the scales of a block.
template <int kGroup>
MINICPM_INLINE Sums add_scales(Sums acc, const float* a, const float* b) {
  acc = fma(load(a), load(b), acc);
  if constexpr (kGroup == 16) acc = fma(load(a + 8), load(b + 8), acc);
  return acc;
}

/// Quantises 32 floats: codes in [-127, 127], the sums of both halves, and the scale as the result. NaN and infinity
/// make the scale so, and with it every product of the row.
MINICPM_INLINE float quantize_group(const float* x, int8_t* q, int32_t* sums) {
  const __m256 a = _mm256_loadu_ps(x), b = _mm256_loadu_ps(x + 8);
  const __m256 c = _mm256_loadu_ps(x + 16), d = _mm256_loadu_ps(x + 24);
  // Ordered as integers, so that NaN counts as the largest.
  const __m256i no_sign = _mm256_set1_epi32(0x7fffffff);
  const __m256i ab = _mm256_max_epi32(_mm256_and_si256(_mm256_castps_si256(a), no_sign),
                                      _mm256_and_si256(_mm256_castps_si256(b), no_sign));
  const __m256i cd = _mm256_max_epi32(_mm256_and_si256(_mm256_castps_si256(c), no_sign),
                                      _mm256_and_si256(_mm256_castps_si256(d), no_sign));
  const __m256i abcd = _mm256_max_epi32(ab, cd);
  __m128i m = _mm_max_epi32(_mm256_castsi256_si128(abcd), _mm256_extracti128_si256(abcd, 1));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
  const float largest = _mm_cvtss_f32(_mm_castsi128_ps(m));
  // Below the threshold 127 / largest would overflow.
  const float to_code = largest < kSmallestScaled ? 0.0f : 127.0f / largest;
  const __m256 factor = _mm256_set1_ps(to_code);
  const __m256i ia = _mm256_cvtps_epi32(_mm256_mul_ps(a, factor)), ib = _mm256_cvtps_epi32(_mm256_mul_ps(b, factor));
  const __m256i ic = _mm256_cvtps_epi32(_mm256_mul_ps(c, factor)), id = _mm256_cvtps_epi32(_mm256_mul_ps(d, factor));
  // Packing works within 128-bit lanes: a0 b0 c0 d0 | a1 b1 c1 d1, four codes each.
  const __m256i codes = _mm256_packs_epi16(_mm256_packs_epi32(ia, ib), _mm256_packs_epi32(ic, id));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const __m256i in_order = _mm256_permutevar8x32_epi32(codes, order);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), in_order);
  const __m256i ones = _mm256_set1_epi8(1);
  __m256i s = _mm256_madd_epi16(_mm256_maddubs_epi16(ones, in_order), _mm256_set1_epi16(1));
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
    const __m256i t0 = _mm256_unpacklo_epi32(a.v, b.v); \
    const __m256i t1 = _mm256_unpackhi_epi32(a.v, b.v); \
    const __m256i t2 = _mm256_unpacklo_epi32(c.v, d.v); \
    const __m256i t3 = _mm256_unpackhi_epi32(c.v, d.v); \
    a.v = _mm256_unpacklo_epi64(t0, t2);                \
    b.v = _mm256_unpackhi_epi64(t0, t2);                \
    c.v = _mm256_unpacklo_epi64(t1, t3);                \
    d.v = _mm256_unpackhi_epi64(t1, t3);                \
  }
#define MINICPM_LANES(a, b)                                      \
  {                                                              \
    const __m256i t = _mm256_permute2x128_si256(a.v, b.v, 0x20); \
    b.v = _mm256_permute2x128_si256(a.v, b.v, 0x31);             \
    a.v = t;                                                     \
  }
  MINICPM_QUAD(v[0], v[1], v[2], v[3])
  MINICPM_QUAD(v[4], v[5], v[6], v[7])
  MINICPM_LANES(v[0], v[4])
  MINICPM_LANES(v[1], v[5])
  MINICPM_LANES(v[2], v[6])
  MINICPM_LANES(v[3], v[7])
#undef MINICPM_QUAD
#undef MINICPM_LANES
}

/// Scales of the groups of 8 rows, from one row after another to out[group * stride + row].
template <int kCount>
MINICPM_INLINE void transpose_scales(const float (&rows)[kSumLanes][16], float* out, int64_t stride) {
  for (int first = 0; first < kCount; first += kSumLanes) {
    Codes v[kSumLanes];
    for (int c = 0; c < kSumLanes; ++c)
      v[c] = load_codes(rows[c] + first);
    transpose(v);
    for (int g = 0; g < kSumLanes; ++g)
      store_codes(out + (first + g) * stride, v[g]);
  }
}

}  // namespace minicpm::cpu::avx2

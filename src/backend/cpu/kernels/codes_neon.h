// Integer vectors for the matrix products on 64-bit ARM, with or without the dot product instructions. A vector is a
// pair of registers, so that 32 codes, one group, are one vector as with AVX2.
#pragma once

#include "backend/cpu/kernels/vec_neon.h"

namespace minicpm::cpu::neon {

constexpr int kSumLanes = 8;               // sums in a vector
constexpr int kCodeLanes = 4 * kSumLanes;  // codes in a vector
constexpr int kSignedOffset = 0;           // what dot_signed adds to the codes
constexpr bool kSignedPanels = false;      // codes are below 128, so one product serves signed and unsigned ones
constexpr int kBlockK = 256;               // weights that a loader sees at a time
constexpr float kSmallestScaled = 1e-30f;  // groups of activations below this count as zero

/// 32 codes or 8 int32.
struct Codes {
  int8x16_t a, b;
};
/// kSumLanes floats.
struct Sums {
  Vec a, b;
};

MINICPM_INLINE Sums zero_sums() {
  return {zero(), zero()};
}
MINICPM_INLINE Sums set_sums(float x) {
  return {set1(x), set1(x)};
}
MINICPM_INLINE Sums load_sums(const float* p) {
  return {load(p), load(p + 4)};
}
MINICPM_INLINE void store_sums(float* p, Sums s) {
  store(p, s.a);
  store(p + 4, s.b);
}
MINICPM_INLINE Sums operator+(Sums x, Sums y) {
  return {x.a + y.a, x.b + y.b};
}
MINICPM_INLINE Sums operator*(Sums x, Sums y) {
  return {x.a * y.a, x.b * y.b};
}
MINICPM_INLINE Sums fma(Sums x, Sums y, Sums z) {
  return {fma(x.a, y.a, z.a), fma(x.b, y.b, z.b)};
}
MINICPM_INLINE float sum(Sums s) {
  return sum(s.a + s.b);
}

MINICPM_INLINE int32x4_t words(int8x16_t x) {
  return vreinterpretq_s32_s8(x);
}
MINICPM_INLINE int8x16_t bytes(int32x4_t x) {
  return vreinterpretq_s8_s32(x);
}
MINICPM_INLINE Codes zero_codes() {
  return {vdupq_n_s8(0), vdupq_n_s8(0)};
}
MINICPM_INLINE Codes load_codes(const void* p) {
  const auto* q = static_cast<const int8_t*>(p);
  return {vld1q_s8(q), vld1q_s8(q + 16)};
}
MINICPM_INLINE void store_codes(void* p, Codes x) {
  auto* q = static_cast<int8_t*>(p);
  vst1q_s8(q, x.a);
  vst1q_s8(q + 16, x.b);
}
MINICPM_INLINE Codes set_codes(int32_t x) {
  const int8x16_t v = bytes(vdupq_n_s32(x));
  return {v, v};
}
/// Four bytes, or one int32, in every lane.
MINICPM_INLINE Codes broadcast4(const void* p) {
  int32_t x;
  __builtin_memcpy(&x, p, sizeof(x));
  return set_codes(x);
}
MINICPM_INLINE Codes subtract(Codes x, Codes y) {
  return {bytes(vsubq_s32(words(x.a), words(y.a))), bytes(vsubq_s32(words(x.b), words(y.b)))};
}
MINICPM_INLINE Codes shift_left(Codes x, Codes counts) {
  return {bytes(vshlq_s32(words(x.a), words(counts.a))), bytes(vshlq_s32(words(x.b), words(counts.b)))};
}
MINICPM_INLINE Sums to_float(Codes x) {
  return {{vcvtq_f32_s32(words(x.a))}, {vcvtq_f32_s32(words(x.b))}};
}
MINICPM_INLINE int8x16_t dot_16(int8x16_t acc, int8x16_t w, int8x16_t x) {
#if defined(__ARM_FEATURE_DOTPROD)
  return bytes(vdotq_s32(words(acc), w, x));
#else
  // Two products fit into 16 bits: 2 * 128 * 127.
  const int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(x));
  const int16x8_t high = vmull_high_s8(w, x);
  return bytes(vpadalq_s16(words(acc), vpaddq_s16(low, high)));
#endif
}
/// acc + sums over 4 neighbours of w * x; both signed, x above -128.
MINICPM_INLINE Codes dot(Codes acc, Codes w, Codes x) {
  return {dot_16(acc.a, w.a, x.a), dot_16(acc.b, w.b, x.b)};
}
MINICPM_INLINE Codes dot_signed(Codes acc, Codes w, Codes x) {
  return dot(acc, w, x);
}
/// Signed codes as the panels hold them.
MINICPM_INLINE Codes to_panel(Codes w) {
  return w;
}
/// Four codes, those from 4 * part on, as floats.
template <bool kSigned>
MINICPM_INLINE Vec widen(Codes x, int part) {
  const int8x16_t half = part < 4 ? x.a : x.b;
  const int16x8_t eight = part % 4 < 2 ? vmovl_s8(vget_low_s8(half)) : vmovl_high_s8(half);
  return {vcvtq_f32_s32(part % 2 == 0 ? vmovl_s16(vget_low_s16(eight)) : vmovl_high_s16(eight))};
}

/// Scales of the groups that the sums of step `step` (32 codes) belong to, from those of the whole block of 256.
template <int kGroup>
MINICPM_INLINE Sums spread(const float* scales, int step) {
  if constexpr (kGroup == 32) return set_sums(scales[step]);
  return {set1(scales[2 * step]), set1(scales[2 * step + 1])};
}
/// out = a * b for the scales of a block: 8 values for kGroup 32, else 16.
template <int kGroup>
MINICPM_INLINE void multiply_scales(float* out, const float* a, const float* b) {
  for (int i = 0; i < kBlockK / kGroup; i += kLanes)
    store(out + i, load(a + i) * load(b + i));
}
/// acc + a * b over the scales of a block.
template <int kGroup>
MINICPM_INLINE Sums add_scales(Sums acc, const float* a, const float* b) {
  for (int i = 0; i < kBlockK / kGroup; i += kSumLanes)
    acc = fma(load_sums(a + i), load_sums(b + i), acc);
  return acc;
}

/// Quantises 32 floats: codes in [-127, 127], the sums of both halves, and the scale as the result. NaN and infinity
/// make the scale so, and with it every product of the row.
MINICPM_INLINE float quantize_group(const float* x, int8_t* q, int32_t* sums) {
  uint32x4_t magnitude = vdupq_n_u32(0);  // ordered as integers, so that NaN counts as the largest
  for (int i = 0; i < 32; i += 4)
    magnitude = vmaxq_u32(magnitude, vreinterpretq_u32_f32(vabsq_f32(vld1q_f32(x + i))));
  const float largest = __builtin_bit_cast(float, vmaxvq_u32(magnitude));
  // Below the threshold 127 / largest would overflow.
  const float to_code = largest < kSmallestScaled ? 0.0f : 127.0f / largest;
  for (int half = 0; half < 2; ++half) {
    int16x8_t codes[2];
    for (int i = 0; i < 2; ++i) {
      const float* p = x + 16 * half + 8 * i;
      const int32x4_t low = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(p), to_code));
      const int32x4_t high = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(p + 4), to_code));
      codes[i] = vcombine_s16(vmovn_s32(low), vmovn_s32(high));
    }
    const int8x16_t all = vcombine_s8(vmovn_s16(codes[0]), vmovn_s16(codes[1]));
    vst1q_s8(q + 16 * half, all);
    sums[half] = vaddlvq_s8(all);
  }
  return largest < kSmallestScaled ? 0.0f : largest * (1.0f / 127.0f);
}

/// Four registers of four lanes: rows become columns.
MINICPM_INLINE void transpose_4x4(int8x16_t& a, int8x16_t& b, int8x16_t& c, int8x16_t& d) {
  const int64x2_t t0 = vreinterpretq_s64_s32(vtrn1q_s32(words(a), words(b)));
  const int64x2_t t1 = vreinterpretq_s64_s32(vtrn2q_s32(words(a), words(b)));
  const int64x2_t t2 = vreinterpretq_s64_s32(vtrn1q_s32(words(c), words(d)));
  const int64x2_t t3 = vreinterpretq_s64_s32(vtrn2q_s32(words(c), words(d)));
  a = vreinterpretq_s8_s64(vtrn1q_s64(t0, t2));
  b = vreinterpretq_s8_s64(vtrn1q_s64(t1, t3));
  c = vreinterpretq_s8_s64(vtrn2q_s64(t0, t2));
  d = vreinterpretq_s8_s64(vtrn2q_s64(t1, t3));
}
MINICPM_INLINE void swap(int8x16_t& a, int8x16_t& b) {
  const int8x16_t t = a;
  a = b;
  b = t;
}
/// Rows become columns: lane j of v[i] and lane i of v[j] change places.
MINICPM_INLINE void transpose(Codes (&v)[kSumLanes]) {
  transpose_4x4(v[0].a, v[1].a, v[2].a, v[3].a);
  transpose_4x4(v[0].b, v[1].b, v[2].b, v[3].b);
  transpose_4x4(v[4].a, v[5].a, v[6].a, v[7].a);
  transpose_4x4(v[4].b, v[5].b, v[6].b, v[7].b);
  swap(v[0].b, v[4].a);
  swap(v[1].b, v[5].a);
  swap(v[2].b, v[6].a);
  swap(v[3].b, v[7].a);
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

}  // namespace minicpm::cpu::neon

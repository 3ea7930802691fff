// Vector wrapper for 64-bit ARM: 4 f32. The functions mean what vec_scalar.h says.
#pragma once

#include <arm_neon.h>
#include <stdint.h>

#define MINICPM_INLINE static inline __attribute__((always_inline))

namespace minicpm::cpu::neon {

constexpr int kLanes = 4;

// Register tile of attention: 24 sums, 3 query vectors and one broadcast of 32 registers.
constexpr int kTileRows = 8;
constexpr int kTileVectors = 3;
// Sums that the row kernels keep in registers.
constexpr int kRowSums = 16;

struct Vec {
  float32x4_t v;
};
struct Mask {
  uint32x4_t v;
};
struct Whole {};
struct First {
  int count;
};

MINICPM_INLINE uint16x4_t load_first_u16(const uint16_t* p, First part) {
  uint16_t lanes[4] = {};
  __builtin_memcpy(lanes, p, static_cast<unsigned>(part.count) * sizeof(uint16_t));
  return vld1_u16(lanes);
}
MINICPM_INLINE void store_first_u16(uint16_t* p, uint16x4_t a, First part) {
  uint16_t lanes[4];
  vst1_u16(lanes, a);
  __builtin_memcpy(p, lanes, static_cast<unsigned>(part.count) * sizeof(uint16_t));
}

MINICPM_INLINE Vec zero() {
  return {vdupq_n_f32(0.0f)};
}
MINICPM_INLINE Vec set1(float x) {
  return {vdupq_n_f32(x)};
}
MINICPM_INLINE Vec load(const float* p, Whole = {}) {
  return {vld1q_f32(p)};
}
MINICPM_INLINE Vec load(const float* p, First part) {
  float lanes[4] = {};
  __builtin_memcpy(lanes, p, static_cast<unsigned>(part.count) * sizeof(float));
  return {vld1q_f32(lanes)};
}
MINICPM_INLINE void store(float* p, Vec a, Whole = {}) {
  vst1q_f32(p, a.v);
}
MINICPM_INLINE void store(float* p, Vec a, First part) {
  float lanes[4];
  vst1q_f32(lanes, a.v);
  __builtin_memcpy(p, lanes, static_cast<unsigned>(part.count) * sizeof(float));
}

MINICPM_INLINE Vec operator+(Vec a, Vec b) {
  return {vaddq_f32(a.v, b.v)};
}
MINICPM_INLINE Vec operator-(Vec a, Vec b) {
  return {vsubq_f32(a.v, b.v)};
}
MINICPM_INLINE Vec operator*(Vec a, Vec b) {
  return {vmulq_f32(a.v, b.v)};
}
MINICPM_INLINE Vec operator/(Vec a, Vec b) {
  return {vdivq_f32(a.v, b.v)};
}
MINICPM_INLINE Vec fma(Vec a, Vec b, Vec c) {
  return {vfmaq_f32(c.v, a.v, b.v)};
}
MINICPM_INLINE Vec fnma(Vec a, Vec b, Vec c) {
  return {vfmsq_f32(c.v, a.v, b.v)};
}
MINICPM_INLINE Vec min(Vec a, Vec b) {
  return {vminq_f32(a.v, b.v)};
}
MINICPM_INLINE Vec max(Vec a, Vec b) {
  return {vmaxq_f32(a.v, b.v)};
}
MINICPM_INLINE Vec abs(Vec a) {
  return {vabsq_f32(a.v)};
}
MINICPM_INLINE Mask operator<(Vec a, Vec b) {
  return {vcltq_f32(a.v, b.v)};
}
MINICPM_INLINE Vec select(Mask m, Vec yes, Vec no) {
  return {vbslq_f32(m.v, yes.v, no.v)};
}
MINICPM_INLINE Vec round(Vec a) {
  return {vrndnq_f32(a.v)};
}
MINICPM_INLINE Vec scale_by_power(Vec a, Vec n) {
  const int32x4_t exponent = vaddq_s32(vcvtq_s32_f32(n.v), vdupq_n_s32(127));
  return {vmulq_f32(a.v, vreinterpretq_f32_s32(vshlq_n_s32(exponent, 23)))};
}
MINICPM_INLINE float sum(Vec a) {
  return vaddvq_f32(a.v);
}
MINICPM_INLINE float max_of(Vec a) {
  return vmaxvq_f32(a.v);
}
MINICPM_INLINE Vec zip_low(Vec a, Vec b) {
  return {vzip1q_f32(a.v, b.v)};
}
MINICPM_INLINE Vec zip_high(Vec a, Vec b) {
  return {vzip2q_f32(a.v, b.v)};
}

MINICPM_INLINE Vec load_f16(const uint16_t* p, Whole = {}) {
  return {vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)))};
}
MINICPM_INLINE Vec load_f16(const uint16_t* p, First part) {
  return {vcvt_f32_f16(vreinterpret_f16_u16(load_first_u16(p, part)))};
}
MINICPM_INLINE void store_f16(uint16_t* p, Vec a, Whole = {}) {
  vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(a.v)));
}
MINICPM_INLINE void store_f16(uint16_t* p, Vec a, First part) {
  store_first_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(a.v)), part);
}
MINICPM_INLINE Vec widen_bf16(uint16x4_t bits) {
  return {vreinterpretq_f32_u32(vshll_n_u16(bits, 16))};
}
MINICPM_INLINE Vec load_bf16(const uint16_t* p, Whole = {}) {
  return widen_bf16(vld1_u16(p));
}
MINICPM_INLINE Vec load_bf16(const uint16_t* p, First part) {
  return widen_bf16(load_first_u16(p, part));
}
MINICPM_INLINE uint16x4_t narrow_to_bf16(Vec a) {
  const uint32x4_t bits = vreinterpretq_u32_f32(a.v);
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  const uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
  const uint32x4_t quiet_nan = vorrq_u32(bits, vdupq_n_u32(0x400000));
  return vshrn_n_u32(vbslq_u32(vceqq_f32(a.v, a.v), rounded, quiet_nan), 16);
}
MINICPM_INLINE void store_bf16(uint16_t* p, Vec a, Whole = {}) {
  vst1_u16(p, narrow_to_bf16(a));
}
MINICPM_INLINE void store_bf16(uint16_t* p, Vec a, First part) {
  store_first_u16(p, narrow_to_bf16(a), part);
}

MINICPM_INLINE Vec load_i8(const void* p) {
  int8_t codes[8] = {};
  __builtin_memcpy(codes, p, kLanes);
  return {vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vld1_s8(codes)))))};
}
MINICPM_INLINE Vec set1_f16(const void* p) {
  uint16_t bits;
  __builtin_memcpy(&bits, p, sizeof(bits));
  return {vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(bits)))};
}

}  // namespace minicpm::cpu::neon

// Vector wrapper for any processor: a "vector" of one f32. The reference that the other wrappers are tested against.
// Every vec_<isa>.h offers the same functions; elementwise.inl and attention.inl use nothing else.
#pragma once

#include <stdint.h>

#define MINICPM_INLINE static inline __attribute__((always_inline))

namespace minicpm::cpu::scalar {

constexpr int kLanes = 1;

// Register tile of attention: keeps 16 sums, which compilers put into the vector registers every processor has.
constexpr int kTileRows = 2;
constexpr int kTileVectors = 8;
// Sums that the row kernels keep in registers.
constexpr int kRowSums = 8;

struct Vec {
  float v;
};
struct Mask {
  bool v;
};

/// How much of a vector a load or store means: all of it, or the first `count` lanes (0 < count < kLanes). The other
/// lanes read as zero and are not written.
struct Whole {};
struct First {
  int count;
};

MINICPM_INLINE Vec zero() {
  return {0.0f};
}
MINICPM_INLINE Vec set1(float x) {
  return {x};
}
MINICPM_INLINE Vec load(const float* p, Whole = {}) {
  return {*p};
}
MINICPM_INLINE void store(float* p, Vec a, Whole = {}) {
  *p = a.v;
}

MINICPM_INLINE Vec operator+(Vec a, Vec b) {
  return {a.v + b.v};
}
MINICPM_INLINE Vec operator-(Vec a, Vec b) {
  return {a.v - b.v};
}
MINICPM_INLINE Vec operator*(Vec a, Vec b) {
  return {a.v * b.v};
}
MINICPM_INLINE Vec operator/(Vec a, Vec b) {
  return {a.v / b.v};
}
/// a * b + c. Not fmaf: without hardware support that is a slow library call.
MINICPM_INLINE Vec fma(Vec a, Vec b, Vec c) {
  return {a.v * b.v + c.v};
}
/// c - a * b.
MINICPM_INLINE Vec fnma(Vec a, Vec b, Vec c) {
  return {c.v - a.v * b.v};
}
/// Either may come out if one of them is NaN.
MINICPM_INLINE Vec min(Vec a, Vec b) {
  return {a.v < b.v ? a.v : b.v};
}
MINICPM_INLINE Vec max(Vec a, Vec b) {
  return {a.v > b.v ? a.v : b.v};
}
MINICPM_INLINE Vec abs(Vec a) {
  return {__builtin_fabsf(a.v)};
}
MINICPM_INLINE Mask operator<(Vec a, Vec b) {
  return {a.v < b.v};
}
MINICPM_INLINE Vec select(Mask m, Vec yes, Vec no) {
  return {m.v ? yes.v : no.v};
}
/// To the nearest whole number, ties to even; |a| < 2^22.
MINICPM_INLINE Vec round(Vec a) {
  constexpr float kMagic = 0x1.8p23f;  // at this size floats are whole numbers
  return {(a.v + kMagic) - kMagic};
}
/// a * 2^n for whole n in [-126, 127]; infinity, or the value if it is finite, for n = 128 and a > 0.
MINICPM_INLINE Vec scale_by_power(Vec a, Vec n) {
  const uint32_t exponent = __builtin_bit_cast(uint32_t, n.v + (0x1.8p23f + 127.0f));  // n + 127 in the low bits
  return {a.v * __builtin_bit_cast(float, exponent << 23)};
}
MINICPM_INLINE float sum(Vec a) {
  return a.v;
}
MINICPM_INLINE float max_of(Vec a) {
  return a.v;
}
/// a and b interleaved: the first half of a0 b0 a1 b1 ..., and the second. A single lane is never interleaved.
MINICPM_INLINE Vec zip_low(Vec a, Vec) {
  return a;
}
MINICPM_INLINE Vec zip_high(Vec, Vec b) {
  return b;
}

MINICPM_INLINE Vec load_f16(const uint16_t* p, Whole = {}) {
  const uint32_t h = *p;
  const uint32_t sign = (h & 0x8000u) << 16;
  const uint32_t rest = h & 0x7fffu;
  if (rest >= 0x7c00u) return {__builtin_bit_cast(float, sign | 0x7f800000u | ((rest & 0x3ffu) << 13))};
  // Shifted into place the exponent is 112 too small; the product repairs it and is exact for subnormals as well.
  const float magnitude = __builtin_bit_cast(float, rest << 13) * 0x1p112f;
  return {__builtin_bit_cast(float, __builtin_bit_cast(uint32_t, magnitude) | sign)};
}
MINICPM_INLINE void store_f16(uint16_t* p, Vec a, Whole = {}) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, a.v);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  uint32_t half;
  if (magnitude > 0x7f800000u) {
    half = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
  } else if (magnitude >= 0x477ff000u) {
    half = 0x7c00u;  // rounds to 65536 or more
  } else if (magnitude < 0x38800000u) {
    // Subnormal result: adding 0.5 aligns the mantissa to 2^-24 and rounds in hardware.
    half = __builtin_bit_cast(uint32_t, __builtin_bit_cast(float, magnitude) + 0.5f) - 0x3f000000u;
  } else {
    half = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13;
  }
  *p = static_cast<uint16_t>(sign | half);
}
MINICPM_INLINE Vec load_bf16(const uint16_t* p, Whole = {}) {
  return {__builtin_bit_cast(float, static_cast<uint32_t>(*p) << 16)};
}
MINICPM_INLINE void store_bf16(uint16_t* p, Vec a, Whole = {}) {
  uint32_t bits = __builtin_bit_cast(uint32_t, a.v);
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    bits |= 0x400000u;  // keeps NaN a NaN
  } else {
    bits += 0x7fffu + ((bits >> 16) & 1u);
  }
  *p = static_cast<uint16_t>(bits >> 16);
}

/// As many codes of 8 bits as there are lanes.
MINICPM_INLINE Vec load_i8(const void* p) {
  return {static_cast<float>(*static_cast<const int8_t*>(p))};
}
/// One f16, at any address, in all lanes.
MINICPM_INLINE Vec set1_f16(const void* p) {
  uint16_t bits;
  __builtin_memcpy(&bits, p, sizeof(bits));
  return load_f16(&bits);
}

// A part of one lane is none.
MINICPM_INLINE Vec load(const float*, First) {
  return zero();
}
MINICPM_INLINE void store(float*, Vec, First) {}
MINICPM_INLINE Vec load_f16(const uint16_t*, First) {
  return zero();
}
MINICPM_INLINE void store_f16(uint16_t*, Vec, First) {}
MINICPM_INLINE Vec load_bf16(const uint16_t*, First) {
  return zero();
}
MINICPM_INLINE void store_bf16(uint16_t*, Vec, First) {}

}  // namespace minicpm::cpu::scalar

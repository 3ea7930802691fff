// How the block formats unpack with AVX-512. A loader sees 256 weights at a time: one super-block, or eight small
// blocks in a row, and offers
//   kBytes      bytes of 256 weights
//   kSmall      they are eight blocks of 32, so k may be any multiple of 32
//   kGroup      weights that share a scale: 32 or 16
//   kSigned     codes are int8; otherwise they are uint8 below 64
//   kOffset     weight = d * (code - kOffset), a power of two or zero
//   kMin        weight = d * code + m
//   codes<J>()  codes 64 J .. 64 J + 63, in order
//   scales()    d (and m) of the 8 or 16 groups, into arrays aligned to 64
#pragma once

#include "backend/cpu/kernels/codes_avx512.h"
#include "quant/blocks.h"

namespace minicpm::cpu::avx512 {

// ---- pieces

MINICPM_INLINE uint32_t load_u32(const void* p) {
  uint32_t x;
  __builtin_memcpy(&x, p, sizeof(x));
  return x;
}
MINICPM_INLINE uint64_t load_u64(const void* p) {
  uint64_t x;
  __builtin_memcpy(&x, p, sizeof(x));
  return x;
}
MINICPM_INLINE __m128i load_16(const void* p) {
  return _mm_loadu_si128(static_cast<const __m128i*>(p));
}
MINICPM_INLINE __m256i load_32(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
MINICPM_INLINE __m512i join(__m256i low, __m256i high) {
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}
/// 32 bytes in both halves.
MINICPM_INLINE __m512i twice(const void* p) {
  return _mm512_broadcast_i64x4(load_32(p));
}
/// Each half shifted right by its own count (negative: left). Bits that cross a byte are to be masked off.
template <int kLow, int kHigh>
MINICPM_INLINE __m512i shift_halves(__m512i x) {
  if constexpr (kLow == 0 && kHigh == 0) return x;
  if constexpr (kLow < 0 || kHigh < 0) {
    return _mm512_sllv_epi32(x, join(_mm256_set1_epi32(-kLow), _mm256_set1_epi32(-kHigh)));
  } else {
    return _mm512_srlv_epi32(x, join(_mm256_set1_epi32(kLow), _mm256_set1_epi32(kHigh)));
  }
}
MINICPM_INLINE __m512i keep_bits(__m512i x, int bits) {
  return _mm512_and_si512(x, _mm512_set1_epi8(static_cast<char>(bits)));
}
/// The nibbles of two blocks of 16 bytes: low and high ones of the first, then of the second.
MINICPM_INLINE __m512i block_nibbles(__m256i two_blocks) {
  const __m512i spread =
      _mm512_permutexvar_epi64(_mm512_set_epi64(3, 2, 3, 2, 1, 0, 1, 0), _mm512_castsi256_si512(two_blocks));
  const __m512i shifts = _mm512_set_epi32(4, 4, 4, 4, 0, 0, 0, 0, 4, 4, 4, 4, 0, 0, 0, 0);
  return keep_bits(_mm512_srlv_epi32(spread, shifts), 15);
}
MINICPM_INLINE __m256i two_of_16(const void* first, const void* second) {
  return _mm256_inserti128_si256(_mm256_castsi128_si256(load_16(first)), load_16(second), 1);
}
/// codes + value where the mask is set.
MINICPM_INLINE __m512i add_where(__m512i codes, __mmask64 mask, int value) {
  return _mm512_mask_add_epi8(codes, mask, codes, _mm512_set1_epi8(static_cast<char>(value)));
}
/// Bytes of x that have the bit kLow (first half) or kHigh (second half) set.
template <int kLow, int kHigh>
MINICPM_INLINE __mmask64 bit_mask(__m512i x) {
  return _mm512_test_epi8_mask(
      x, join(_mm256_set1_epi8(static_cast<char>(1 << kLow)), _mm256_set1_epi8(static_cast<char>(1 << kHigh))));
}
MINICPM_INLINE __m512i iq4_values(__m512i codes) {
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(load_16(kIq4Values)), codes);
}

/// f16 numbers at the start of eight blocks.
template <int kStride>
MINICPM_INLINE __m256 eight_f16(const uint8_t* p) {
  __m128i h = _mm_loadu_si16(p);
  h = _mm_insert_epi16(h, static_cast<short>(load_u32(p + kStride)), 1);
  h = _mm_insert_epi16(h, static_cast<short>(load_u32(p + 2 * kStride)), 2);
  h = _mm_insert_epi16(h, static_cast<short>(load_u32(p + 3 * kStride)), 3);
  h = _mm_insert_epi16(h, static_cast<short>(load_u32(p + 4 * kStride)), 4);
  h = _mm_insert_epi16(h, static_cast<short>(load_u32(p + 5 * kStride)), 5);
  h = _mm_insert_epi16(h, static_cast<short>(load_u32(p + 6 * kStride)), 6);
  h = _mm_insert_epi16(h, static_cast<short>(load_u32(p + 7 * kStride)), 7);
  return _mm256_cvtph_ps(h);
}
/// Pairs of f16 numbers at the start of eight blocks: the first of each pair into d, the second into m.
template <int kStride>
MINICPM_INLINE void eight_f16_pairs(const uint8_t* p, float* d, float* m) {
  __m128i low = _mm_cvtsi32_si128(static_cast<int>(load_u32(p)));
  low = _mm_insert_epi32(low, static_cast<int>(load_u32(p + kStride)), 1);
  low = _mm_insert_epi32(low, static_cast<int>(load_u32(p + 2 * kStride)), 2);
  low = _mm_insert_epi32(low, static_cast<int>(load_u32(p + 3 * kStride)), 3);
  __m128i high = _mm_cvtsi32_si128(static_cast<int>(load_u32(p + 4 * kStride)));
  high = _mm_insert_epi32(high, static_cast<int>(load_u32(p + 5 * kStride)), 1);
  high = _mm_insert_epi32(high, static_cast<int>(load_u32(p + 6 * kStride)), 2);
  high = _mm_insert_epi32(high, static_cast<int>(load_u32(p + 7 * kStride)), 3);
  const __m256i pairs = _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
  _mm256_store_ps(d, _mm256_cvtph_ps(_mm256_cvtepi32_epi16(pairs)));
  _mm256_store_ps(m, _mm256_cvtph_ps(_mm256_cvtepi32_epi16(_mm256_srli_epi32(pairs, 16))));
}
MINICPM_INLINE float one_f16(uint16_t bits) {
  return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits)));
}
/// Eight bytes times a factor.
MINICPM_INLINE void scaled_bytes(float* out, uint64_t bytes, float factor) {
  const __m256 values = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<long long>(bytes))));
  _mm256_store_ps(out, _mm256_mul_ps(values, _mm256_set1_ps(factor)));
}
/// The six-bit scales and minima of Q4_K and Q5_K.
MINICPM_INLINE void k_scales(const uint8_t* packed, uint16_t d, uint16_t dmin, float* scales, float* mins) {
  const uint32_t a = load_u32(packed), b = load_u32(packed + 4), c = load_u32(packed + 8);
  const uint32_t scale_high = (c & 0x0f0f0f0fu) | (a >> 2 & 0x30303030u);
  const uint32_t min_high = (c >> 4 & 0x0f0f0f0fu) | (b >> 2 & 0x30303030u);
  scaled_bytes(scales, (a & 0x3f3f3f3fu) | static_cast<uint64_t>(scale_high) << 32, one_f16(d));
  scaled_bytes(mins, (b & 0x3f3f3f3fu) | static_cast<uint64_t>(min_high) << 32, -one_f16(dmin));
}

template <class Block>
MINICPM_INLINE const Block& as(const uint8_t* p) {
  return *reinterpret_cast<const Block*>(p);
}

// ---- eight blocks of 32

template <class Block, int kOffsetValue>
struct SmallLoader {
  static constexpr int kBlock = sizeof(Block);
  static constexpr int kBytes = 8 * kBlock;
  static constexpr bool kSmall = true;
  static constexpr int kGroup = 32;
  static constexpr bool kSigned = false;
  static constexpr int kOffset = kOffsetValue;
  static constexpr bool kMin = kOffsetValue == 0;

  MINICPM_INLINE void scales(const uint8_t* p, float* d, float* m) {
    if constexpr (kMin) {
      eight_f16_pairs<kBlock>(p, d, m);
    } else {
      _mm256_store_ps(d, eight_f16<kBlock>(p));
    }
  }
  template <int J>
  MINICPM_INLINE __m512i nibbles(const uint8_t* p) {
    return block_nibbles(two_of_16(as<Block>(p + 2 * J * kBlock).qs, as<Block>(p + (2 * J + 1) * kBlock).qs));
  }
  /// The fifth bits of blocks 2 J and 2 J + 1.
  template <int J>
  MINICPM_INLINE __mmask64 high_bits(const uint8_t* p) {
    return _cvtu64_mask64(load_u32(as<Block>(p + 2 * J * kBlock).qh) |
                          static_cast<uint64_t>(load_u32(as<Block>(p + (2 * J + 1) * kBlock).qh)) << 32);
  }
};

template <class Block, int kOffsetValue>
struct FourBitLoader : SmallLoader<Block, kOffsetValue> {
  using Base = SmallLoader<Block, kOffsetValue>;
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    return {Base::template nibbles<J>(p)};
  }
};
template <class Block, int kOffsetValue>
struct FiveBitLoader : SmallLoader<Block, kOffsetValue> {
  using Base = SmallLoader<Block, kOffsetValue>;
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    return {add_where(Base::template nibbles<J>(p), Base::template high_bits<J>(p), 16)};
  }
};
using LoadQ4_0 = FourBitLoader<BlockQ4_0, 8>;
using LoadQ4_1 = FourBitLoader<BlockQ4_1, 0>;
using LoadQ5_0 = FiveBitLoader<BlockQ5_0, 16>;
using LoadQ5_1 = FiveBitLoader<BlockQ5_1, 0>;

struct LoadIQ4_NL : SmallLoader<BlockIQ4_NL, 8> {
  static constexpr bool kSigned = true;
  static constexpr int kOffset = 0;
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    return {iq4_values(nibbles<J>(p))};
  }
};
struct LoadQ8_0 : SmallLoader<BlockQ8_0, 8> {
  static constexpr bool kSigned = true;
  static constexpr int kOffset = 0;
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    return {join(load_32(as<BlockQ8_0>(p + 2 * J * kBlock).qs), load_32(as<BlockQ8_0>(p + (2 * J + 1) * kBlock).qs))};
  }
};

// ---- super-blocks of 256

template <class Block, int kGroupSize, bool kHasMin>
struct SuperLoader {
  static constexpr int kBytes = sizeof(Block);
  static constexpr bool kSmall = false;
  static constexpr int kGroup = kGroupSize;
  static constexpr bool kSigned = false;
  static constexpr int kOffset = 0;
  static constexpr bool kMin = kHasMin;
};

struct LoadQ2_K : SuperLoader<BlockQ2_K, 16, true> {
  MINICPM_INLINE void scales(const uint8_t* p, float* d, float* m) {
    const auto& b = as<BlockQ2_K>(p);
    const __m128i packed = load_16(b.scales);
    const __m512i both = _mm512_cvtepu8_epi32(packed);
    const __m512 scale = _mm512_cvtepi32_ps(_mm512_and_si512(both, _mm512_set1_epi32(15)));
    const __m512 min = _mm512_cvtepi32_ps(_mm512_srli_epi32(both, 4));
    _mm512_store_ps(d, _mm512_mul_ps(scale, _mm512_set1_ps(one_f16(b.d))));
    _mm512_store_ps(m, _mm512_mul_ps(min, _mm512_set1_ps(-one_f16(b.dmin))));
  }
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    constexpr int kShift = 4 * (J % 2);
    return {keep_bits(shift_halves<kShift, kShift + 2>(twice(as<BlockQ2_K>(p).qs + 32 * (J / 2))), 3)};
  }
};

struct LoadQ3_K : SuperLoader<BlockQ3_K, 16, false> {
  static constexpr int kOffset = 4;
  MINICPM_INLINE void scales(const uint8_t* p, float* d, float*) {
    const auto& b = as<BlockQ3_K>(p);
    const uint64_t nibbles = load_u64(b.scales);
    const uint32_t top = load_u32(b.scales + 8);
    // Two bits each of scales 0..3 | 4..7 | 8..11 | 12..15.
    const uint64_t low_top = (top & 0x03030303u) | static_cast<uint64_t>(top >> 2 & 0x03030303u) << 32;
    const uint64_t high_top = (top >> 4 & 0x03030303u) | static_cast<uint64_t>(top >> 6 & 0x03030303u) << 32;
    const uint64_t low = (nibbles & 0x0f0f0f0f0f0f0f0fu) | low_top << 4;
    const uint64_t high = (nibbles >> 4 & 0x0f0f0f0f0f0f0f0fu) | high_top << 4;
    const __m128i bytes = _mm_set_epi64x(static_cast<long long>(high), static_cast<long long>(low));
    const __m512i scale = _mm512_sub_epi32(_mm512_cvtepu8_epi32(bytes), _mm512_set1_epi32(32));
    _mm512_store_ps(d, _mm512_mul_ps(_mm512_cvtepi32_ps(scale), _mm512_set1_ps(one_f16(b.d))));
  }
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    constexpr int kShift = 4 * (J % 2);
    const auto& b = as<BlockQ3_K>(p);
    const __m512i low = keep_bits(shift_halves<kShift, kShift + 2>(twice(b.qs + 32 * (J / 2))), 3);
    return {add_where(low, bit_mask<2 * J, 2 * J + 1>(twice(b.hmask)), 4)};
  }
};

struct LoadQ4_K : SuperLoader<BlockQ4_K, 32, true> {
  MINICPM_INLINE void scales(const uint8_t* p, float* d, float* m) {
    const auto& b = as<BlockQ4_K>(p);
    k_scales(b.scales, b.d, b.dmin, d, m);
  }
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    return {keep_bits(shift_halves<0, 4>(twice(as<BlockQ4_K>(p).qs + 32 * J)), 15)};
  }
};

struct LoadQ5_K : SuperLoader<BlockQ5_K, 32, true> {
  MINICPM_INLINE void scales(const uint8_t* p, float* d, float* m) {
    const auto& b = as<BlockQ5_K>(p);
    k_scales(b.scales, b.d, b.dmin, d, m);
  }
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    const auto& b = as<BlockQ5_K>(p);
    const __m512i low = keep_bits(shift_halves<0, 4>(twice(b.qs + 32 * J)), 15);
    return {add_where(low, bit_mask<2 * J, 2 * J + 1>(twice(b.qh)), 16)};
  }
};

struct LoadQ6_K : SuperLoader<BlockQ6_K, 16, false> {
  static constexpr int kOffset = 32;
  MINICPM_INLINE void scales(const uint8_t* p, float* d, float*) {
    const auto& b = as<BlockQ6_K>(p);
    const __m512 scale = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load_16(b.scales)));
    _mm512_store_ps(d, _mm512_mul_ps(scale, _mm512_set1_ps(one_f16(b.d))));
  }
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    const auto& b = as<BlockQ6_K>(p);
    const __m512i ql = _mm512_loadu_si512(b.ql + 64 * (J / 2));
    const __m512i low = J % 2 == 0 ? ql : _mm512_srli_epi32(ql, 4);
    const __m512i qh = twice(b.qh + 32 * (J / 2));
    const __m512i high = J % 2 == 0 ? shift_halves<-4, -2>(qh) : shift_halves<0, 2>(qh);
    return {_mm512_or_si512(keep_bits(low, 0x0f), keep_bits(high, 0x30))};
  }
};

struct LoadIQ4_XS : SuperLoader<BlockIQ4_XS, 32, false> {
  static constexpr bool kSigned = true;
  MINICPM_INLINE void scales(const uint8_t* p, float* d, float*) {
    const auto& b = as<BlockIQ4_XS>(p);
    const __m256i nibble_shifts = _mm256_set_epi32(28, 24, 20, 16, 12, 8, 4, 0);
    const __m256i top_shifts = _mm256_set_epi32(14, 12, 10, 8, 6, 4, 2, 0);
    const __m256i nibbles = _mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(load_u32(b.scales_l))), nibble_shifts);
    const __m256i tops = _mm256_srlv_epi32(_mm256_set1_epi32(b.scales_h), top_shifts);
    const __m256i scale = _mm256_or_si256(_mm256_and_si256(nibbles, _mm256_set1_epi32(15)),
                                          _mm256_slli_epi32(_mm256_and_si256(tops, _mm256_set1_epi32(3)), 4));
    _mm256_store_ps(d, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(scale, _mm256_set1_epi32(32))),
                                     _mm256_set1_ps(one_f16(b.d))));
  }
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    return {iq4_values(block_nibbles(load_32(as<BlockIQ4_XS>(p).qs + 32 * J)))};
  }
};

}  // namespace minicpm::cpu::avx512

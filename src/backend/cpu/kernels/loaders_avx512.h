// How the block formats unpack with AVX-512; loaders_common.inl says what a loader is.
#pragma once

#include "backend/cpu/kernels/codes_avx512.h"
#include "quant/blocks.h"

namespace minicpm::cpu::avx512 {

#include "backend/cpu/kernels/loaders_common.inl"
//
#include "backend/cpu/kernels/loaders_x86.inl"

MINICPM_INLINE __m512i join(__m256i low, __m256i high) {
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}
/// 32 bytes in both halves.
MINICPM_INLINE __m512i twice(const void* p) {
  return _mm512_broadcast_i64x4(load_32(p));
}
/// The first value in the lanes of the low half, the second in those of the high half.
template <uint64_t kLow, uint64_t kHigh>
MINICPM_INLINE __m512i halves() {
  constexpr auto low = static_cast<long long>(kLow), high = static_cast<long long>(kHigh);
  return _mm512_set_epi64(high, high, high, high, low, low, low, low);
}
/// Each half shifted right by its own count (both negative: left). Bits that cross a byte are to be masked off.
template <int kLow, int kHigh>
MINICPM_INLINE __m512i shift_halves(__m512i x) {
  constexpr uint64_t kBothWords = 0x100000001u;
  if constexpr (kLow < 0) return _mm512_sllv_epi32(x, halves<-kLow * kBothWords, -kHigh * kBothWords>());
  return _mm512_srlv_epi32(x, halves<kLow * kBothWords, kHigh * kBothWords>());
}
template <int kBits>
MINICPM_INLINE __m512i keep_bits(__m512i x) {
  return _mm512_and_si512(x, repeated_byte<kBits>());
}
/// The nibbles of two blocks of 16 bytes: low and high ones of the first, then of the second.
MINICPM_INLINE __m512i block_nibbles(__m256i two_blocks) {
  const __m512i spread =
      _mm512_permutexvar_epi64(_mm512_set_epi64(3, 2, 3, 2, 1, 0, 1, 0), _mm512_castsi256_si512(two_blocks));
  const __m512i shifts = _mm512_set_epi32(4, 4, 4, 4, 0, 0, 0, 0, 4, 4, 4, 4, 0, 0, 0, 0);
  return keep_bits<15>(_mm512_srlv_epi32(spread, shifts));
}
/// codes + kValue where the mask is set.
template <int kValue>
MINICPM_INLINE __m512i add_where(__m512i codes, __mmask64 mask) {
  return _mm512_mask_add_epi8(codes, mask, codes, repeated_byte<kValue>());
}
/// Bytes of x that have the bit kLow (first half) or kHigh (second half) set.
template <int kLow, int kHigh>
MINICPM_INLINE __mmask64 bit_mask(__m512i x) {
  constexpr uint64_t kEveryByte = 0x0101010101010101u;
  return _mm512_test_epi8_mask(x, halves<kEveryByte << kLow, kEveryByte << kHigh>());
}
MINICPM_INLINE __m512i iq4_values(__m512i codes) {
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(load_16(kIq4Codes)), codes);
}

/// d (and m) of one group of 16 rows.
MINICPM_INLINE void store_scaled(float* out, __m512i codes, __m512 factor) {
  _mm512_storeu_ps(out, _mm512_mul_ps(_mm512_cvtepi32_ps(codes), factor));
}
/// k_scales for 16 rows; `headers` are the first 16 bytes of their blocks: d, dmin and the packed scales.
MINICPM_INLINE void k_panel_scales(const uint8_t* const (&blocks)[kSumLanes], float* d, float* m, int64_t stride) {
  __m512i rows[4];  // rows q, q + 4, q + 8, q + 12
  for (int q = 0; q < 4; ++q) {
    rows[q] = join(two_of_16(blocks[q], blocks[q + 4]), two_of_16(blocks[q + 8], blocks[q + 12]));
  }
  const __m512i t0 = _mm512_unpacklo_epi32(rows[0], rows[1]), t1 = _mm512_unpackhi_epi32(rows[0], rows[1]);
  const __m512i t2 = _mm512_unpacklo_epi32(rows[2], rows[3]), t3 = _mm512_unpackhi_epi32(rows[2], rows[3]);
  const __m512i factors = _mm512_unpacklo_epi64(t0, t2);
  const __m512i a = _mm512_unpackhi_epi64(t0, t2);
  const __m512i b = _mm512_unpacklo_epi64(t1, t3), c = _mm512_unpackhi_epi64(t1, t3);
  const __m512 scale_factor = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(factors));
  const __m512 min_factor =
      _mm512_sub_ps(_mm512_setzero_ps(), _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(factors, 16))));
  const __m512i low6 = repeated_byte<0x3f>();
  const __m512i low4 = repeated_byte<0x0f>(), bits45 = repeated_byte<0x30>();
  const __m512i packed[2][2] = {
      {_mm512_and_si512(a, low6),
       _mm512_or_si512(_mm512_and_si512(c, low4), _mm512_and_si512(_mm512_srli_epi32(a, 2), bits45))},
      {_mm512_and_si512(b, low6), _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi32(c, 4), low4),
                                                  _mm512_and_si512(_mm512_srli_epi32(b, 2), bits45))}};
  const __m512i byte = _mm512_maskz_mov_epi8(0x1111111111111111u, repeated_byte<0xff>());
  for (int half = 0; half < 2; ++half) {
    for (int i = 0; i < 4; ++i) {
      const __m512i scale = _mm512_and_si512(_mm512_srli_epi32(packed[0][half], 8 * i), byte);
      const __m512i min = _mm512_and_si512(_mm512_srli_epi32(packed[1][half], 8 * i), byte);
      store_scaled(d + (4 * half + i) * stride, scale, scale_factor);
      store_scaled(m + (4 * half + i) * stride, min, min_factor);
    }
  }
}

// ---- eight blocks of 32

/// The nibbles of blocks 2 J and 2 J + 1.
template <class L, int J>
MINICPM_INLINE __m512i small_nibbles(const uint8_t* p) {
  return block_nibbles(two_of_16(L::block(p, 2 * J).qs, L::block(p, 2 * J + 1).qs));
}
/// Their fifth bits.
template <class L, int J>
MINICPM_INLINE __mmask64 small_high_bits(const uint8_t* p) {
  return _cvtu64_mask64(load_u32(L::block(p, 2 * J).qh) | static_cast<uint64_t>(load_u32(L::block(p, 2 * J + 1).qh))
                                                              << 32);
}

template <class Block, int kOffsetValue>
struct FourBitLoader : SmallLoader<Block, kOffsetValue> {
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    return {small_nibbles<FourBitLoader, J>(p)};
  }
};
template <class Block, int kOffsetValue>
struct FiveBitLoader : SmallLoader<Block, kOffsetValue> {
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    return {add_where<16>(small_nibbles<FiveBitLoader, J>(p), small_high_bits<FiveBitLoader, J>(p))};
  }
};
using LoadQ4_0 = FourBitLoader<BlockQ4_0, 8>;
using LoadQ4_1 = FourBitLoader<BlockQ4_1, 0>;
using LoadQ5_0 = FiveBitLoader<BlockQ5_0, 16>;
using LoadQ5_1 = FiveBitLoader<BlockQ5_1, 0>;

struct LoadIQ4_NL : SignedSmallLoader<BlockIQ4_NL> {
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    return {iq4_values(small_nibbles<LoadIQ4_NL, J>(p))};
  }
};
struct LoadQ8_0 : SignedSmallLoader<BlockQ8_0> {
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    return {join(load_32(block(p, 2 * J).qs), load_32(block(p, 2 * J + 1).qs))};
  }
};

// ---- super-blocks of 256

struct LoadQ2_K : SuperLoader<LoadQ2_K, BlockQ2_K, 16, true> {
  MINICPM_INLINE void scales(const uint8_t* p, float* d, float* m) {
    const auto& b = as<BlockQ2_K>(p);
    const __m128i packed = load_16(b.scales), low4 = _mm512_castsi512_si128(repeated_byte<15>());
    const __m128i scale_bytes = _mm_and_si128(packed, low4), min_bytes = _mm_and_si128(_mm_srli_epi16(packed, 4), low4);
    const __m512 scale = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(scale_bytes));
    const __m512 min = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(min_bytes));
    _mm512_store_ps(d, _mm512_mul_ps(scale, _mm512_set1_ps(one_f16(b.d))));
    _mm512_store_ps(m, _mm512_mul_ps(min, _mm512_set1_ps(-one_f16(b.dmin))));
  }
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    constexpr int kShift = 4 * (J % 2);
    return {keep_bits<3>(shift_halves<kShift, kShift + 2>(twice(as<BlockQ2_K>(p).qs + 32 * (J / 2))))};
  }
};

struct LoadQ3_K : SuperLoader<LoadQ3_K, BlockQ3_K, 16, false> {
  static constexpr int kOffset = 4;
  MINICPM_INLINE void scales(const uint8_t* p, float* d, float*) {
    const auto& b = as<BlockQ3_K>(p);
    const Bytes packed = q3_scales(b.scales);
    const __m128i bytes = _mm_set_epi64x(static_cast<long long>(packed.high), static_cast<long long>(packed.low));
    const __m128i scale = _mm_sub_epi8(bytes, _mm512_castsi512_si128(repeated_byte<32>()));
    const __m512 scale_values = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(scale));
    _mm512_store_ps(d, _mm512_mul_ps(scale_values, _mm512_set1_ps(one_f16(b.d))));
  }
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    constexpr int kShift = 4 * (J % 2);
    const auto& b = as<BlockQ3_K>(p);
    const __m512i low = keep_bits<3>(shift_halves<kShift, kShift + 2>(twice(b.qs + 32 * (J / 2))));
    return {add_where<4>(low, bit_mask<2 * J, 2 * J + 1>(twice(b.hmask)))};
  }
};

struct LoadQ4_K : SuperLoader<LoadQ4_K, BlockQ4_K, 32, true> {
  MINICPM_INLINE void panel_scales(const uint8_t* const (&blocks)[kSumLanes], float* d, float* m, int64_t stride) {
    k_panel_scales(blocks, d, m, stride);
  }
  MINICPM_INLINE void scales(const uint8_t* p, float* d, float* m) {
    const auto& b = as<BlockQ4_K>(p);
    k_scales(b.scales, b.d, b.dmin, d, m);
  }
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    return {keep_bits<15>(shift_halves<0, 4>(twice(as<BlockQ4_K>(p).qs + 32 * J)))};
  }
};

struct LoadQ5_K : SuperLoader<LoadQ5_K, BlockQ5_K, 32, true> {
  MINICPM_INLINE void panel_scales(const uint8_t* const (&blocks)[kSumLanes], float* d, float* m, int64_t stride) {
    k_panel_scales(blocks, d, m, stride);
  }
  MINICPM_INLINE void scales(const uint8_t* p, float* d, float* m) {
    const auto& b = as<BlockQ5_K>(p);
    k_scales(b.scales, b.d, b.dmin, d, m);
  }
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    const auto& b = as<BlockQ5_K>(p);
    const __m512i low = keep_bits<15>(shift_halves<0, 4>(twice(b.qs + 32 * J)));
    return {add_where<16>(low, bit_mask<2 * J, 2 * J + 1>(twice(b.qh)))};
  }
};

struct LoadQ6_K : SuperLoader<LoadQ6_K, BlockQ6_K, 16, false> {
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
    return {_mm512_or_si512(keep_bits<0x0f>(low), keep_bits<0x30>(high))};
  }
};

struct LoadIQ4_XS : SuperLoader<LoadIQ4_XS, BlockIQ4_XS, 32, false> {
  static constexpr bool kSigned = true;
  MINICPM_INLINE void scales(const uint8_t* p, float* d, float*) {
    const auto& b = as<BlockIQ4_XS>(p);
    iq4_xs_scales(b.scales_l, b.scales_h, b.d, d);
  }
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    return {iq4_values(block_nibbles(load_32(as<BlockIQ4_XS>(p).qs + 32 * J)))};
  }
};

}  // namespace minicpm::cpu::avx512

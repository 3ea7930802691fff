// How the block formats unpack with AVX2; loaders_common.inl says what a loader is.
#pragma once

#include "backend/cpu/kernels/codes_avx2.h"
#include "quant/blocks.h"

namespace minicpm::cpu::avx2 {

#include "backend/cpu/kernels/loaders_common.inl"
//
#include "backend/cpu/kernels/loaders_x86.inl"

// ---- pieces

template <int kBits>
MINICPM_INLINE __m256i keep_bits(__m256i x) {
  return _mm256_and_si256(x, repeated_byte<kBits>());
}
/// Shifted right (negative: left). Bits that cross a byte are to be masked off.
template <int kCount>
MINICPM_INLINE __m256i shift(__m256i x) {
  if constexpr (kCount < 0) return _mm256_slli_epi16(x, -kCount);
  return _mm256_srli_epi16(x, kCount);
}
/// Low nibbles of 16 bytes, then the high ones.
MINICPM_INLINE __m256i nibbles_of_16(const void* p) {
  const __m128i x = load_16(p);
  return keep_bits<15>(_mm256_inserti128_si256(_mm256_castsi128_si256(x), _mm_srli_epi16(x, 4), 1));
}
MINICPM_INLINE __m256i iq4_values(__m256i codes) {
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load_16(kIq4Codes)), codes);
}
/// 32 bits as bytes of 0 or 16.
MINICPM_INLINE __m256i fifth_bits(const uint8_t* qh) {
  // Byte i gets the byte of qh that holds bit i, then keeps that bit.
  const __m256i byte_of_bit = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  const __m256i bit = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201u));
  const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(load_u32(qh))), byte_of_bit);
  return keep_bits<16>(_mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit));
}
/// Bit kBit of every byte, moved to bit kTo.
template <int kBit, int kTo>
MINICPM_INLINE __m256i move_bit(__m256i x) {
  return keep_bits<(1 << kTo)>(shift<kBit - kTo>(x));
}

// ---- eight blocks of 32

template <class Block, int kOffsetValue>
struct FourBitLoader : SmallLoader<Block, kOffsetValue> {
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    return {nibbles_of_16(FourBitLoader::block(p, J).qs)};
  }
};
template <class Block, int kOffsetValue>
struct FiveBitLoader : SmallLoader<Block, kOffsetValue> {
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    const Block& b = FiveBitLoader::block(p, J);
    return {_mm256_or_si256(nibbles_of_16(b.qs), fifth_bits(b.qh))};
  }
};
using LoadQ4_0 = FourBitLoader<BlockQ4_0, 8>;
using LoadQ4_1 = FourBitLoader<BlockQ4_1, 0>;
using LoadQ5_0 = FiveBitLoader<BlockQ5_0, 16>;
using LoadQ5_1 = FiveBitLoader<BlockQ5_1, 0>;

struct LoadIQ4_NL : SignedSmallLoader<BlockIQ4_NL> {
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    return {iq4_values(nibbles_of_16(block(p, J).qs))};
  }
};
struct LoadQ8_0 : SignedSmallLoader<BlockQ8_0> {
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    return {load_32(block(p, J).qs)};
  }
};

// ---- super-blocks of 256

/// Sixteen bytes, signed or not, plus an offset, times a factor.
template <bool kSigned>
MINICPM_INLINE void sixteen_scales(float* out, __m128i bytes, int offset, float factor) {
  const __m128i high = _mm_unpackhi_epi64(bytes, bytes);
  const __m256i a = kSigned ? _mm256_cvtepi8_epi32(bytes) : _mm256_cvtepu8_epi32(bytes);
  const __m256i b = kSigned ? _mm256_cvtepi8_epi32(high) : _mm256_cvtepu8_epi32(high);
  const __m256i add = _mm256_set1_epi32(offset);
  const __m256 scale = _mm256_set1_ps(factor);
  _mm256_store_ps(out, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_add_epi32(a, add)), scale));
  _mm256_store_ps(out + 8, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_add_epi32(b, add)), scale));
}

struct LoadQ2_K : SuperLoader<LoadQ2_K, BlockQ2_K, 16, true> {
  MINICPM_INLINE void scales(const uint8_t* p, float* d, float* m) {
    const auto& b = as<BlockQ2_K>(p);
    const __m128i packed = load_16(b.scales), low4 = _mm_set1_epi8(15);
    sixteen_scales<false>(d, _mm_and_si128(packed, low4), 0, one_f16(b.d));
    sixteen_scales<false>(m, _mm_and_si128(_mm_srli_epi16(packed, 4), low4), 0, -one_f16(b.dmin));
  }
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    return {keep_bits<3>(shift<2 * (J % 4)>(load_32(as<BlockQ2_K>(p).qs + 32 * (J / 4))))};
  }
};

struct LoadQ3_K : SuperLoader<LoadQ3_K, BlockQ3_K, 16, false> {
  static constexpr int kOffset = 4;
  MINICPM_INLINE void scales(const uint8_t* p, float* d, float*) {
    const auto& b = as<BlockQ3_K>(p);
    const Bytes packed = q3_scales(b.scales);
    const __m128i bytes = _mm_set_epi64x(static_cast<long long>(packed.high), static_cast<long long>(packed.low));
    sixteen_scales<false>(d, bytes, -32, one_f16(b.d));
  }
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    const auto& b = as<BlockQ3_K>(p);
    const __m256i low = keep_bits<3>(shift<2 * (J % 4)>(load_32(b.qs + 32 * (J / 4))));
    return {_mm256_or_si256(low, move_bit<J, 2>(load_32(b.hmask)))};
  }
};

struct LoadQ4_K : SuperLoader<LoadQ4_K, BlockQ4_K, 32, true> {
  MINICPM_INLINE void scales(const uint8_t* p, float* d, float* m) {
    const auto& b = as<BlockQ4_K>(p);
    k_scales(b.scales, b.d, b.dmin, d, m);
  }
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    return {keep_bits<15>(shift<4 * (J % 2)>(load_32(as<BlockQ4_K>(p).qs + 32 * (J / 2))))};
  }
};

struct LoadQ5_K : SuperLoader<LoadQ5_K, BlockQ5_K, 32, true> {
  MINICPM_INLINE void scales(const uint8_t* p, float* d, float* m) {
    const auto& b = as<BlockQ5_K>(p);
    k_scales(b.scales, b.d, b.dmin, d, m);
  }
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    const auto& b = as<BlockQ5_K>(p);
    const __m256i low = keep_bits<15>(shift<4 * (J % 2)>(load_32(b.qs + 32 * (J / 2))));
    return {_mm256_or_si256(low, move_bit<J, 4>(load_32(b.qh)))};
  }
};

struct LoadQ6_K : SuperLoader<LoadQ6_K, BlockQ6_K, 16, false> {
  static constexpr int kOffset = 32;
  MINICPM_INLINE void scales(const uint8_t* p, float* d, float*) {
    const auto& b = as<BlockQ6_K>(p);
    sixteen_scales<true>(d, load_16(b.scales), 0, one_f16(b.d));
  }
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    constexpr int kHalf = J / 4, kPart = J % 4;
    const auto& b = as<BlockQ6_K>(p);
    const __m256i low = keep_bits<0x0f>(shift<4 * (kPart / 2)>(load_32(b.ql + 64 * kHalf + 32 * (kPart % 2))));
    const __m256i high = keep_bits<0x30>(shift<2 * kPart - 4>(load_32(b.qh + 32 * kHalf)));
    return {_mm256_or_si256(low, high)};
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
    return {iq4_values(nibbles_of_16(as<BlockIQ4_XS>(p).qs + 16 * J))};
  }
};

}  // namespace minicpm::cpu::avx2

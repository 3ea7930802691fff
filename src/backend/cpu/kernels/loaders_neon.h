// How the block formats unpack on 64-bit ARM; loaders_common.inl says what a loader is.
#pragma once

#include "backend/cpu/kernels/codes_neon.h"
#include "quant/blocks.h"

namespace minicpm::cpu::neon {

#include "backend/cpu/kernels/loaders_common.inl"

// ---- pieces

template <int kStride>
MINICPM_INLINE void eight_f16(const uint8_t* p, float* d) {
  uint16_t bits[8];
  for (int i = 0; i < 8; ++i)
    __builtin_memcpy(bits + i, p + i * kStride, 2);
  store(d, load_f16(bits));
  store(d + 4, load_f16(bits + 4));
}
template <int kStride>
MINICPM_INLINE void eight_f16_pairs(const uint8_t* p, float* d, float* m) {
  eight_f16<kStride>(p, d);
  eight_f16<kStride>(p + 2, m);
}
MINICPM_INLINE float one_f16(uint16_t bits) {
  return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(bits))), 0);
}
/// Eight bytes, signed or not, plus an offset, times a factor.
template <bool kSigned>
MINICPM_INLINE void eight_scales(float* out, uint8x8_t bytes, int offset, float factor) {
  const int16x8_t wide = kSigned ? vmovl_s8(vreinterpret_s8_u8(bytes)) : vreinterpretq_s16_u16(vmovl_u8(bytes));
  const int16x8_t x = vaddq_s16(wide, vdupq_n_s16(static_cast<int16_t>(offset)));
  vst1q_f32(out, vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(x))), factor));
  vst1q_f32(out + 4, vmulq_n_f32(vcvtq_f32_s32(vmovl_high_s16(x)), factor));
}
template <bool kSigned>
MINICPM_INLINE void sixteen_scales(float* out, uint8x16_t bytes, int offset, float factor) {
  eight_scales<kSigned>(out, vget_low_u8(bytes), offset, factor);
  eight_scales<kSigned>(out + 8, vget_high_u8(bytes), offset, factor);
}
MINICPM_INLINE void k_scales(const uint8_t* packed, uint16_t d, uint16_t dmin, float* scales, float* mins) {
  const Bytes bytes = six_bit_scales(packed);
  eight_scales<false>(scales, vcreate_u8(bytes.low), 0, one_f16(d));
  eight_scales<false>(mins, vcreate_u8(bytes.high), 0, -one_f16(dmin));
}

/// Two registers of unsigned bytes on their way to be codes.
struct Pair {
  uint8x16_t a, b;
};
MINICPM_INLINE Codes to_codes(Pair x) {
  return {vreinterpretq_s8_u8(x.a), vreinterpretq_s8_u8(x.b)};
}
MINICPM_INLINE Pair load_pair(const uint8_t* p) {
  return {vld1q_u8(p), vld1q_u8(p + 16)};
}
MINICPM_INLINE Pair keep_bits(Pair x, int bits) {
  const uint8x16_t mask = vdupq_n_u8(static_cast<uint8_t>(bits));
  return {vandq_u8(x.a, mask), vandq_u8(x.b, mask)};
}
MINICPM_INLINE Pair merge(Pair x, Pair y) {
  return {vorrq_u8(x.a, y.a), vorrq_u8(x.b, y.b)};
}
/// Shifted right (negative: left).
template <int kCount>
MINICPM_INLINE Pair shift(Pair x) {
  const int8x16_t count = vdupq_n_s8(-kCount);
  return {vshlq_u8(x.a, count), vshlq_u8(x.b, count)};
}
/// Bit kBit of every byte, moved to bit kTo.
template <int kBit, int kTo>
MINICPM_INLINE Pair move_bit(Pair x) {
  return keep_bits(shift<kBit - kTo>(x), 1 << kTo);
}
/// Low nibbles of 16 bytes, then the high ones.
MINICPM_INLINE Pair nibbles_of_16(const uint8_t* p) {
  const uint8x16_t x = vld1q_u8(p);
  return {vandq_u8(x, vdupq_n_u8(15)), vshrq_n_u8(x, 4)};
}
MINICPM_INLINE Codes iq4_values(Pair codes) {
  const int8x16_t values = vld1q_s8(kIq4Codes);
  return {vqtbl1q_s8(values, codes.a), vqtbl1q_s8(values, codes.b)};
}
/// 32 bits as bytes of 0 or 16.
MINICPM_INLINE Pair fifth_bits(const uint8_t* qh) {
  // Byte i gets the byte of qh that holds bit i, then keeps that bit.
  const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201u));
  const uint8x16_t low = vcombine_u8(vdup_n_u8(qh[0]), vdup_n_u8(qh[1]));
  const uint8x16_t high = vcombine_u8(vdup_n_u8(qh[2]), vdup_n_u8(qh[3]));
  return keep_bits({vtstq_u8(low, bit), vtstq_u8(high, bit)}, 16);
}

// ---- eight blocks of 32

template <class Block, int kOffsetValue>
struct FourBitLoader : SmallLoader<Block, kOffsetValue> {
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    return to_codes(nibbles_of_16(FourBitLoader::block(p, J).qs));
  }
};
template <class Block, int kOffsetValue>
struct FiveBitLoader : SmallLoader<Block, kOffsetValue> {
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    const Block& b = FiveBitLoader::block(p, J);
    return to_codes(merge(nibbles_of_16(b.qs), fifth_bits(b.qh)));
  }
};
using LoadQ4_0 = FourBitLoader<BlockQ4_0, 8>;
using LoadQ4_1 = FourBitLoader<BlockQ4_1, 0>;
using LoadQ5_0 = FiveBitLoader<BlockQ5_0, 16>;
using LoadQ5_1 = FiveBitLoader<BlockQ5_1, 0>;

struct LoadIQ4_NL : SignedSmallLoader<BlockIQ4_NL> {
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    return iq4_values(nibbles_of_16(block(p, J).qs));
  }
};
struct LoadQ8_0 : SignedSmallLoader<BlockQ8_0> {
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    return load_codes(block(p, J).qs);
  }
};

// ---- super-blocks of 256

struct LoadQ2_K : SuperLoader<LoadQ2_K, BlockQ2_K, 16, true> {
  MINICPM_INLINE void scales(const uint8_t* p, float* d, float* m) {
    const auto& b = as<BlockQ2_K>(p);
    const uint8x16_t packed = vld1q_u8(b.scales);
    sixteen_scales<false>(d, vandq_u8(packed, vdupq_n_u8(15)), 0, one_f16(b.d));
    sixteen_scales<false>(m, vshrq_n_u8(packed, 4), 0, -one_f16(b.dmin));
  }
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    return to_codes(keep_bits(shift<2 * (J % 4)>(load_pair(as<BlockQ2_K>(p).qs + 32 * (J / 4))), 3));
  }
};

struct LoadQ3_K : SuperLoader<LoadQ3_K, BlockQ3_K, 16, false> {
  static constexpr int kOffset = 4;
  MINICPM_INLINE void scales(const uint8_t* p, float* d, float*) {
    const auto& b = as<BlockQ3_K>(p);
    const Bytes packed = q3_scales(b.scales);
    sixteen_scales<false>(d, vcombine_u8(vcreate_u8(packed.low), vcreate_u8(packed.high)), -32, one_f16(b.d));
  }
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    const auto& b = as<BlockQ3_K>(p);
    const Pair low = keep_bits(shift<2 * (J % 4)>(load_pair(b.qs + 32 * (J / 4))), 3);
    return to_codes(merge(low, move_bit<J, 2>(load_pair(b.hmask))));
  }
};

struct LoadQ4_K : SuperLoader<LoadQ4_K, BlockQ4_K, 32, true> {
  MINICPM_INLINE void scales(const uint8_t* p, float* d, float* m) {
    const auto& b = as<BlockQ4_K>(p);
    k_scales(b.scales, b.d, b.dmin, d, m);
  }
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    return to_codes(keep_bits(shift<4 * (J % 2)>(load_pair(as<BlockQ4_K>(p).qs + 32 * (J / 2))), 15));
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
    const Pair low = keep_bits(shift<4 * (J % 2)>(load_pair(b.qs + 32 * (J / 2))), 15);
    return to_codes(merge(low, move_bit<J, 4>(load_pair(b.qh))));
  }
};

struct LoadQ6_K : SuperLoader<LoadQ6_K, BlockQ6_K, 16, false> {
  static constexpr int kOffset = 32;
  MINICPM_INLINE void scales(const uint8_t* p, float* d, float*) {
    const auto& b = as<BlockQ6_K>(p);
    sixteen_scales<true>(d, vreinterpretq_u8_s8(vld1q_s8(b.scales)), 0, one_f16(b.d));
  }
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    constexpr int kHalf = J / 4, kPart = J % 4;
    const auto& b = as<BlockQ6_K>(p);
    const Pair low = keep_bits(shift<4 * (kPart / 2)>(load_pair(b.ql + 64 * kHalf + 32 * (kPart % 2))), 0x0f);
    const Pair high = keep_bits(shift<2 * kPart - 4>(load_pair(b.qh + 32 * kHalf)), 0x30);
    return to_codes(merge(low, high));
  }
};

struct LoadIQ4_XS : SuperLoader<LoadIQ4_XS, BlockIQ4_XS, 32, false> {
  static constexpr bool kSigned = true;
  MINICPM_INLINE void scales(const uint8_t* p, float* d, float*) {
    const auto& b = as<BlockIQ4_XS>(p);
    const float factor = one_f16(b.d);
    for (int s = 0; s < 8; ++s) {
      const int low = b.scales_l[s / 2] >> (4 * (s % 2)) & 15, high = b.scales_h >> (2 * s) & 3;
      d[s] = factor * static_cast<float>((low | high << 4) - 32);
    }
  }
  template <int J>
  MINICPM_INLINE Codes codes(const uint8_t* p) {
    return iq4_values(nibbles_of_16(as<BlockIQ4_XS>(p).qs + 16 * J));
  }
};

}  // namespace minicpm::cpu::neon

// The block formats of GGUF files as they lie in memory. Plain data only, so that every kernel file may include it
// whatever instruction set it is compiled for. All numbers are little-endian; `d`, `m` and `dmin` are f16 bits. Blocks
// are 2-byte aligned at most and no larger than the sum of their members.
#pragma once

#include <cstddef>
#include <cstdint>

namespace minicpm {

inline constexpr int kSmallBlock = 32;   // elements of the legacy and IQ4_NL blocks
inline constexpr int kSuperBlock = 256;  // elements of the K and IQ4_XS blocks
inline constexpr int kScaleBytes = 12;   // packed 6-bit sub-block scales of Q3_K, Q4_K and Q5_K

// ---- blocks of 32. Nibbles: element j < 16 is the low nibble of qs[j], element j + 16 the high one.

/// x = d * (q - 8)
struct BlockQ4_0 {
  uint16_t d;
  uint8_t qs[kSmallBlock / 2];
};

/// x = d * q + m
struct BlockQ4_1 {
  uint16_t d, m;
  uint8_t qs[kSmallBlock / 2];
};

/// x = d * (q - 16); the fifth bit of element j is bit j of qh, read as one little-endian 32-bit word
struct BlockQ5_0 {
  uint16_t d;
  uint8_t qh[4];
  uint8_t qs[kSmallBlock / 2];
};

/// x = d * q + m, bits as in Q5_0
struct BlockQ5_1 {
  uint16_t d, m;
  uint8_t qh[4];
  uint8_t qs[kSmallBlock / 2];
};

/// x = d * q
struct BlockQ8_0 {
  uint16_t d;
  int8_t qs[kSmallBlock];
};

/// x = d * kIq4Values[q]
struct BlockIQ4_NL {
  uint16_t d;
  uint8_t qs[kSmallBlock / 2];
};

// ---- super-blocks of 256

/// 16 sub-blocks of 16: x = d * scale * q - dmin * min. scales[s]: scale in the low nibble, min in the high one.
/// q: element e of half h (128 elements) stands in qs[32 h + e % 32], bits 2 (e / 32) and up.
struct BlockQ2_K {
  uint8_t scales[kSuperBlock / 16];
  uint8_t qs[kSuperBlock / 4];
  uint16_t d, dmin;
};

/// 16 sub-blocks of 16: x = d * (scale - 32) * (q - 4). The low two bits of q lie as in Q2_K; its high bit is bit
/// 4 h + e / 32 of hmask[e % 32]. Scale s: low four bits in nibble s / 8 of scales[s % 8], high two bits in
/// scales[8 + s % 4], bits 2 (s / 4) and up.
struct BlockQ3_K {
  uint8_t hmask[kSuperBlock / 8];
  uint8_t qs[kSuperBlock / 4];
  uint8_t scales[kScaleBytes];
  uint16_t d;
};

/// 8 sub-blocks of 32: x = d * scale * q - dmin * min. q: sub-blocks 2 i and 2 i + 1 are the low and high nibbles of
/// qs[32 i .. 32 i + 31]. Six-bit scales and mins: for s < 4 the low six bits of scales[s] and scales[s + 4]; for
/// s >= 4 the low four bits are the nibbles of scales[s + 4] (low: scale, high: min) and the high two bits are the top
/// bits of scales[s - 4] (scale) and scales[s] (min).
struct BlockQ4_K {
  uint16_t d, dmin;
  uint8_t scales[kScaleBytes];
  uint8_t qs[kSuperBlock / 2];
};

/// As Q4_K; the fifth bit of element j of sub-block s is bit s of qh[j].
struct BlockQ5_K {
  uint16_t d, dmin;
  uint8_t scales[kScaleBytes];
  uint8_t qh[kSuperBlock / 8];
  uint8_t qs[kSuperBlock / 2];
};

/// 16 sub-blocks of 16: x = d * scale * (q - 32). Element e of half h: low four bits in ql[64 h + e % 64], nibble
/// e / 64; high two bits in qh[32 h + e % 32], bits 2 (e / 32) and up.
struct BlockQ6_K {
  uint8_t ql[kSuperBlock / 2];
  uint8_t qh[kSuperBlock / 4];
  int8_t scales[kSuperBlock / 16];
  uint16_t d;
};

/// 8 sub-blocks of 32: x = d * (scale - 32) * kIq4Values[q]; q inside a sub-block as in IQ4_NL. Scale s: low four bits
/// in nibble s % 2 of scales_l[s / 2], high two bits in scales_h, bits 2 s and up.
struct BlockIQ4_XS {
  uint16_t d, scales_h;
  uint8_t scales_l[kSuperBlock / 64];
  uint8_t qs[kSuperBlock / 2];
};

/// The code values of both IQ4 formats: denser around zero, where most weights are. Part of the format.
inline constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

static_assert(sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4_1) == 20 && sizeof(BlockQ5_0) == 22 && sizeof(BlockQ5_1) == 24);
static_assert(sizeof(BlockQ8_0) == 34 && sizeof(BlockIQ4_NL) == 18);
static_assert(sizeof(BlockQ2_K) == 84 && sizeof(BlockQ3_K) == 110 && sizeof(BlockQ4_K) == 144);
static_assert(sizeof(BlockQ5_K) == 176 && sizeof(BlockQ6_K) == 210 && sizeof(BlockIQ4_XS) == 136);

}  // namespace minicpm

#include "quant/k_quants.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "base/half.h"
#include "quant/blocks.h"
#include "quant/fit.h"

namespace minicpm::quant {
namespace {

constexpr int kSub16 = kSuperBlock / 16;  // sub-blocks of 16 elements: Q2_K, Q3_K, Q6_K
constexpr int kSub32 = kSuperBlock / 32;  // sub-blocks of 32 elements: Q4_K, Q5_K

/// Codes of one super-block in element order.
using Codes = uint8_t[kSuperBlock];

// ---- packing of codes; `unpack` ORs into codes that start as zero or as the low bits

void unpack_two_bits(const uint8_t* qs, int shift, Codes& codes) {
  for (int i = 0; i < kSuperBlock; ++i) {
    const int half = i / 128, e = i % 128;
    codes[i] = static_cast<uint8_t>(codes[i] | (qs[32 * half + e % 32] >> (2 * (e / 32)) & 3) << shift);
  }
}

void pack_two_bits(const Codes& codes, int shift, uint8_t* qs) {
  std::fill_n(qs, kSuperBlock / 4, uint8_t{0});
  for (int i = 0; i < kSuperBlock; ++i) {
    const int half = i / 128, e = i % 128;
    uint8_t& byte = qs[32 * half + e % 32];
    byte = static_cast<uint8_t>(byte | (codes[i] >> shift & 3) << (2 * (e / 32)));
  }
}

/// Nibbles of the 32-element sub-blocks: two sub-blocks share 32 bytes.
void unpack_nibble_pairs(const uint8_t* qs, Codes& codes) {
  for (int i = 0; i < kSuperBlock; ++i) {
    const int sub = i / 32;
    codes[i] = qs[32 * (sub / 2) + i % 32] >> (4 * (sub % 2)) & 15;
  }
}

void pack_nibble_pairs(const Codes& codes, uint8_t* qs) {
  std::fill_n(qs, kSuperBlock / 2, uint8_t{0});
  for (int i = 0; i < kSuperBlock; ++i) {
    const int sub = i / 32;
    uint8_t& byte = qs[32 * (sub / 2) + i % 32];
    byte = static_cast<uint8_t>(byte | (codes[i] & 15) << (4 * (sub % 2)));
  }
}

/// Single bits at position `bit`: sub-block s of 32 elements uses bit s of 32 bytes.
void unpack_bits(const uint8_t* qh, int bit, Codes& codes) {
  for (int i = 0; i < kSuperBlock; ++i)
    codes[i] = static_cast<uint8_t>(codes[i] | (qh[i % 32] >> (i / 32) & 1) << bit);
}

void pack_bits(const Codes& codes, int bit, uint8_t* qh) {
  std::fill_n(qh, kSuperBlock / 8, uint8_t{0});
  for (int i = 0; i < kSuperBlock; ++i)
    qh[i % 32] = static_cast<uint8_t>(qh[i % 32] | (codes[i] >> bit & 1) << (i / 32));
}

// ---- packing of six-bit scales

void unpack_q3_scales(const uint8_t* packed, int* scales) {
  for (int s = 0; s < kSub16; ++s) {
    const int low = packed[s % 8] >> (4 * (s / 8)) & 15;
    const int high = packed[8 + s % 4] >> (2 * (s / 4)) & 3;
    scales[s] = low | high << 4;
  }
}

void pack_q3_scales(const int* scales, uint8_t* packed) {
  std::fill_n(packed, kScaleBytes, uint8_t{0});
  for (int s = 0; s < kSub16; ++s) {
    packed[s % 8] = static_cast<uint8_t>(packed[s % 8] | (scales[s] & 15) << (4 * (s / 8)));
    packed[8 + s % 4] = static_cast<uint8_t>(packed[8 + s % 4] | (scales[s] >> 4) << (2 * (s / 4)));
  }
}

void unpack_scales_mins(const uint8_t* packed, int* scales, int* mins) {
  for (int s = 0; s < 4; ++s) {
    scales[s] = packed[s] & 63;
    mins[s] = packed[s + 4] & 63;
    scales[s + 4] = (packed[s + 8] & 15) | packed[s] >> 6 << 4;
    mins[s + 4] = packed[s + 8] >> 4 | packed[s + 4] >> 6 << 4;
  }
}

void pack_scales_mins(const int* scales, const int* mins, uint8_t* packed) {
  for (int s = 0; s < 4; ++s) {
    packed[s] = static_cast<uint8_t>(scales[s] | scales[s + 4] >> 4 << 6);
    packed[s + 4] = static_cast<uint8_t>(mins[s] | mins[s + 4] >> 4 << 6);
    packed[s + 8] = static_cast<uint8_t>((scales[s + 4] & 15) | (mins[s + 4] & 15) << 4);
  }
}

// ---- scales of one super-block

/// x ~ d * scales[s] * (code - centre) with signed sub-block scales in [lo, hi].
template <int kNumSubs>
uint16_t encode_symmetric(const float* x, int centre, int lo, int hi, int* scales, Codes& codes) {
  constexpr int kWidth = kSuperBlock / kNumSubs;
  float fits[kNumSubs];
  float extreme = 0.0f;
  for (int s = 0; s < kNumSubs; ++s) {
    fits[s] = fit_scale({x + s * kWidth, kWidth}, -centre, centre - 1);
    extreme = std::fabs(fits[s]) > std::fabs(extreme) ? fits[s] : extreme;
  }
  const uint16_t d_bits = scale_to_f16(extreme / static_cast<float>(lo));
  const float d = f16_to_f32(d_bits);
  for (int s = 0; s < kNumSubs; ++s) {
    scales[s] = code_of(fits[s] * inverse(d), lo, hi);
    const float to_code = inverse(d * static_cast<float>(scales[s]));
    for (int i = s * kWidth; i < (s + 1) * kWidth; ++i)
      codes[i] = static_cast<uint8_t>(code_of(x[i] * to_code, -centre, centre - 1) + centre);
  }
  return d_bits;
}

/// x ~ d * scales[s] * code - dmin * mins[s] with codes in [0, top], scales and mins in [0, scale_top].
template <int kNumSubs>
void encode_affine(const float* x, int top, int scale_top, uint16_t& d_bits, uint16_t& dmin_bits, int* scales,
                   int* mins, Codes& codes) {
  constexpr int kWidth = kSuperBlock / kNumSubs;
  AffineFit fits[kNumSubs];
  float largest_scale = 0.0f, largest_min = 0.0f;
  for (int s = 0; s < kNumSubs; ++s) {
    fits[s] = fit_affine({x + s * kWidth, kWidth}, top, true);
    largest_scale = std::max(largest_scale, fits[s].scale);
    largest_min = std::max(largest_min, -fits[s].offset);
  }
  d_bits = scale_to_f16(largest_scale / static_cast<float>(scale_top));
  dmin_bits = scale_to_f16(largest_min / static_cast<float>(scale_top));
  const float d = f16_to_f32(d_bits), dmin = f16_to_f32(dmin_bits);
  for (int s = 0; s < kNumSubs; ++s) {
    scales[s] = code_of(fits[s].scale * inverse(d), 0, scale_top);
    mins[s] = code_of(-fits[s].offset * inverse(dmin), 0, scale_top);
    const float to_code = inverse(d * static_cast<float>(scales[s]));
    const float min = dmin * static_cast<float>(mins[s]);
    for (int i = s * kWidth; i < (s + 1) * kWidth; ++i)
      codes[i] = static_cast<uint8_t>(code_of((x[i] + min) * to_code, 0, top));
  }
}

void decode_symmetric(const Codes& codes, int centre, float d, const int* scales, float* y) {
  for (int i = 0; i < kSuperBlock; ++i)
    y[i] = d * static_cast<float>(scales[i / 16]) * static_cast<float>(codes[i] - centre);
}

void decode_affine(const Codes& codes, int width, float d, float dmin, const int* scales, const int* mins, float* y) {
  for (int i = 0; i < kSuperBlock; ++i) {
    const int s = i / width;
    y[i] = d * static_cast<float>(scales[s]) * static_cast<float>(codes[i]) - dmin * static_cast<float>(mins[s]);
  }
}

template <typename Block, typename Fn>
void for_blocks(const void* in, float* out, int64_t n, Fn decode) {
  const auto* blocks = static_cast<const Block*>(in);
  for (int64_t b = 0; b < n / kSuperBlock; ++b)
    decode(blocks[b], out + b * kSuperBlock);
}

template <typename Block, typename Fn>
void for_blocks(const float* in, void* out, int64_t n, Fn encode) {
  auto* blocks = static_cast<Block*>(out);
  for (int64_t b = 0; b < n / kSuperBlock; ++b)
    encode(in + b * kSuperBlock, blocks[b]);
}

}  // namespace

void dequantize_q2_k(const void* blocks, float* out, int64_t n) {
  for_blocks<BlockQ2_K>(blocks, out, n, [](const BlockQ2_K& block, float* y) {
    Codes codes = {};
    unpack_two_bits(block.qs, 0, codes);
    int scales[kSub16], mins[kSub16];
    for (int s = 0; s < kSub16; ++s) {
      scales[s] = block.scales[s] & 15;
      mins[s] = block.scales[s] >> 4;
    }
    decode_affine(codes, 16, f16_to_f32(block.d), f16_to_f32(block.dmin), scales, mins, y);
  });
}

void dequantize_q3_k(const void* blocks, float* out, int64_t n) {
  for_blocks<BlockQ3_K>(blocks, out, n, [](const BlockQ3_K& block, float* y) {
    Codes codes = {};
    unpack_two_bits(block.qs, 0, codes);
    unpack_bits(block.hmask, 2, codes);
    int scales[kSub16];
    unpack_q3_scales(block.scales, scales);
    for (int& scale : scales)
      scale -= 32;
    decode_symmetric(codes, 4, f16_to_f32(block.d), scales, y);
  });
}

void dequantize_q4_k(const void* blocks, float* out, int64_t n) {
  for_blocks<BlockQ4_K>(blocks, out, n, [](const BlockQ4_K& block, float* y) {
    Codes codes;
    unpack_nibble_pairs(block.qs, codes);
    int scales[kSub32], mins[kSub32];
    unpack_scales_mins(block.scales, scales, mins);
    decode_affine(codes, 32, f16_to_f32(block.d), f16_to_f32(block.dmin), scales, mins, y);
  });
}

void dequantize_q5_k(const void* blocks, float* out, int64_t n) {
  for_blocks<BlockQ5_K>(blocks, out, n, [](const BlockQ5_K& block, float* y) {
    Codes codes;
    unpack_nibble_pairs(block.qs, codes);
    unpack_bits(block.qh, 4, codes);
    int scales[kSub32], mins[kSub32];
    unpack_scales_mins(block.scales, scales, mins);
    decode_affine(codes, 32, f16_to_f32(block.d), f16_to_f32(block.dmin), scales, mins, y);
  });
}

void dequantize_q6_k(const void* blocks, float* out, int64_t n) {
  for_blocks<BlockQ6_K>(blocks, out, n, [](const BlockQ6_K& block, float* y) {
    Codes codes;
    for (int i = 0; i < kSuperBlock; ++i) {
      const int half = i / 128, e = i % 128;
      codes[i] = block.ql[64 * half + e % 64] >> (4 * (e / 64)) & 15;
    }
    unpack_two_bits(block.qh, 4, codes);
    int scales[kSub16];
    std::copy_n(block.scales, kSub16, scales);
    decode_symmetric(codes, 32, f16_to_f32(block.d), scales, y);
  });
}

void quantize_q2_k(const float* in, void* blocks, int64_t n) {
  for_blocks<BlockQ2_K>(in, blocks, n, [](const float* x, BlockQ2_K& block) {
    Codes codes;
    int scales[kSub16], mins[kSub16];
    encode_affine<kSub16>(x, 3, 15, block.d, block.dmin, scales, mins, codes);
    for (int s = 0; s < kSub16; ++s)
      block.scales[s] = static_cast<uint8_t>(scales[s] | mins[s] << 4);
    pack_two_bits(codes, 0, block.qs);
  });
}

void quantize_q3_k(const float* in, void* blocks, int64_t n) {
  for_blocks<BlockQ3_K>(in, blocks, n, [](const float* x, BlockQ3_K& block) {
    Codes codes;
    int scales[kSub16];
    block.d = encode_symmetric<kSub16>(x, 4, -32, 31, scales, codes);
    for (int& scale : scales)
      scale += 32;
    pack_q3_scales(scales, block.scales);
    pack_two_bits(codes, 0, block.qs);
    pack_bits(codes, 2, block.hmask);
  });
}

void quantize_q4_k(const float* in, void* blocks, int64_t n) {
  for_blocks<BlockQ4_K>(in, blocks, n, [](const float* x, BlockQ4_K& block) {
    Codes codes;
    int scales[kSub32], mins[kSub32];
    encode_affine<kSub32>(x, 15, 63, block.d, block.dmin, scales, mins, codes);
    pack_scales_mins(scales, mins, block.scales);
    pack_nibble_pairs(codes, block.qs);
  });
}

void quantize_q5_k(const float* in, void* blocks, int64_t n) {
  for_blocks<BlockQ5_K>(in, blocks, n, [](const float* x, BlockQ5_K& block) {
    Codes codes;
    int scales[kSub32], mins[kSub32];
    encode_affine<kSub32>(x, 31, 63, block.d, block.dmin, scales, mins, codes);
    pack_scales_mins(scales, mins, block.scales);
    pack_nibble_pairs(codes, block.qs);
    pack_bits(codes, 4, block.qh);
  });
}

void quantize_q6_k(const float* in, void* blocks, int64_t n) {
  for_blocks<BlockQ6_K>(in, blocks, n, [](const float* x, BlockQ6_K& block) {
    Codes codes;
    int scales[kSub16];
    block.d = encode_symmetric<kSub16>(x, 32, -128, 127, scales, codes);
    std::transform(scales, scales + kSub16, block.scales, [](int scale) { return static_cast<int8_t>(scale); });
    std::fill_n(block.ql, sizeof(block.ql), uint8_t{0});
    for (int i = 0; i < kSuperBlock; ++i) {
      const int half = i / 128, e = i % 128;
      uint8_t& byte = block.ql[64 * half + e % 64];
      byte = static_cast<uint8_t>(byte | (codes[i] & 15) << (4 * (e / 64)));
    }
    pack_two_bits(codes, 4, block.qh);
  });
}

}  // namespace minicpm::quant

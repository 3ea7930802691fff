#include "quant/legacy.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/half.h"
#include "quant/blocks.h"
#include "quant/fit.h"

namespace minicpm::quant {
namespace {

constexpr int kHalf = kSmallBlock / 2;

/// The 32 codes of a block with 4-bit codes, or the low bits of one with 5-bit codes.
void unpack_nibbles(const uint8_t* qs, int* codes) {
  for (int j = 0; j < kHalf; ++j) {
    codes[j] = qs[j] & 15;
    codes[j + kHalf] = qs[j] >> 4;
  }
}

void pack_nibbles(const int* codes, uint8_t* qs) {
  for (int j = 0; j < kHalf; ++j)
    qs[j] = static_cast<uint8_t>((codes[j] & 15) | (codes[j + kHalf] & 15) << 4);
}

void unpack_fifth_bits(const uint8_t* qh, int* codes) {
  for (int j = 0; j < kSmallBlock; ++j)
    codes[j] |= (qh[j / 8] >> (j % 8) & 1) << 4;
}

void pack_fifth_bits(const int* codes, uint8_t* qh) {
  std::fill_n(qh, 4, uint8_t{0});
  for (int j = 0; j < kSmallBlock; ++j)
    qh[j / 8] = static_cast<uint8_t>(qh[j / 8] | (codes[j] >> 4 & 1) << (j % 8));
}

/// Codes 0 .. 2 * centre - 1 that stand for d * (code - centre).
uint16_t encode_symmetric(const float* x, int centre, int* codes) {
  const uint16_t d = scale_to_f16(fit_scale({x, kSmallBlock}, -centre, centre - 1));
  const float to_code = inverse(f16_to_f32(d));
  for (int j = 0; j < kSmallBlock; ++j)
    codes[j] = code_of(x[j] * to_code, -centre, centre - 1) + centre;
  return d;
}

/// Codes 0 .. top that stand for d * code + m.
void encode_affine(const float* x, int top, int* codes, uint16_t& d, uint16_t& m) {
  const AffineFit fit = fit_affine({x, kSmallBlock}, top, false);
  d = scale_to_f16(fit.scale);
  m = scale_to_f16(fit.offset);
  const float to_code = inverse(f16_to_f32(d));
  for (int j = 0; j < kSmallBlock; ++j)
    codes[j] = code_of((x[j] - f16_to_f32(m)) * to_code, 0, top);
}

template <typename Block, typename Fn>
void for_blocks(const void* in, float* out, int64_t n, Fn decode) {
  const auto* blocks = static_cast<const Block*>(in);
  for (int64_t b = 0; b < n / kSmallBlock; ++b)
    decode(blocks[b], out + b * kSmallBlock);
}

template <typename Block, typename Fn>
void for_blocks(const float* in, void* out, int64_t n, Fn encode) {
  auto* blocks = static_cast<Block*>(out);
  for (int64_t b = 0; b < n / kSmallBlock; ++b)
    encode(in + b * kSmallBlock, blocks[b]);
}

}  // namespace

void dequantize_q4_0(const void* blocks, float* out, int64_t n) {
  for_blocks<BlockQ4_0>(blocks, out, n, [](const BlockQ4_0& block, float* y) {
    int codes[kSmallBlock];
    unpack_nibbles(block.qs, codes);
    const float d = f16_to_f32(block.d);
    for (int j = 0; j < kSmallBlock; ++j)
      y[j] = d * static_cast<float>(codes[j] - 8);
  });
}

void dequantize_q4_1(const void* blocks, float* out, int64_t n) {
  for_blocks<BlockQ4_1>(blocks, out, n, [](const BlockQ4_1& block, float* y) {
    int codes[kSmallBlock];
    unpack_nibbles(block.qs, codes);
    const float d = f16_to_f32(block.d), m = f16_to_f32(block.m);
    for (int j = 0; j < kSmallBlock; ++j)
      y[j] = d * static_cast<float>(codes[j]) + m;
  });
}

void dequantize_q5_0(const void* blocks, float* out, int64_t n) {
  for_blocks<BlockQ5_0>(blocks, out, n, [](const BlockQ5_0& block, float* y) {
    int codes[kSmallBlock];
    unpack_nibbles(block.qs, codes);
    unpack_fifth_bits(block.qh, codes);
    const float d = f16_to_f32(block.d);
    for (int j = 0; j < kSmallBlock; ++j)
      y[j] = d * static_cast<float>(codes[j] - 16);
  });
}

void dequantize_q5_1(const void* blocks, float* out, int64_t n) {
  for_blocks<BlockQ5_1>(blocks, out, n, [](const BlockQ5_1& block, float* y) {
    int codes[kSmallBlock];
    unpack_nibbles(block.qs, codes);
    unpack_fifth_bits(block.qh, codes);
    const float d = f16_to_f32(block.d), m = f16_to_f32(block.m);
    for (int j = 0; j < kSmallBlock; ++j)
      y[j] = d * static_cast<float>(codes[j]) + m;
  });
}

void dequantize_q8_0(const void* blocks, float* out, int64_t n) {
  for_blocks<BlockQ8_0>(blocks, out, n, [](const BlockQ8_0& block, float* y) {
    const float d = f16_to_f32(block.d);
    for (int j = 0; j < kSmallBlock; ++j)
      y[j] = d * static_cast<float>(block.qs[j]);
  });
}

void quantize_q4_0(const float* in, void* blocks, int64_t n) {
  for_blocks<BlockQ4_0>(in, blocks, n, [](const float* x, BlockQ4_0& block) {
    int codes[kSmallBlock];
    block.d = encode_symmetric(x, 8, codes);
    pack_nibbles(codes, block.qs);
  });
}

void quantize_q4_1(const float* in, void* blocks, int64_t n) {
  for_blocks<BlockQ4_1>(in, blocks, n, [](const float* x, BlockQ4_1& block) {
    int codes[kSmallBlock];
    encode_affine(x, 15, codes, block.d, block.m);
    pack_nibbles(codes, block.qs);
  });
}

void quantize_q5_0(const float* in, void* blocks, int64_t n) {
  for_blocks<BlockQ5_0>(in, blocks, n, [](const float* x, BlockQ5_0& block) {
    int codes[kSmallBlock];
    block.d = encode_symmetric(x, 16, codes);
    pack_nibbles(codes, block.qs);
    pack_fifth_bits(codes, block.qh);
  });
}

void quantize_q5_1(const float* in, void* blocks, int64_t n) {
  for_blocks<BlockQ5_1>(in, blocks, n, [](const float* x, BlockQ5_1& block) {
    int codes[kSmallBlock];
    encode_affine(x, 31, codes, block.d, block.m);
    pack_nibbles(codes, block.qs);
    pack_fifth_bits(codes, block.qh);
  });
}

void quantize_q8_0(const float* in, void* blocks, int64_t n) {
  for_blocks<BlockQ8_0>(in, blocks, n, [](const float* x, BlockQ8_0& block) {
    float largest = 0.0f;
    for (int j = 0; j < kSmallBlock; ++j)
      largest = std::max(largest, std::fabs(x[j]));
    // With 255 codes clipping never pays, so the scale needs no search; codes are symmetric.
    block.d = scale_to_f16(largest / 127.0f);
    const float to_code = inverse(f16_to_f32(block.d));
    for (int j = 0; j < kSmallBlock; ++j)
      block.qs[j] = static_cast<int8_t>(code_of(x[j] * to_code, -127, 127));
  });
}

}  // namespace minicpm::quant

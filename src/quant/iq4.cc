#include "quant/iq4.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/half.h"
#include "quant/blocks.h"
#include "quant/fit.h"

namespace minicpm::quant {
namespace {

constexpr int kHalf = kSmallBlock / 2;
constexpr int kNumSubs = kSuperBlock / kSmallBlock;
constexpr int kNumValues = 16;

// The value that the extreme weight is mapped to in the candidate scales: around both ends of the table, because a
// scale may be negative and the table is not symmetric.
constexpr std::array<float, 16> kExtremeTargets = {-141, -134, -127, -122, -117, -112, -107, -102,
                                                   127,  122,  117,  113,  109,  104,  99,   94};

/// Index of the table value nearest to x; NaN gives 0.
int nearest_code(float x) {
  int code = 0;
  for (int i = 1; i < kNumValues; ++i)
    code += x > 0.5f * static_cast<float>(kIq4Values[i - 1] + kIq4Values[i]) ? 1 : 0;
  return code;
}

/// The scale that brings scale * table value nearest to x in the squared sense.
float fit_table_scale(const float* x) {
  float extreme = 0.0f;
  for (int j = 0; j < kSmallBlock; ++j)
    extreme = std::fabs(x[j]) > std::fabs(extreme) ? x[j] : extreme;
  if (extreme == 0.0f) return 0.0f;
  float best_scale = extreme / kIq4Values[0];
  float best_gain = -1.0f;
  for (float target : kExtremeTargets) {
    const float to_table = target / extreme;
    float vx = 0.0f, vv = 0.0f;
    for (int j = 0; j < kSmallBlock; ++j) {
      const float value = kIq4Values[nearest_code(x[j] * to_table)];
      vx += value * x[j];
      vv += value * value;
    }
    if (vx * vx > best_gain * vv) {
      best_gain = vx * vx / vv;
      best_scale = vx / vv;
    }
  }
  return best_scale;
}

void encode(const float* x, float scale, uint8_t* qs) {
  const float to_table = inverse(scale);
  for (int j = 0; j < kHalf; ++j) {
    const int low = nearest_code(x[j] * to_table);
    const int high = nearest_code(x[j + kHalf] * to_table);
    qs[j] = static_cast<uint8_t>(low | high << 4);
  }
}

void decode(const uint8_t* qs, float scale, float* y) {
  for (int j = 0; j < kHalf; ++j) {
    y[j] = scale * kIq4Values[qs[j] & 15];
    y[j + kHalf] = scale * kIq4Values[qs[j] >> 4];
  }
}

}  // namespace

void dequantize_iq4_nl(const void* blocks, float* out, int64_t n) {
  const auto* in = static_cast<const BlockIQ4_NL*>(blocks);
  for (int64_t b = 0; b < n / kSmallBlock; ++b)
    decode(in[b].qs, f16_to_f32(in[b].d), out + b * kSmallBlock);
}

void dequantize_iq4_xs(const void* blocks, float* out, int64_t n) {
  const auto* in = static_cast<const BlockIQ4_XS*>(blocks);
  for (int64_t b = 0; b < n / kSuperBlock; ++b) {
    const float d = f16_to_f32(in[b].d);
    for (int s = 0; s < kNumSubs; ++s) {
      const int low = in[b].scales_l[s / 2] >> (4 * (s % 2)) & 15;
      const int high = in[b].scales_h >> (2 * s) & 3;
      const float scale = d * static_cast<float>((low | high << 4) - 32);
      decode(in[b].qs + s * kHalf, scale, out + b * kSuperBlock + s * kSmallBlock);
    }
  }
}

void quantize_iq4_nl(const float* in, void* blocks, int64_t n) {
  auto* out = static_cast<BlockIQ4_NL*>(blocks);
  for (int64_t b = 0; b < n / kSmallBlock; ++b) {
    const float* x = in + b * kSmallBlock;
    out[b].d = scale_to_f16(fit_table_scale(x));
    encode(x, f16_to_f32(out[b].d), out[b].qs);
  }
}

void quantize_iq4_xs(const float* in, void* blocks, int64_t n) {
  auto* out = static_cast<BlockIQ4_XS*>(blocks);
  for (int64_t b = 0; b < n / kSuperBlock; ++b) {
    const float* x = in + b * kSuperBlock;
    BlockIQ4_XS& block = out[b];
    float fits[kNumSubs];
    float extreme = 0.0f;
    for (int s = 0; s < kNumSubs; ++s) {
      fits[s] = fit_table_scale(x + s * kSmallBlock);
      extreme = std::fabs(fits[s]) > std::fabs(extreme) ? fits[s] : extreme;
    }
    block.d = scale_to_f16(extreme / -32.0f);
    block.scales_h = 0;
    std::fill_n(block.scales_l, sizeof(block.scales_l), uint8_t{0});
    const float d = f16_to_f32(block.d);
    for (int s = 0; s < kNumSubs; ++s) {
      const int scale = code_of(fits[s] * inverse(d), -32, 31);
      const int stored = scale + 32;
      block.scales_l[s / 2] = static_cast<uint8_t>(block.scales_l[s / 2] | (stored & 15) << (4 * (s % 2)));
      block.scales_h = static_cast<uint16_t>(block.scales_h | (stored >> 4) << (2 * s));
      encode(x + s * kSmallBlock, d * static_cast<float>(scale), block.qs + s * kHalf);
    }
  }
}

}  // namespace minicpm::quant

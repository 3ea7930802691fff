// Choice of scales for round-to-nearest quantisation: least squares over a few candidate grids. Shared by the block
// families of this folder.
#pragma once

#include <cstdint>
#include <span>

namespace minicpm::quant {

/// x rounded to the nearest whole number (ties to even) inside [lo, hi]; NaN gives lo. Requires |lo|, |hi| < 2^22.
inline float round_clamped(float x, float lo, float hi) {
  constexpr float kRoundingBias = 12582912.0f;  // 1.5 * 2^23: the sum has no fraction bits left
  x = x > lo ? (x < hi ? x : hi) : lo;
  return (x + kRoundingBias) - kRoundingBias;
}
inline int code_of(float x, int lo, int hi) {
  return static_cast<int>(round_clamped(x, static_cast<float>(lo), static_cast<float>(hi)));
}

/// 1 / x, or 0 for x = 0: a block without a scale holds zeros.
inline float inverse(float x) {
  return x == 0.0f ? 0.0f : 1.0f / x;
}

/// f16 bits of a scale; magnitudes beyond the f16 range and NaN become the largest finite value, so that a block never
/// decodes to NaN.
uint16_t scale_to_f16(float scale);

/// The scale that brings scale * q nearest to x in the squared sense, q in [lo, hi]. It may be negative: the value of
/// largest magnitude takes the longer side of an uneven range.
float fit_scale(std::span<const float> x, int lo, int hi);

struct AffineFit {
  float scale;   // >= 0
  float offset;  // x ~ scale * q + offset
};

/// Best scale and offset for q in [0, hi]. `offset_at_most_zero`: for formats that store -offset as unsigned.
AffineFit fit_affine(std::span<const float> x, int hi, bool offset_at_most_zero);

}  // namespace minicpm::quant

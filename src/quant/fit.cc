#include "quant/fit.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/half.h"

namespace minicpm::quant {
namespace {

// Candidate grids shrink or widen the range by up to this many codes: clipping the extreme value a little often lowers
// the error of all others.
constexpr std::array<float, 11> kRangeShifts = {0.0f,  -0.9f, -0.7f, -0.5f, -0.3f, -0.15f,
                                                0.15f, 0.3f,  0.5f,  0.7f,  0.9f};

}  // namespace

uint16_t scale_to_f16(float scale) {
  constexpr float kMaxF16 = 65504.0f;
  return f32_to_f16(scale > -kMaxF16 ? (scale < kMaxF16 ? scale : kMaxF16) : -kMaxF16);
}

float fit_scale(std::span<const float> x, int lo, int hi) {
  float extreme = 0.0f;
  for (float v : x)
    extreme = std::fabs(v) > std::fabs(extreme) ? v : extreme;
  if (extreme == 0.0f) return 0.0f;

  const auto low = static_cast<float>(lo);
  const auto high = static_cast<float>(hi);
  float best_scale = extreme / low;
  float best_gain = -1.0f;
  for (float shift : kRangeShifts) {
    const float to_code = (low - shift) / extreme;
    float qx = 0.0f, qq = 0.0f;
    for (float v : x) {
      const float q = round_clamped(v * to_code, low, high);
      qx += q * v;
      qq += q * q;
    }
    // With these codes the best scale is qx / qq, and it lowers the squared error by qx^2 / qq.
    if (qq > 0.0f && qx * qx > best_gain * qq) {
      best_gain = qx * qx / qq;
      best_scale = qx / qq;
    }
  }
  return best_scale;
}

AffineFit fit_affine(std::span<const float> x, int hi, bool offset_at_most_zero) {
  float low = x[0], high = x[0];
  for (float v : x) {
    low = std::min(low, v);
    high = std::max(high, v);
  }
  if (offset_at_most_zero) low = std::min(low, 0.0f);
  if (!(high > low)) return {0.0f, low};

  const auto n = static_cast<float>(x.size());
  const auto top = static_cast<float>(hi);
  AffineFit best{(high - low) / top, low};
  float best_error = INFINITY;
  for (float shift : kRangeShifts) {
    const float to_code = (top + shift) / (high - low);
    float q1 = 0.0f, qq = 0.0f, qx = 0.0f, x1 = 0.0f, xx = 0.0f;
    for (float v : x) {
      const float q = round_clamped((v - low) * to_code, 0.0f, top);
      q1 += q;
      qq += q * q;
      qx += q * v;
      x1 += v;
      xx += v * v;
    }
    const float determinant = n * qq - q1 * q1;
    if (!(determinant > 0.0f)) continue;
    AffineFit fit{(n * qx - q1 * x1) / determinant, (qq * x1 - q1 * qx) / determinant};
    if (offset_at_most_zero && fit.offset > 0.0f) fit = {qx / qq, 0.0f};
    const float error = xx - 2.0f * (fit.scale * qx + fit.offset * x1) + fit.scale * fit.scale * qq +
                        2.0f * fit.scale * fit.offset * q1 + n * fit.offset * fit.offset;
    if (fit.scale > 0.0f && error < best_error) {
      best_error = error;
      best = fit;
    }
  }
  return best;
}

}  // namespace minicpm::quant

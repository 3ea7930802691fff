#include "models/cross_fade.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace minicpm {

std::vector<float> cross_fade(std::span<const float> previous, std::span<const float> next) {
  MINICPM_CHECK(previous.size() >= kSpeechOverlap && next.size() >= kSpeechOverlap);
  const size_t width = std::max(previous.size(), next.size()) + kSpeechOverlap;
  // A triangle over (0, 1) without its ends.
  const auto weight = [width](size_t i) {
    const double t = static_cast<double>(i + 1) / static_cast<double>(width + 1);
    return static_cast<float>(0.5 - std::abs(t - 0.5));
  };
  const size_t start = previous.size() - kSpeechOverlap;
  std::vector<float> sum(start + next.size()), weights(sum.size());
  for (size_t i = 0; i < previous.size(); ++i) {
    const float w = weight(width - previous.size() + i);
    sum[i] += w * previous[i];
    weights[i] += w;
  }
  for (size_t i = 0; i < next.size(); ++i) {
    const float w = weight(i);
    sum[start + i] += w * next[i];
    weights[start + i] += w;
  }
  for (size_t i = 0; i < sum.size(); ++i)
    sum[i] /= weights[i];
  return sum;
}

}  // namespace minicpm

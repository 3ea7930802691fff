#include <algorithm>

#include "media/log_mel.h"

namespace minicpm {

std::vector<MelFilter> mel_filters(std::span<const double> corners, double rate, int64_t n_fft, bool equal_area) {
  std::vector<MelFilter> filters;
  for (size_t b = 0; b + 2 < corners.size(); ++b) {
    const double low = corners[b], middle = corners[b + 1], high = corners[b + 2];
    MelFilter filter;
    for (int64_t i = 0; i <= n_fft / 2; ++i) {
      const double hz = static_cast<double>(i) * rate / static_cast<double>(n_fft);
      const double slope = std::min((hz - low) / (middle - low), (high - hz) / (high - middle));
      if (slope <= 0) continue;
      if (filter.weights.empty()) filter.first = i;
      filter.weights.push_back(static_cast<float>(equal_area ? slope * 2 / (high - low) : slope));
    }
    filters.push_back(std::move(filter));
  }
  return filters;
}

}  // namespace minicpm

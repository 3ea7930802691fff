// A line chart of a training run as SVG: loss, smoothed loss and learning rate over steps.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace minicpm {

struct ChartPoint {
  int64_t step = 0;
  float loss = 0;  // left out of the drawing where it is not finite
  float learning_rate = 0;
};

/// A document of less than 50 KB however many points there are: each of some hundred columns keeps its extremes. The
/// loss axis is logarithmic when the losses are positive and span more than a factor of ten. Follows the reader's light
/// or dark setting.
std::string loss_chart_svg(std::span<const ChartPoint> points);

}  // namespace minicpm

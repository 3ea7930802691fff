#include "train/loss_chart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace minicpm {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// A run whose loss falls from about `first` to about `last`.
std::vector<ChartPoint> run(int64_t count, double first, double last) {
  constexpr uint64_t kSeed = 3;
  std::mt19937_64 random(kSeed);
  std::normal_distribution<double> noise(0, 0.1);
  std::vector<ChartPoint> points;
  for (int64_t i = 0; i < count; ++i) {
    const double along = static_cast<double>(i) / static_cast<double>(count);
    const double loss = first * std::pow(last / first, along) * std::exp(noise(random));
    points.push_back({i + 1, static_cast<float>(loss), static_cast<float>(1e-3 * (1 - along))});
  }
  return points;
}

TEST(LossChart, StaysSmallForLongRuns) {
  for (const int64_t count : {1000, 300000}) {
    const std::string svg = loss_chart_svg(run(count, 8, 0.01));
    EXPECT_LT(svg.size(), 50000u) << count;
    EXPECT_GT(svg.size(), 5000u) << count;
  }
}

TEST(LossChart, AxisIsLogarithmicForWideRanges) {
  EXPECT_THAT(loss_chart_svg(run(1000, 8, 0.05)), HasSubstr("loss (logarithmic)"));
  EXPECT_THAT(loss_chart_svg(run(1000, 2, 1)), Not(HasSubstr("logarithmic")));
  std::vector<ChartPoint> negative = run(1000, 8, 0.05);
  negative[500].loss = -1;
  EXPECT_THAT(loss_chart_svg(negative), Not(HasSubstr("logarithmic")));
}

TEST(LossChart, NamesAxesAndState) {
  const std::string svg = loss_chart_svg(run(2000, 2, 1));
  EXPECT_THAT(svg, HasSubstr(">step<"));
  EXPECT_THAT(svg, HasSubstr(">loss<"));
  EXPECT_THAT(svg, HasSubstr(">learning rate<"));
  EXPECT_THAT(svg, HasSubstr(">smoothed loss<"));
  EXPECT_THAT(svg, HasSubstr("Training, step 2000: smoothed loss 1.0"));
  EXPECT_THAT(svg, HasSubstr("prefers-color-scheme: dark"));
}

TEST(LossChart, KeepsASpike) {
  std::vector<ChartPoint> points = run(100000, 2, 1);
  points[50000].loss = 5;
  EXPECT_TRUE(loss_chart_svg(points).find(">5<") != std::string::npos);
  EXPECT_TRUE(loss_chart_svg(run(100000, 2, 1)).find(">5<") == std::string::npos);
}

TEST(LossChart, DrawsRunsOfNoneOneAndEqualPoints) {
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
  const std::vector<std::vector<ChartPoint>> runs = {{},
                                                     {{5, 1.5f, 1e-3f}},
                                                     {{1, 2.0f, 0.0f}, {2, 2.0f, 0.0f}},
                                                     {{1, kNaN, 0.0f}},
                                                     {{1, 0.0f, 0.0f}, {1, 0.0f, 0.0f}}};
  for (const auto& points : runs) {
    const std::string svg = loss_chart_svg(points);
    EXPECT_THAT(svg, HasSubstr("</svg>\n"));
    EXPECT_THAT(svg, Not(HasSubstr("nan")));
    EXPECT_THAT(svg, Not(HasSubstr("inf")));
  }
}

}  // namespace
}  // namespace minicpm

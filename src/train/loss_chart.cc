#include "train/loss_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>
#include <vector>

namespace minicpm {
namespace {

// Size of the drawing and of the field within it, in SVG units.
constexpr double kWidth = 960, kHeight = 480;
constexpr double kLeft = 72, kRight = 888, kTop = 48, kBottom = 424;
constexpr int kColumns = 400;               // bounds the size of the document
constexpr double kLogFrom = 10;             // ratio of extremes above which the loss axis is logarithmic
constexpr double kSmoothShare = 1.0 / 60;   // length of the moving average / points
constexpr double kShortestSmoothing = 5.0;  // in points

constexpr std::string_view kStyle = R"(<style>
text { font: 13px system-ui, sans-serif; fill: #444 } .title { font-size: 15px; fill: #111 }
.back { fill: #fff } .grid { stroke: #e2e2e2 } .frame { stroke: #999; fill: none }
polyline { fill: none; stroke-linejoin: round } .raw { stroke: #a9c4ee } .smooth { stroke: #1a56b8; stroke-width: 2 }
.rate { stroke: #c4790a; stroke-dasharray: 5 3 } text.rate { fill: #a3650a; stroke: none }
@media (prefers-color-scheme: dark) {
text { fill: #bbb } .title { fill: #eee } .back { fill: #16181c } .grid { stroke: #30343a } .frame { stroke: #777 }
.raw { stroke: #33507d } .smooth { stroke: #79aaff } .rate { stroke: #e0a040 } text.rate { fill: #e0a040 }
}
</style>
)";

/// What is drawn of all points within one column.
struct Column {
  int64_t low_step = 0, high_step = 0;
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  int64_t last_step = 0;
  double smooth = std::numeric_limits<double>::quiet_NaN();
  double rate = 0;
  bool used = false;
  bool has_loss() const { return low <= high; }
};

struct Axis {
  double low = 0, high = 1;  // values, or their logarithms
  bool logarithmic = false;
  double begin = kBottom, end = kTop;  // SVG units

  double place(double value) const {
    const double x = logarithmic ? std::log10(value) : value;
    return begin + (end - begin) * (x - low) / (high - low);
  }
};

std::vector<Column> gather(std::span<const ChartPoint> points, int64_t first, int64_t last) {
  std::vector<Column> columns(kColumns);
  const double length = std::max(kShortestSmoothing, kSmoothShare * static_cast<double>(points.size()));
  const double keep = 1.0 - 1.0 / length;
  double sum = 0, weight = 0;
  for (const ChartPoint& point : points) {
    const double along =
        static_cast<double>(point.step - first) / std::max<double>(1.0, static_cast<double>(last - first));
    Column& column = columns[static_cast<size_t>(std::clamp(along * kColumns, 0.0, kColumns - 1.0))];
    column.used = true;
    column.last_step = point.step;
    column.rate = point.learning_rate;
    const double loss = point.loss;
    if (!std::isfinite(loss)) continue;
    if (loss < column.low) column.low = loss, column.low_step = point.step;
    if (loss > column.high) column.high = loss, column.high_step = point.step;
    sum = keep * sum + (1.0 - keep) * loss;
    weight = keep * weight + (1.0 - keep);
    column.smooth = sum / weight;
  }
  return columns;
}

Axis loss_axis(const std::vector<Column>& columns) {
  Axis axis;
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const Column& column : columns) {
    low = std::min(low, column.low);
    high = std::max(high, column.high);
  }
  if (low > high) return axis;
  axis.logarithmic = low > 0 && high / low > kLogFrom;
  axis.low = axis.logarithmic ? std::log10(low) : low;
  axis.high = axis.logarithmic ? std::log10(high) : high;
  const double margin = std::max({0.04 * (axis.high - axis.low), 1e-3 * std::abs(axis.high), 1e-9});
  axis.low -= margin;
  axis.high += margin;
  return axis;
}

/// A round distance that gives about `count` marks.
double round_distance(double span, int count) {
  const double rough = span / count;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (rough <= factor * power) return factor * power;
  }
  return 10 * power;
}

std::vector<double> loss_marks(const Axis& axis) {
  std::vector<double> marks;
  if (axis.logarithmic) {
    const bool wide = axis.high - axis.low > 3;
    for (double power = std::floor(axis.low); power <= axis.high; ++power) {
      for (const double factor : {1.0, 2.0, 5.0}) {
        const double mark = factor * std::pow(10.0, power);
        if ((factor == 1.0 || !wide) && std::log10(mark) >= axis.low && std::log10(mark) <= axis.high)
          marks.push_back(mark);
      }
    }
    return marks;
  }
  const double distance = round_distance(axis.high - axis.low, 6);
  for (double i = std::ceil(axis.low / distance); i * distance <= axis.high; ++i)
    marks.push_back(i * distance);
  return marks;
}

std::string step_text(double step) {
  if (step >= 1e6) return fmt::format("{:g}M", step / 1e6);
  if (step >= 1e4) return fmt::format("{:g}k", step / 1e3);
  return fmt::format("{:g}", step);
}

void add_text(std::string& svg, double x, double y, std::string_view anchor, std::string_view kind,
              std::string_view text) {
  svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>\n", x, y, anchor, kind, text);
}

void add_grid(std::string& svg, const Axis& loss, const Axis& steps, double highest_rate) {
  for (const double mark : loss_marks(loss)) {
    const double y = loss.place(mark);
    svg += fmt::format("<path class=\"grid\" d=\"M{} {:.1f}H{}\"/>\n", kLeft, y, kRight);
    add_text(svg, kLeft - 8, y + 4, "end", "", fmt::format("{:.4g}", mark));
  }
  const double distance = std::max(1.0, round_distance(steps.high - steps.low, 8));
  for (double i = std::ceil(steps.low / distance); i * distance <= steps.high; ++i) {
    const double x = steps.place(i * distance);
    svg += fmt::format("<path class=\"grid\" d=\"M{:.1f} {}V{}\"/>\n", x, kBottom, kTop);
    add_text(svg, x, kBottom + 20, "middle", "", step_text(i * distance));
  }
  for (const double part : {0.0, 0.5, 1.0}) {
    add_text(svg, kRight + 8, kBottom + part * (kTop - kBottom) + 4, "start", " class=\"rate\"",
             fmt::format("{:.2g}", part * highest_rate));
  }
  svg += fmt::format("<rect class=\"frame\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>\n", kLeft, kTop,
                     kRight - kLeft, kBottom - kTop);
  add_text(svg, (kLeft + kRight) / 2, kHeight - 14, "middle", "", "step");
  const double middle = (kTop + kBottom) / 2;
  add_text(svg, 18, middle, "middle", fmt::format(" transform=\"rotate(-90 18 {})\"", middle),
           loss.logarithmic ? "loss (logarithmic)" : "loss");
  add_text(svg, kWidth - 10, middle, "middle",
           fmt::format(" class=\"rate\" transform=\"rotate(90 {} {})\"", kWidth - 10, middle), "learning rate");
}

void add_lines(std::string& svg, const std::vector<Column>& columns, const Axis& loss, const Axis& steps,
               const Axis& rates) {
  std::string raw, smooth, rate;
  const auto point = [&](std::string& line, int64_t step, double y) {
    line += fmt::format("{:.1f},{:.1f} ", steps.place(static_cast<double>(step)), y);
  };
  for (const Column& column : columns) {
    if (!column.used) continue;
    point(rate, column.last_step, rates.place(column.rate));
    if (!column.has_loss()) continue;
    const bool low_first = column.low_step <= column.high_step;
    point(raw, low_first ? column.low_step : column.high_step, loss.place(low_first ? column.low : column.high));
    if (column.low_step != column.high_step)
      point(raw, low_first ? column.high_step : column.low_step, loss.place(low_first ? column.high : column.low));
    point(smooth, column.last_step, loss.place(column.smooth));
  }
  for (const auto& [kind, line] : {std::pair("raw", raw), std::pair("rate", rate), std::pair("smooth", smooth)})
    svg += fmt::format("<polyline class=\"{}\" points=\"{}\"/>\n", kind, line);
}

void add_title(std::string& svg, const std::vector<Column>& columns, int64_t last_step) {
  const auto last = std::find_if(columns.rbegin(), columns.rend(), [](const Column& c) { return c.has_loss(); });
  const std::string title = last == columns.rend()
                                ? fmt::format("Training, step {}", last_step)
                                : fmt::format("Training, step {}: smoothed loss {:.4g}", last_step, last->smooth);
  add_text(svg, kLeft, 26, "start", " class=\"title\"", title);
  double x = kRight - 300;
  for (const auto& [kind, name, width] : {std::tuple("raw", "loss", 62), std::tuple("smooth", "smoothed loss", 122),
                                          std::tuple("rate", "learning rate", 0)}) {
    svg += fmt::format("<polyline class=\"{}\" points=\"{},22 {},22\"/>\n", kind, x, x + 22);
    add_text(svg, x + 28, 26, "start", "", name);
    x += width + 10;
  }
}

}  // namespace

std::string loss_chart_svg(std::span<const ChartPoint> points) {
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\">\n{2}"
      "<rect class=\"back\" width=\"{0}\" height=\"{1}\"/>\n",
      kWidth, kHeight, kStyle);
  if (points.empty()) {
    add_text(svg, kWidth / 2, kHeight / 2, "middle", " class=\"title\"", "no step yet");
    return svg + "</svg>\n";
  }
  const auto [first, last] = std::minmax_element(
      points.begin(), points.end(), [](const ChartPoint& a, const ChartPoint& b) { return a.step < b.step; });
  const std::vector<Column> columns = gather(points, first->step, last->step);
  const Axis loss = loss_axis(columns);
  Axis steps{static_cast<double>(first->step), static_cast<double>(last->step), false, kLeft, kRight};
  if (steps.low == steps.high) steps.low -= 1, steps.high += 1;
  double highest_rate = 0;
  for (const Column& column : columns)
    highest_rate = std::max(highest_rate, column.rate);
  const Axis rates{0, highest_rate > 0 ? highest_rate : 1.0};
  add_grid(svg, loss, steps, rates.high);
  add_lines(svg, columns, loss, steps, rates);
  add_title(svg, columns, last->step);
  return svg + "</svg>\n";
}

}  // namespace minicpm

// Bar and line charts.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "pico/scene.h"
#include "pico/shapes.h"
#include "pico/text_draw.h"

namespace minicpm::pico {
namespace {

struct Chart {
  bool bars;
  std::vector<std::string> names;
  std::vector<int> values;
  std::vector<int> colors;  // of the bars
  bool written;             // values stand at the bars and points; else an axis tells them
  int top;                  // value at the upper end of the axis
};

/// Rectangle of the plot in pixels.
struct Area {
  float left, top, right, bottom;
};

void choose_values(Random& random, Chart& chart) {
  const auto count = chart.names.size();
  chart.written = random.chance(0.6f);
  chart.top = chart.written ? random.between(9, 60) : 10;
  const int trend = chart.bars ? 0 : random.between(-1, 1);
  for (;;) {
    chart.values.clear();
    for (size_t i = 0; i < count; ++i)
      chart.values.push_back(random.between(std::max(1, chart.top / 10), chart.top));
    if (trend > 0) std::sort(chart.values.begin(), chart.values.end());
    if (trend < 0) std::sort(chart.values.rbegin(), chart.values.rend());
    std::vector<int> sorted = chart.values;
    std::sort(sorted.begin(), sorted.end());
    // The largest and the smallest stand out, so that questions about them have one answer.
    const int gap = std::max(1, chart.top / 12);
    if (sorted[count - 1] - sorted[count - 2] >= gap && sorted[1] - sorted[0] >= gap) return;
  }
}

Chart choose_chart(Random& random, const Ground& ground, float difficulty) {
  Chart chart;
  chart.bars = random.chance(0.6f);
  const int count = random.between(3, 5);
  const std::vector<std::string> days = {"Mon", "Tue", "Wed", "Thu", "Fri"};
  const int first = random.below(3);
  const bool letters = count > 4 || random.chance(0.7f);
  const bool repeated = random.chance(0.5f);
  for (int i = 0; i < count; ++i) {
    chart.names.push_back(letters ? std::string(1, static_cast<char>('A' + first + i)) : days[static_cast<size_t>(i)]);
    int color;
    do {
      color = random_look(random, ground, difficulty).color;
    } while (!repeated && std::find(chart.colors.begin(), chart.colors.end(), color) != chart.colors.end());
    chart.colors.push_back(repeated && i > 0 ? chart.colors[0] : color);
  }
  choose_values(random, chart);
  return chart;
}

/// Draws text centred at (x, y), or ending at x, and adds its boxes.
struct Writer {
  const Canvas& canvas;
  Face face;
  float em;
  float enlargement;
  std::vector<LabelBox>& boxes;

  void write(const std::string& text, float x, float y, float anchor = 0.5f) const {
    const TextLine line(face, text);
    const float left = x - em * (line.left() + anchor * line.width());
    const float base = y - 0.5f * em * (line.top() + line.bottom());
    line.draw(canvas.cr(), left, base, em);
    line.append_boxes(canvas.cr(), left, base, em, enlargement, boxes);
  }
};

void draw_axes(const Writer& writer, const Chart& chart, const Area& area, Color ink, bool grid) {
  cairo_t* cr = writer.canvas.cr();
  writer.canvas.set_color(ink);
  cairo_set_line_width(cr, 1);
  cairo_move_to(cr, area.left, area.top);
  cairo_line_to(cr, area.left, area.bottom);
  cairo_line_to(cr, area.right, area.bottom);
  cairo_stroke(cr);
  if (chart.written) return;
  for (int value = 0; value <= chart.top; value += 2) {
    const float y = area.bottom - (area.bottom - area.top) * static_cast<float>(value) / static_cast<float>(chart.top);
    if (value % (chart.top > 6 && writer.em > 0.11f * (area.bottom - area.top) ? 4 : 2) == 0)
      writer.write(std::to_string(value), area.left - 4, y, 1);
    cairo_move_to(cr, area.left - 2, y);
    cairo_line_to(cr, grid ? area.right : area.left + 2, y);
    cairo_set_line_width(cr, 0.5);
    cairo_stroke(cr);
  }
}

void draw_marks(Random& random, const Writer& writer, const Chart& chart, const Area& area, const Ground& ground,
                Color ink, float difficulty) {
  cairo_t* cr = writer.canvas.cr();
  const auto count = static_cast<int>(chart.values.size());
  const float step = (area.right - area.left) / static_cast<float>(count);
  const float half = 0.5f * step * random.uniform(0.45f, 0.85f);
  const Color line_color = shape_color(random, chart.colors[0], ground, difficulty);
  std::vector<float> xs, ys;
  for (int i = 0; i < count; ++i) {
    const int value = chart.values[static_cast<size_t>(i)];
    xs.push_back(area.left + step * (static_cast<float>(i) + 0.5f));
    ys.push_back(area.bottom - (area.bottom - area.top) * static_cast<float>(value) / static_cast<float>(chart.top));
  }
  if (chart.bars) {
    for (size_t i = 0; i < xs.size(); ++i) {
      writer.canvas.set_color(
          chart.colors[i] == chart.colors[0] ? line_color : shape_color(random, chart.colors[i], ground, difficulty));
      cairo_rectangle(cr, xs[i] - half, ys[i], 2 * half, area.bottom - ys[i]);
      cairo_fill(cr);
    }
  } else {
    writer.canvas.set_color(line_color);
    for (size_t i = 0; i < xs.size(); ++i)
      cairo_line_to(cr, xs[i], ys[i]);
    cairo_set_line_width(cr, random.uniform(1.5f, 3));
    cairo_stroke(cr);
    for (size_t i = 0; i < xs.size(); ++i) {
      cairo_arc(cr, xs[i], ys[i], 3, 0, 6.2832);
      cairo_fill(cr);
    }
  }
  writer.canvas.set_color(ink);
  for (size_t i = 0; i < xs.size(); ++i) {
    writer.write(chart.names[i], xs[i], area.bottom + 0.65f * writer.em);
    if (chart.written)
      writer.write(std::to_string(chart.values[i]), xs[i], ys[i] - 0.6f * writer.em - (chart.bars ? 0 : 2));
  }
}

void add_bar_turns(Random& random, const Chart& chart, size_t largest, size_t smallest, std::vector<Turn>& turns) {
  const bool ask_large = random.chance(0.6f);
  const std::string& answer = chart.names[ask_large ? largest : smallest];
  turns.push_back({ask_large ? say(random, {"Which bar is the largest?", "Which bar is the highest?"})
                             : say(random, {"Which bar is the smallest?", "Which bar is the lowest?"}),
                   answer});
  turns.push_back({say(random, {"How many bars are there?", "Count the bars."}), std::to_string(chart.values.size())});
  const auto at = static_cast<size_t>(random.below(static_cast<int>(chart.values.size())));
  turns.push_back({fmt::format("What color is bar {}?", chart.names[at]), color_name(chart.colors[at])});
}

void add_line_turns(Random& random, const Chart& chart, size_t largest, size_t smallest, std::vector<Turn>& turns) {
  const bool rises = std::is_sorted(chart.values.begin(), chart.values.end());
  const bool falls = std::is_sorted(chart.values.rbegin(), chart.values.rend());
  if (rises || falls) {
    turns.push_back({say(random, {"Is the trend up or down?", "What is the trend?", "Does the line go up or down?"}),
                     rises ? "up" : "down"});
  }
  const bool ask_large = random.chance(0.6f);
  turns.push_back({ask_large ? "Where is the line highest?" : "Where is the line lowest?",
                   chart.names[ask_large ? largest : smallest]});
}

std::vector<Turn> chart_turns(Random& random, const Chart& chart, bool many) {
  const auto begin = chart.values.begin(), end = chart.values.end();
  const auto largest = static_cast<size_t>(std::max_element(begin, end) - begin);
  const auto smallest = static_cast<size_t>(std::min_element(begin, end) - begin);
  std::vector<Turn> turns;
  const auto at = static_cast<size_t>(random.below(static_cast<int>(chart.values.size())));
  turns.push_back({say(random, {fmt::format("What is the value of {}?", chart.names[at]),
                                fmt::format("Which value has {}?", chart.names[at]),
                                fmt::format("Read the value of {}.", chart.names[at])}),
                   std::to_string(chart.values[at])});
  for (size_t i = 0; many && i < chart.values.size(); ++i) {
    if (i != at)
      turns.push_back({fmt::format("What is the value of {}?", chart.names[i]), std::to_string(chart.values[i])});
  }
  turns.push_back({say(random, {"What is the largest value?", "What is the highest value?"}),
                   std::to_string(chart.values[largest])});
  if (chart.bars) {
    add_bar_turns(random, chart, largest, smallest, turns);
  } else {
    add_line_turns(random, chart, largest, smallest, turns);
    turns.push_back({"Is it a bar chart or a line chart?", "line chart"});
  }
  if (chart.bars && random.chance(0.3f)) turns.push_back({"Is it a bar chart or a line chart?", "bar chart"});
  return turns;
}

}  // namespace

Scene draw_chart(Random& random, const TaskInput& input) {
  const float d = input.difficulty();
  Ground ground;
  do {
    ground = choose_ground(random, 0.6f * d);
  } while (ground.style.paper_kind == Style::Paper::kTexture);
  const Color ink = contrast(ground.style.paper, {0, 0, 0}) > 6 ? Color{0.1f, 0.1f, 0.1f} : Color{0.95f, 0.95f, 0.95f};
  const Chart chart = choose_chart(random, ground, d);
  const PictureSize size = choose_size(random, random.uniform(1.0f, 1.6f), 0, input.options.large);
  const Canvas canvas(size.width, size.height);
  canvas.paint_paper(ground.style);
  Picture picture;
  const float scale = std::sqrt(static_cast<float>(size.width * size.height)) / kSide;
  const float em = scale * random.uniform(13, 17);
  const Writer writer{canvas, choose_face(random, input.split, 0.5f * d), em, size.enlargement(), picture.boxes};
  choose_hinting(canvas.cr(), random, d);
  const auto width = static_cast<float>(size.width), height = static_cast<float>(size.height);
  const Area area{chart.written ? 8.0f : 1.4f * em + 8, chart.written ? 1.3f * em + 4 : 0.6f * em + 2, width - 4,
                  height - 1.3f * em};
  draw_axes(writer, chart, area, ink, random.chance(0.5f));
  draw_marks(random, writer, chart, area, ground, ink, d);
  picture.image = canvas.finish(random, ground.style);
  Scene scene;
  scene.pictures.push_back(std::move(picture));
  scene.turns = choose_turns(random, chart_turns(random, chart, input.many_turns()), input.turns(random.between(1, 3)));
  return scene;
}

}  // namespace minicpm::pico

// Several lines of text: within one slice, and pages that go through slices.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "pico/scene.h"
#include "pico/text_draw.h"
#include "pico/words.h"

namespace minicpm::pico {
namespace {

constexpr std::string_view kOrdinals[] = {"first", "second", "third"};

struct PageLayout {
  int width, height;
  int lines;
  int min_letters, max_letters;
  float enlargement;
  bool mixed;  // fonts, sizes and places differ between the lines
};

struct Page {
  Picture picture;
  std::vector<std::string> lines;
};

/// Draws lines from top to bottom, each as large as its words allow.
Page draw_page_of_lines(Random& random, const TaskInput& input, const PageLayout& layout) {
  const float d = input.difficulty();
  Style style = text_style(random, d);
  style.rotation *= 0.4f;  // long lines leave the picture soon
  const Canvas canvas(layout.width, layout.height);
  cairo_t* cr = canvas.cr();
  canvas.paint_paper(style);
  const auto width = static_cast<float>(layout.width), height = static_cast<float>(layout.height);
  cairo_translate(cr, 0.5f * width, 0.5f * height);
  cairo_rotate(cr, style.rotation);
  const float slope = std::abs(std::sin(style.rotation));
  const float inner_width = 0.96f * width - slope * height, inner_height = 0.96f * height - slope * width;
  cairo_translate(cr, -0.5f * inner_width, -0.5f * inner_height);
  choose_hinting(cr, random, d);
  canvas.set_color(style.ink);

  Page page;
  Face face = choose_face(random, input.split, d);
  const float pitch = inner_height / static_cast<float>(layout.lines);
  const float indent = random.chance(0.5f) ? 0.0f : random.uniform(0, 0.1f) * inner_width;
  const float common_em = pitch * random.uniform(0.62f, 0.85f);
  for (int i = 0; i < layout.lines; ++i) {
    if (layout.mixed && random.chance(0.5f)) face = choose_face(random, input.split, d);
    const float em = layout.mixed ? pitch * random.uniform(0.62f, 0.88f) : common_em;
    // About 0.55 em per letter.
    const int room = std::max(2, static_cast<int>((inner_width - indent) / (0.55f * em) * random.uniform(0.6f, 1.0f)));
    page.lines.push_back(
        make_text(random, room, std::min(layout.min_letters, room), std::min(layout.max_letters, room)));
    const TextLine line(face, page.lines.back());
    const float left = layout.mixed ? random.uniform(0, 0.15f) * inner_width : indent;
    const float size = std::min({em, (inner_width - left) / line.width(), 0.94f * pitch / line.height()});
    const float slack = inner_width - size * line.width();
    const float x = std::min(left, std::max(slack, 0.0f)) - size * line.left();
    // Letters reach from about 0.75 em above the baseline to 0.22 em below.
    const float middle = pitch * (static_cast<float>(i) + 0.5f);
    const float y = std::clamp(middle + 0.26f * size, middle - 0.5f * pitch - size * line.top(),
                               middle + 0.5f * pitch - size * line.bottom());
    line.draw(cr, x, y, size);
    line.append_boxes(cr, x, y, size, layout.enlargement, page.picture.boxes);
  }
  page.picture.image = canvas.finish(random, style);
  return page;
}

std::vector<Turn> page_turns(Random& random, const std::vector<std::string>& lines, bool many) {
  constexpr std::string_view kReadAll[] = {"Read all lines.", "Read the text.", "What is written here?",
                                           "What does it say?"};
  std::string all;
  for (const std::string& line : lines)
    all += (all.empty() ? "" : "\n") + line;
  const auto count = static_cast<int>(lines.size());
  const int at = random.below(count);
  const std::string& line = lines[static_cast<size_t>(at)];
  std::vector<std::string> asks = {fmt::format("Read line {}.", at + 1), fmt::format("What does line {} say?", at + 1)};
  if (at < 3) asks.push_back(fmt::format("Read the {} line.", kOrdinals[at]));
  if (at == count - 1) asks.push_back("Read the last line.");
  std::vector<Turn> turns = {{std::string(random.pick(kReadAll)), all}, {random.pick(asks), line}};
  if (random.chance(0.3f)) turns.push_back({"How many lines are there?", std::to_string(count)});
  for (int i = 0; many && i < count; ++i) {
    if (i != at) turns.push_back({fmt::format("Read line {}.", i + 1), lines[static_cast<size_t>(i)]});
  }
  return turns;
}

Scene page_scene(Random& random, const TaskInput& input, Page page, int turns) {
  Scene scene;
  scene.turns = choose_turns(random, page_turns(random, page.lines, input.many_turns()), input.turns(turns));
  scene.pictures.push_back(std::move(page.picture));
  return scene;
}

}  // namespace

Scene draw_lines(Random& random, const TaskInput& input) {
  const float d = input.difficulty();
  const PictureSize size = choose_size(random, random.uniform(0.8f, 1.8f), d, 0);
  const int most = std::clamp(size.height / 24, 2, 6);
  const PageLayout layout{size.width, size.height,        random.between(2, most), 2,
                          7,          size.enlargement(), random.chance(0.6f * d)};
  return page_scene(random, input, draw_page_of_lines(random, input, layout), random.between(1, 2));
}

Scene draw_page(Random& random, const TaskInput& input) {
  int width = random.between(420, 504), height = random.between(420, 504), lines = random.between(3, 8);
  if (random.chance(0.3f)) {  // other shapes of pages, from banners to columns
    const float area = random.uniform(1.2f, 8.8f) * static_cast<float>(kSlicePixels);
    const float aspect = random.uniform(0.6f, 3.0f);
    width = static_cast<int>(std::sqrt(area * aspect));
    height = static_cast<int>(std::sqrt(area / aspect));
    lines = std::clamp(height / random.between(45, 90), 1, 8);
  }
  const PageLayout layout{width,
                          height,
                          lines,
                          input.options.min_letters,
                          input.options.max_letters,
                          1,
                          random.chance(0.3f * input.difficulty())};
  return page_scene(random, input, draw_page_of_lines(random, input, layout), 1);
}

}  // namespace minicpm::pico

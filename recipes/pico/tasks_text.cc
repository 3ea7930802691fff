// One word, number or group of letters in a picture.
#include <algorithm>
#include <cmath>

#include "pico/scene.h"
#include "pico/text_draw.h"
#include "pico/text_picture.h"
#include "pico/words.h"

namespace minicpm::pico {
namespace {

/// Width and height of a box turned by `angle`.
struct Extent {
  float width, height;
};
Extent turned(float width, float height, float angle) {
  const float c = std::abs(std::cos(angle)), s = std::abs(std::sin(angle));
  return {width * c + height * s, width * s + height * c};
}

/// A panel behind the text on another background, as on signs and labels.
void paint_sign(Canvas& canvas, Random& random, const Style& style, float x, float y, float width, float height) {
  Style wall = style;
  wall.paper = random_color(random);
  wall.paper2 = random_color(random);
  wall.texture = random.next();
  wall.paper_kind = random.chance(0.5f) ? Style::Paper::kTexture : Style::Paper::kFlat;
  cairo_save(canvas.cr());
  cairo_identity_matrix(canvas.cr());
  canvas.paint_paper(wall);
  cairo_restore(canvas.cr());
  const float pad = height * random.uniform(0.15f, 0.4f);
  cairo_rectangle(canvas.cr(), x - pad, y - pad, width + 2 * pad, height + 2 * pad);
  canvas.set_color(style.paper);
  if (random.chance(0.4f)) {
    cairo_fill_preserve(canvas.cr());
    canvas.set_color(style.ink);
    cairo_set_line_width(canvas.cr(), random.uniform(1, 3));
    cairo_stroke(canvas.cr());
  } else {
    cairo_fill(canvas.cr());
  }
}

}  // namespace

Picture draw_text_picture(Random& random, const TaskInput& input, const std::string& text, Fill fill) {
  const float d = input.difficulty();
  const Face face = choose_face(random, input.split, d);
  const float tracking = random.chance(0.15f * d) ? random.uniform(-0.02f, 0.15f) : 0.0f;
  const TextLine line(face, text, tracking);
  const Style style = text_style(random, d);
  const float natural = line.width() / std::max(line.height(), 0.7f);
  const float aspect = std::clamp(natural * random.uniform(0.5f, 1.05f), 1.0f, 6.0f);
  const PictureSize size = choose_size(random, aspect, d, input.options.large);
  Canvas canvas(size.width, size.height);
  const auto width = static_cast<float>(size.width), height = static_cast<float>(size.height);

  const Extent unit = turned(line.width(), line.height(), style.rotation);
  const float largest = std::min(0.96f * width / unit.width, 0.92f * height / unit.height);
  // Letters below 11 pixels per em could not be read.
  const float em = std::max(std::min(largest, 11.0f), largest * random.uniform(fill.least, fill.most));
  const Extent extent = turned(em * line.width(), em * line.height(), style.rotation);
  constexpr float kMargin = 2;  // pixels that hinting and rounding may need
  const float cx = 0.5f * width + std::max(width - extent.width - 2 * kMargin, 0.0f) * random.uniform(-0.5f, 0.5f);
  const float cy = 0.5f * height + std::max(height - extent.height - 2 * kMargin, 0.0f) * random.uniform(-0.5f, 0.5f);
  const float x = -0.5f * em * line.width(), y = -0.5f * em * line.height();

  canvas.paint_paper(style);
  cairo_t* cr = canvas.cr();
  cairo_translate(cr, cx, cy);
  cairo_rotate(cr, style.rotation);
  if (random.chance(0.15f * d)) paint_sign(canvas, random, style, x, y, em * line.width(), em * line.height());
  choose_hinting(cr, random, d);
  canvas.set_color(style.ink);
  Picture picture;
  line.draw(cr, x - em * line.left(), y - em * line.top(), em);
  line.append_boxes(cr, x - em * line.left(), y - em * line.top(), em, size.enlargement(), picture.boxes);
  if (random.chance(0.06f * d)) {  // underlined
    cairo_rectangle(cr, x, y + em * (line.height() + 0.06f), em * line.width(), std::max(1.0f, 0.05f * em));
    cairo_fill(cr);
  }
  picture.image = canvas.finish(random, style);
  return picture;
}

namespace {

constexpr std::string_view kReadText[] = {"What does it say?", "Read the text.", "What is written here?",
                                          "What text do you see?"};
constexpr std::string_view kReadWord[] = {"What does it say?", "Read the text.", "Read the word.",
                                          "What is written here?", "Which word is this?"};
constexpr std::string_view kReadNumber[] = {"What does it say?", "Read the number.", "What number is this?",
                                            "Which number do you see?"};

Scene read_scene(Picture picture, std::string_view question, std::string answer) {
  Scene scene;
  scene.pictures.push_back(std::move(picture));
  scene.turns.push_back({std::string(question), std::move(answer)});
  return scene;
}

}  // namespace

Scene draw_letters(Random& random, const TaskInput& input) {
  const int length = random.between(1, 3);
  std::string text;
  if (length == 1) {
    // Only forms that stand for one character: "c" could be "C", "l" could be "I".
    constexpr std::string_view kClear = "abdefghijkmnqrtyABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    text = kClear[static_cast<size_t>(random.below(static_cast<int>(kClear.size())))];
  } else {
    text = random.chance(0.25f) ? make_number(random, length, length) : make_word(random, length, length);
  }
  return read_scene(draw_text_picture(random, input, text, {0.55f, 0.95f}), random.pick(kReadText), text);
}

Scene draw_word(Random& random, const TaskInput& input) {
  const std::string text = make_word(random, input.options.min_letters, input.options.max_letters);
  const Fill fill{0.95f - 0.4f * input.difficulty(), 1.0f};
  return read_scene(draw_text_picture(random, input, text, fill), random.pick(kReadWord), text);
}

Scene draw_digits(Random& random, const TaskInput& input) {
  const std::string text = make_number(random, input.options.min_letters, input.options.max_letters);
  const Fill fill{0.95f - 0.4f * input.difficulty(), 1.0f};
  return read_scene(draw_text_picture(random, input, text, fill), random.pick(kReadNumber), text);
}

}  // namespace minicpm::pico

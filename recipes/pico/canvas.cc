#include "pico/canvas.h"

#include <algorithm>
#include <cmath>

#include "pico/faults.h"

namespace minicpm::pico {
namespace {

float linear(float value) {
  return value <= 0.04045f ? value / 12.92f : std::pow((value + 0.055f) / 1.055f, 2.4f);
}

float luminance(Color c) {
  return 0.2126f * linear(c.r) + 0.7152f * linear(c.g) + 0.0722f * linear(c.b);
}

constexpr float kLeastContrast = 2.6f;  // of free colour pairs: still easily read
constexpr float kDegree = 3.14159265f / 180;

}  // namespace

Color random_color(Random& random) {
  const float how = random.uniform();
  if (how < 0.15f) {
    const float gray = random.uniform();
    return {gray, gray, gray};
  }
  Color color{random.uniform(), random.uniform(), random.uniform()};
  if (how < 0.45f) {  // saturated: stretch to the whole range
    const float low = std::min({color.r, color.g, color.b}), high = std::max({color.r, color.g, color.b});
    const float scale = 1 / std::max(high - low, 0.01f);
    color = {(color.r - low) * scale, (color.g - low) * scale, (color.b - low) * scale};
  }
  return color;
}

Color blend(Color a, Color b, float share_of_b) {
  const float share_of_a = 1 - share_of_b;
  return {share_of_a * a.r + share_of_b * b.r, share_of_a * a.g + share_of_b * b.g,
          share_of_a * a.b + share_of_b * b.b};
}

float contrast(Color a, Color b) {
  const float la = luminance(a) + 0.05f, lb = luminance(b) + 0.05f;
  return std::max(la, lb) / std::min(la, lb);
}

float distance(Color a, Color b) {
  const float r = a.r - b.r, g = a.g - b.g, d = a.b - b.b;
  return std::sqrt(r * r + g * g + d * d);
}

void choose_faults(Random& random, float difficulty, Style& style) {
  if (random.chance(0.4f * difficulty)) style.noise = random.uniform(2, 4 + 16 * difficulty);
  if (random.chance(0.25f * difficulty)) style.blur = random.uniform(0.35f, 0.4f + 0.6f * difficulty);
  if (random.chance(0.4f * difficulty)) style.jpeg = random.between(30, 90);
}

Style text_style(Random& random, float difficulty) {
  Style style;
  const float d = difficulty;
  if (random.chance(0.8f * d)) {
    do {
      style.paper = random_color(random);
      style.ink = random_color(random);
    } while (contrast(style.paper, style.ink) < kLeastContrast);
  } else {
    style.paper = blend({1, 1, 1}, random_color(random), random.uniform(0, 0.2f * d));
    const float gray = random.uniform(0, 0.2f);
    style.ink = blend({gray, gray, gray}, random_color(random), random.uniform(0, 0.3f * d));
  }
  style.paper2 = style.paper;
  if (random.chance(0.35f * d)) {
    const bool texture = random.chance(0.4f);
    for (int tries = 0; tries < 8; ++tries) {
      const Color other = blend(style.paper, random_color(random), random.uniform(0.2f, 0.9f));
      if (contrast(other, style.ink) < kLeastContrast) continue;
      if (contrast(blend(style.paper, other, 0.5f), style.ink) < kLeastContrast) continue;
      style.paper2 = other;
      style.paper_kind = texture ? Style::Paper::kTexture : Style::Paper::kGradient;
      break;
    }
  }
  style.texture = random.next();
  style.angle = random.uniform(0, 6.283f);
  if (random.chance(0.35f * d)) style.rotation = random.uniform(-6 * kDegree, 6 * kDegree);
  choose_faults(random, d, style);
  if (contrast(style.paper, style.ink) < 4) {  // weak contrast and strong faults together cannot be read
    style.noise = std::min(style.noise, 9.0f);
    style.blur = std::min(style.blur, 0.6f);
  }
  return style;
}

Canvas::Canvas(int width, int height)
    : width_(width),
      height_(height),
      surface_(cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height)),
      cr_(cairo_create(surface_.get())) {}

void Canvas::set_color(Color color) const {
  cairo_set_source_rgb(cr(), color.r, color.g, color.b);
}

void Canvas::fill(Color color) const {
  set_color(color);
  cairo_paint(cr());
}

void Canvas::paint_paper(const Style& style) const {
  if (style.paper_kind == Style::Paper::kFlat) return fill(style.paper);
  if (style.paper_kind == Style::Paper::kTexture) return paint_texture(style);
  const float cx = 0.5f * static_cast<float>(width_), cy = 0.5f * static_cast<float>(height_);
  const float dx = cx * std::cos(style.angle), dy = cy * std::sin(style.angle);
  const std::unique_ptr<cairo_pattern_t, Destroy> pattern(
      cairo_pattern_create_linear(cx - dx, cy - dy, cx + dx, cy + dy));
  cairo_pattern_add_color_stop_rgb(pattern.get(), 0, style.paper.r, style.paper.g, style.paper.b);
  cairo_pattern_add_color_stop_rgb(pattern.get(), 1, style.paper2.r, style.paper2.g, style.paper2.b);
  cairo_set_source(cr(), pattern.get());
  cairo_paint(cr());
}

/// Soft blotches between the two paper colours: a few random cells, enlarged.
void Canvas::paint_texture(const Style& style) const {
  Random random(style.texture);
  const bool fine = random.chance(0.25f);
  const int cols = fine ? random.between(12, 40) : random.between(3, 9);
  const int rows = fine ? random.between(12, 30) : random.between(3, 7);
  const std::unique_ptr<cairo_surface_t, Destroy> cells(cairo_image_surface_create(CAIRO_FORMAT_RGB24, cols, rows));
  cairo_surface_flush(cells.get());
  unsigned char* data = cairo_image_surface_get_data(cells.get());
  const int stride = cairo_image_surface_get_stride(cells.get());
  for (int y = 0; y < rows; ++y) {
    auto* row = reinterpret_cast<uint32_t*>(data + static_cast<ptrdiff_t>(y) * stride);
    for (int x = 0; x < cols; ++x) {
      const Color c = blend(style.paper, style.paper2, random.uniform());
      row[x] = static_cast<uint32_t>(255 * c.r) << 16 | static_cast<uint32_t>(255 * c.g) << 8 |
               static_cast<uint32_t>(255 * c.b);
    }
  }
  cairo_surface_mark_dirty(cells.get());
  cairo_save(cr());
  cairo_scale(cr(), static_cast<double>(width_) / cols, static_cast<double>(height_) / rows);
  cairo_set_source_surface(cr(), cells.get(), 0, 0);
  cairo_pattern_set_filter(cairo_get_source(cr()), CAIRO_FILTER_BILINEAR);
  cairo_pattern_set_extend(cairo_get_source(cr()), CAIRO_EXTEND_PAD);
  cairo_paint(cr());
  cairo_restore(cr());
  if (random.chance(0.5f)) paint_clutter(random, style);
}

/// Edges, as photographs have: patches of colours between the two of the paper.
void Canvas::paint_clutter(Random& random, const Style& style) const {
  const auto width = static_cast<float>(width_), height = static_cast<float>(height_);
  for (int i = random.between(4, 14); i > 0; --i) {
    const Color color = blend(style.paper, style.paper2, random.uniform());
    cairo_save(cr());
    cairo_translate(cr(), random.uniform() * width, random.uniform() * height);
    cairo_rotate(cr(), random.uniform(0, 3.1416f));
    cairo_scale(cr(), width * random.uniform(0.02f, 0.4f), height * random.uniform(0.05f, 0.6f));
    if (random.chance(0.3f)) {
      cairo_arc(cr(), 0, 0, 1, 0, 6.2832);
    } else {
      cairo_rectangle(cr(), -1, -1, 2, 2);
    }
    cairo_set_source_rgba(cr(), color.r, color.g, color.b, random.uniform(0.3f, 0.9f));
    cairo_fill(cr());
    cairo_restore(cr());
  }
}

Image Canvas::finish(Random& random, const Style& style) const {
  cairo_surface_flush(surface_.get());
  Image image{width_, height_, std::vector<uint8_t>(static_cast<size_t>(width_) * height_ * 3)};
  const unsigned char* data = cairo_image_surface_get_data(surface_.get());
  const int stride = cairo_image_surface_get_stride(surface_.get());
  uint8_t* out = image.rgb.data();
  for (int y = 0; y < height_; ++y) {
    const auto* row = reinterpret_cast<const uint32_t*>(data + static_cast<ptrdiff_t>(y) * stride);
    for (int x = 0; x < width_; ++x, out += 3) {
      out[0] = static_cast<uint8_t>(row[x] >> 16);
      out[1] = static_cast<uint8_t>(row[x] >> 8);
      out[2] = static_cast<uint8_t>(row[x]);
    }
  }
  if (style.blur > 0) blur(image, style.blur);
  if (style.noise > 0) add_noise(image, style.noise, random);
  if (style.jpeg > 0) pass_jpeg(image, style.jpeg);
  return image;
}

float PictureSize::enlargement() const {
  return std::max(0.8f, std::sqrt(static_cast<float>(kSlicePixels) / static_cast<float>(width * height)));
}

PictureSize choose_size(Random& random, float aspect, float difficulty, float large) {
  float scale = random.chance(0.4f + 0.4f * (1 - difficulty)) ? 1.0f : random.uniform(0.7f, 1.0f);
  if (large > 0 && random.chance(large)) scale = random.uniform(1.05f, 2.0f);
  const float side = scale * static_cast<float>(kSide), root = std::sqrt(aspect);
  return {std::max(16, static_cast<int>(side * root)), std::max(16, static_cast<int>(side / root))};
}

}  // namespace minicpm::pico

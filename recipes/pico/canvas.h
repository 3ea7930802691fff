// A picture being drawn: surface, backgrounds, and what cameras and files do to pictures.
#pragma once

#include <cairo.h>

#include <memory>

#include "media/image.h"
#include "pico/random.h"

namespace minicpm::pico {

/// One slice of the model: a picture of at most that many pixels is not cut.
inline constexpr int kSide = 168;
inline constexpr int kSlicePixels = kSide * kSide;

/// sRGB, 0 .. 1
struct Color {
  float r = 0, g = 0, b = 0;
};

Color random_color(Random& random);
Color blend(Color a, Color b, float share_of_b);
/// Contrast ratio of WCAG, 1 .. 21.
float contrast(Color a, Color b);
/// Euclidean distance in sRGB, 0 .. 1.73.
float distance(Color a, Color b);

/// Background, ink and faults of one picture.
struct Style {
  enum class Paper { kFlat, kGradient, kTexture };
  Paper paper_kind = Paper::kFlat;
  uint64_t texture = 0;  // which one: the frames of a video share it
  Color paper, paper2, ink;
  float angle = 0;     // of the gradient, radians
  float rotation = 0;  // of the content, radians
  float noise = 0;     // standard deviation, levels of 255
  float blur = 0;      // sigma, pixels
  int jpeg = 0;        // quality, 0: none
};

/// Colours for text: dark on white at difficulty 0, any pair with enough contrast towards 1.
Style text_style(Random& random, float difficulty);
/// Only the faults: noise, blur, JPEG. `style` keeps its colours.
void choose_faults(Random& random, float difficulty, Style& style);

class Canvas {
 public:
  Canvas(int width, int height);
  cairo_t* cr() const { return cr_.get(); }
  int width() const { return width_; }
  int height() const { return height_; }
  void set_color(Color color) const;
  void fill(Color color) const;
  /// Fills everything with the style's paper.
  void paint_paper(const Style& style) const;
  /// The pixels, with the style's faults applied.
  Image finish(Random& random, const Style& style) const;

 private:
  struct Destroy {
    void operator()(cairo_surface_t* surface) const { cairo_surface_destroy(surface); }
    void operator()(cairo_t* cr) const { cairo_destroy(cr); }
    void operator()(cairo_pattern_t* pattern) const { cairo_pattern_destroy(pattern); }
  };
  void paint_texture(const Style& style) const;
  void paint_clutter(Random& random, const Style& style) const;

  int width_, height_;
  std::unique_ptr<cairo_surface_t, Destroy> surface_;
  std::unique_ptr<cairo_t, Destroy> cr_;
};

/// A size with width / height near `aspect` and at most kSlicePixels pixels; smaller ones at higher difficulty. With
/// probability `large` up to four times as many pixels instead.
struct PictureSize {
  int width, height;
  float enlargement() const;  // factor of the processor's resize to about kSlicePixels; near 1 in slices
};
PictureSize choose_size(Random& random, float aspect, float difficulty, float large);

}  // namespace minicpm::pico

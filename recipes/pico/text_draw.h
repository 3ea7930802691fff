// Lines of text: shaped by Pango, drawn by Cairo, with the box of each character.
#pragma once

#include <cairo.h>

#include <string>
#include <string_view>
#include <vector>

#include "pico/canvas.h"
#include "pico/generator.h"
#include "pico/random.h"

namespace minicpm::pico {

/// A family in a weight and a slant.
struct Face {
  int family = 0;  // index into font_families()
  bool bold = false, italic = false;
};

struct FontFamily {
  std::string_view name;
  bool plain;     // used at difficulty 0
  bool held_out;  // of the test split alone
};

/// The families that the generator knows.
std::span<const FontFamily> font_families();

/// Plain upright faces at difficulty 0, all of the split towards 1. Half of the test split's faces are held out.
/// Throws Error not_found naming the packages when fewer than eight of the families are installed.
Face choose_face(Random& random, Split split, float difficulty);

/// A line of text in units of the font size (1: one em), baseline at y = 0, pen starting at x = 0.
class TextLine {
 public:
  TextLine(const Face& face, std::string_view text, float tracking = 0);

  /// Ink box, in em.
  float left() const { return left_; }
  float right() const { return right_; }
  float top() const { return top_; }
  float bottom() const { return bottom_; }
  float width() const { return right_ - left_; }
  float height() const { return bottom_ - top_; }

  /// Draws with the baseline's start at (x, y) in the present transformation; `size` is the em in its units.
  void draw(cairo_t* cr, float x, float y, float size) const;

  /// Boxes of the labelled characters in device pixels for the same arguments. `enlargement` is the factor by which the
  /// picture will be resized: narrow and flat characters get boxes that still cover a cell of the model.
  void append_boxes(cairo_t* cr, float x, float y, float size, float enlargement, std::vector<LabelBox>& boxes) const;

 private:
  struct Glyph {
    unsigned long index;
    float x, y;                      // origin
    float left, top, right, bottom;  // ink, relative to the line's origin
    char character;
  };
  cairo_font_face_t* font_ = nullptr;  // kept by the thread's cache
  cairo_matrix_t matrix_;              // of the font at one em
  std::vector<Glyph> glyphs_;
  float left_ = 0, right_ = 0, top_ = 0, bottom_ = 0;
};

/// Hinting of what is drawn next: none, slight or full; gray or, rarely, coloured edges.
void choose_hinting(cairo_t* cr, Random& random, float difficulty);

}  // namespace minicpm::pico

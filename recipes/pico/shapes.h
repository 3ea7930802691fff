// Coloured shapes on a background.
#pragma once

#include <string>
#include <vector>

#include "pico/canvas.h"
#include "pico/labels.h"
#include "pico/scene.h"

namespace minicpm::pico {

struct Shape {
  Kind kind = Kind::kCircle;
  int color = 0;  // index into kColorNames
  Color rgb;
  float x = 0, y = 0, radius = 0;  // centre and half extent, pixels
  float angle = 0;                 // radians, small: a turned square is no diamond

  bool same_look(const Shape& other) const { return kind == other.kind && color == other.color; }
  std::string name() const;          // "red circle"
  std::string with_article() const;  // "a red circle", "an orange star"
};

std::string color_name(int color);
std::string kind_name(Kind kind);
std::string kind_plural(Kind kind);

/// Background of a shapes picture.
struct Ground {
  Style style;
  int color = -1;  // index into kColorNames; -1: none that could be named
};
Ground choose_ground(Random& random, float difficulty);

/// A look that differs enough from the ground. Place and size stay zero.
Shape random_look(Random& random, const Ground& ground, float difficulty);
/// A colour of that name; differs enough from the ground if any try does.
Color shape_color(Random& random, int color, const Ground& ground, float difficulty);
Kind random_kind(Random& random);

/// The names of all from left to right: "red star, blue ring, red star".
std::string list_of(std::vector<Shape> shapes);

/// Places shapes with these radii without overlap; halves of the gap are `margin`. Shrinks them all when they do not
/// fit.
void place_shapes(Random& random, float width, float height, float margin, std::vector<Shape>& shapes);

void draw_shape(const Canvas& canvas, const Shape& shape, bool outlined);
LabelBox shape_box(const Shape& shape);

/// Draws all shapes on their ground.
Picture draw_shapes(Random& random, const Ground& ground, const std::vector<Shape>& shapes, PictureSize size,
                    float difficulty);

}  // namespace minicpm::pico

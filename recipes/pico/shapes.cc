#include "pico/shapes.h"

#include <algorithm>
#include <cmath>

namespace minicpm::pico {
namespace {

constexpr float kPi = 3.14159265f;
constexpr float kLeastDistance = 0.32f;  // of sRGB between a shape and its ground

/// Two ends of what a colour name covers.
struct Tint {
  Color first, second;
};
constexpr Tint kTints[kColors] = {
    {{0.86f, 0.12f, 0.14f}, {1.00f, 0.00f, 0.00f}},  // red
    {{1.00f, 0.50f, 0.05f}, {1.00f, 0.65f, 0.00f}},  // orange
    {{0.98f, 0.86f, 0.10f}, {1.00f, 1.00f, 0.00f}},  // yellow
    {{0.15f, 0.65f, 0.25f}, {0.00f, 0.50f, 0.00f}},  // green
    {{0.10f, 0.30f, 0.85f}, {0.00f, 0.00f, 1.00f}},  // blue
    {{0.50f, 0.15f, 0.65f}, {0.50f, 0.00f, 0.50f}},  // purple
    {{1.00f, 0.50f, 0.75f}, {1.00f, 0.72f, 0.79f}},  // pink
    {{0.50f, 0.28f, 0.12f}, {0.60f, 0.30f, 0.15f}},  // brown
    {{0.10f, 0.10f, 0.10f}, {0.00f, 0.00f, 0.00f}},  // black
    {{0.95f, 0.95f, 0.95f}, {1.00f, 1.00f, 1.00f}},  // white
    {{0.45f, 0.45f, 0.45f}, {0.65f, 0.65f, 0.65f}},  // gray
    {{0.15f, 0.78f, 0.88f}, {0.00f, 1.00f, 1.00f}},  // cyan
};
constexpr int kWhite = 9, kGray = 10, kBlack = 8;

float jitter(Random& random, float value, float amount) {
  return std::clamp(value + random.uniform(-amount, amount), 0.0f, 1.0f);
}

Color tint(Random& random, int color, float difficulty) {
  const Tint& ends = kTints[color];
  const Color c = blend(ends.first, ends.second, random.uniform() * std::min(1.0f, 0.3f + difficulty));
  const float amount = 0.05f * difficulty;
  if (color == kWhite || color == kGray || color == kBlack) {
    const float gray = jitter(random, c.r, amount);
    return {gray, gray, gray};
  }
  return {jitter(random, c.r, amount), jitter(random, c.g, amount), jitter(random, c.b, amount)};
}

void polygon(cairo_t* cr, int corners, float outer, float inner, float start) {
  for (int i = 0; i < corners; ++i) {
    const float radius = i % 2 == 0 ? outer : inner;
    const float angle = start + 2 * kPi * static_cast<float>(i) / static_cast<float>(corners);
    cairo_line_to(cr, radius * std::cos(angle), radius * std::sin(angle));
  }
  cairo_close_path(cr);
}

void cross(cairo_t* cr, float r) {
  const float arm = 0.34f * r;
  const float points[][2] = {{-arm, -r}, {arm, -r}, {arm, -arm}, {r, -arm}, {r, arm},   {arm, arm},
                             {arm, r},   {-arm, r}, {-arm, arm}, {-r, arm}, {-r, -arm}, {-arm, -arm}};
  for (const auto& point : points)
    cairo_line_to(cr, point[0], point[1]);
  cairo_close_path(cr);
}

void heart(cairo_t* cr, float r) {
  cairo_move_to(cr, 0, 0.95f * r);
  cairo_curve_to(cr, -0.5f * r, 0.45f * r, -1.05f * r, 0.1f * r, -r, -0.35f * r);
  cairo_curve_to(cr, -0.95f * r, -0.95f * r, -0.2f * r, -1.0f * r, 0, -0.4f * r);
  cairo_curve_to(cr, 0.2f * r, -1.0f * r, 0.95f * r, -0.95f * r, r, -0.35f * r);
  cairo_curve_to(cr, 1.05f * r, 0.1f * r, 0.5f * r, 0.45f * r, 0, 0.95f * r);
  cairo_close_path(cr);
}

void outline(cairo_t* cr, Kind kind, float r) {
  switch (kind) {
    case Kind::kCircle:
      cairo_arc(cr, 0, 0, r, 0, 2 * kPi);
      break;
    case Kind::kRing:
      cairo_arc(cr, 0, 0, r, 0, 2 * kPi);
      cairo_new_sub_path(cr);
      cairo_arc_negative(cr, 0, 0, 0.55f * r, 2 * kPi, 0);
      break;
    case Kind::kSquare:
      cairo_rectangle(cr, -0.86f * r, -0.86f * r, 1.72f * r, 1.72f * r);
      break;
    case Kind::kTriangle:
      polygon(cr, 3, 1.08f * r, 1.08f * r, -0.5f * kPi);
      break;
    case Kind::kDiamond:
      cairo_move_to(cr, 0, -r);
      cairo_line_to(cr, 0.75f * r, 0);
      cairo_line_to(cr, 0, r);
      cairo_line_to(cr, -0.75f * r, 0);
      cairo_close_path(cr);
      break;
    case Kind::kStar:
      polygon(cr, 10, 1.05f * r, 0.43f * r, -0.5f * kPi);
      break;
    case Kind::kCross:
      cross(cr, r);
      break;
    case Kind::kHeart:
      heart(cr, r);
      break;
  }
}

bool overlaps(const Shape& a, const Shape& b, float margin) {
  const float dx = a.x - b.x, dy = a.y - b.y, least = a.radius + b.radius + margin;
  return dx * dx + dy * dy < least * least;
}

}  // namespace

std::string color_name(int color) {
  return std::string(kColorNames[color]);
}
std::string kind_name(Kind kind) {
  return std::string(kKindNames[static_cast<int>(kind)]);
}
std::string kind_plural(Kind kind) {
  return std::string(kKindPlurals[static_cast<int>(kind)]);
}

std::string Shape::name() const {
  return color_name(color) + " " + kind_name(kind);
}

std::string Shape::with_article() const {
  return (kColorNames[color] == "orange" ? "an " : "a ") + name();
}

std::string list_of(std::vector<Shape> shapes) {
  std::sort(shapes.begin(), shapes.end(), [](const Shape& a, const Shape& b) { return a.x < b.x; });
  std::string list;
  for (const Shape& shape : shapes)
    list += (list.empty() ? "" : ", ") + shape.name();
  return list;
}

Kind random_kind(Random& random) {
  return static_cast<Kind>(random.below(kKinds));
}

Ground choose_ground(Random& random, float difficulty) {
  const float d = difficulty;
  Ground ground;
  Style& style = ground.style;
  if (random.chance(0.2f * d)) {
    style.paper = random_color(random);
    style.paper2 = blend(style.paper, random_color(random), random.uniform(0.2f, 0.6f));
    style.paper_kind = Style::Paper::kTexture;
    style.texture = random.next();
  } else {
    ground.color = random.chance(0.6f * d) ? random.below(kColors) : kWhite;
    style.paper = tint(random, ground.color, d);
    if (random.chance(0.3f * d)) {
      style.paper2 = tint(random, ground.color, d);
      style.paper_kind = Style::Paper::kGradient;
      style.angle = random.uniform(0, 2 * kPi);
    }
  }
  choose_faults(random, d, style);
  return ground;
}

Color shape_color(Random& random, int color, const Ground& ground, float difficulty) {
  Color best;
  float most = -1;
  for (int tries = 0; tries < 4 && most < kLeastDistance; ++tries) {
    const Color c = tint(random, color, difficulty);
    const bool flat = ground.style.paper_kind == Style::Paper::kFlat;
    const float far = std::min(distance(c, ground.style.paper), flat ? 2.0f : distance(c, ground.style.paper2));
    if (far > most) {
      most = far;
      best = c;
    }
  }
  return best;
}

Shape random_look(Random& random, const Ground& ground, float difficulty) {
  Shape shape;
  shape.kind = random_kind(random);
  do {
    shape.color = random.below(kColors);
    shape.rgb = shape_color(random, shape.color, ground, difficulty);
  } while (
      shape.color == ground.color || distance(shape.rgb, ground.style.paper) < kLeastDistance ||
      (ground.style.paper_kind != Style::Paper::kFlat && distance(shape.rgb, ground.style.paper2) < kLeastDistance));
  shape.angle = random.chance(difficulty) ? random.uniform(-0.2f, 0.2f) : 0.0f;
  return shape;
}

void place_shapes(Random& random, float width, float height, float margin, std::vector<Shape>& shapes) {
  for (;;) {
    size_t placed = 0;
    for (int tries = 0; placed < shapes.size() && tries < 200; ++tries) {
      Shape& shape = shapes[placed];
      const float reach = shape.radius + 0.5f * margin;
      if (2 * reach > width || 2 * reach > height) break;
      shape.x = random.uniform(reach, width - reach);
      shape.y = random.uniform(reach, height - reach);
      const auto is_hit = [&](const Shape& other) { return overlaps(shape, other, margin); };
      if (std::none_of(shapes.begin(), shapes.begin() + static_cast<ptrdiff_t>(placed), is_hit)) ++placed;
    }
    if (placed == shapes.size()) return;
    for (Shape& shape : shapes)
      shape.radius *= 0.9f;
  }
}

void draw_shape(const Canvas& canvas, const Shape& shape, bool outlined) {
  cairo_t* cr = canvas.cr();
  cairo_save(cr);
  cairo_translate(cr, shape.x, shape.y);
  cairo_rotate(cr, shape.angle);
  cairo_new_path(cr);
  outline(cr, shape.kind, shape.radius);
  canvas.set_color(shape.rgb);
  cairo_fill_preserve(cr);
  if (outlined) {
    const Color edge = shape.rgb.r + shape.rgb.g + shape.rgb.b > 0.8f ? Color{0, 0, 0} : Color{0.7f, 0.7f, 0.7f};
    canvas.set_color(edge);
    cairo_set_line_width(cr, std::max(1.0f, 0.05f * shape.radius));
    cairo_stroke(cr);
  }
  cairo_new_path(cr);
  cairo_restore(cr);
}

LabelBox shape_box(const Shape& shape) {
  // The inner part: the corners of most kinds are empty.
  const float half = shape.kind == Kind::kRing ? 0.85f * shape.radius : 0.6f * shape.radius;
  return {shape.x - half, shape.y - half, shape.x + half, shape.y + half, shape_label(shape.kind, shape.color)};
}

Picture draw_shapes(Random& random, const Ground& ground, const std::vector<Shape>& shapes, PictureSize size,
                    float difficulty) {
  const Canvas canvas(size.width, size.height);
  canvas.paint_paper(ground.style);
  const bool outlined = random.chance(0.15f * difficulty);
  Picture picture;
  for (const Shape& shape : shapes) {
    draw_shape(canvas, shape, outlined);
    picture.boxes.push_back(shape_box(shape));
  }
  picture.image = canvas.finish(random, ground.style);
  return picture;
}

}  // namespace minicpm::pico

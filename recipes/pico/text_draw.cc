#include "pico/text_draw.h"

#include <pango/pangocairo.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <set>

#include "base/error.h"
#include "pico/labels.h"

namespace minicpm::pico {
namespace {

constexpr bool kPlain = true, kHeldOut = true;

// packages-train.txt names the Debian packages that hold them.
constexpr FontFamily kFamilies[] = {
    {"DejaVu Sans", kPlain, false},
    {"Liberation Sans", kPlain, false},
    {"Liberation Serif", kPlain, false},
    {"Noto Sans", kPlain, false},
    {"Roboto", kPlain, false},
    {"Open Sans", kPlain, false},
    {"Lato", kPlain, false},
    {"FreeSans", kPlain, false},
    {"DejaVu Serif", kPlain, false},
    {"PT Sans", kPlain, false},
    {"Nimbus Sans", kPlain, false},
    {"Noto Serif", kPlain, false},
    {"DejaVu Sans Mono", false, false},
    {"DejaVu Sans Condensed", false, false},
    {"DejaVu Serif Condensed", false, false},
    {"Liberation Mono", false, false},
    {"FreeSerif", false, false},
    {"FreeMono", false, false},
    {"Nimbus Roman", false, false},
    {"Nimbus Mono PS", false, false},
    {"Nimbus Sans Narrow", false, false},
    {"URW Gothic", false, false},
    {"URW Bookman", false, false},
    {"C059", false, false},
    {"P052", false, false},
    {"Noto Sans Mono", false, false},
    {"Noto Sans Display", false, false},
    {"Noto Serif Display", false, false},
    {"CMU Serif", false, false},
    {"CMU Sans Serif", false, false},
    {"CMU Concrete", false, false},
    {"CMU Typewriter Text", false, false},
    {"Linux Libertine O", false, false},
    {"Linux Biolinum O", false, false},
    {"PT Serif", false, false},
    {"PT Mono", false, false},
    {"PT Sans Narrow", false, false},
    {"PT Sans Caption", false, false},
    {"Caladea", false, false},
    {"Gentium Book Basic", false, false},
    {"Go", false, false},
    {"Go Mono", false, false},
    {"EB Garamond", false, false},
    {"Hack", false, false},
    {"Inter", false, false},
    {"Quicksand", false, false},
    {"Roboto Condensed", false, false},
    {"Courier Prime", false, false},
    {"B612", false, false},
    {"Carlito", kPlain, kHeldOut},
    {"Cantarell", kPlain, kHeldOut},
    {"Inconsolata", false, kHeldOut},
    {"Comic Neue", false, kHeldOut},
    {"Gentium Basic", kPlain, kHeldOut},
    {"CMU Bright", false, kHeldOut},
};

constexpr double kBase = 64;  // pixels per em while shaping
constexpr float kInner = 0.6f;
constexpr float kLeastBoxWidth = 5, kLeastBoxHeight = 9;  // pixels after the resize; cells are 7 by 14

struct Unref {
  void operator()(void* object) const { g_object_unref(object); }
};

struct LoadedFace {
  PangoFontDescription* description;
  cairo_font_face_t* font = nullptr;
  cairo_matrix_t matrix;
};

/// FreeType's faces are shared by Cairo behind the threads' backs and change while one of them draws: everything that
/// may touch one holds this lock. The drawing of text is a small part of making a sample.
std::mutex& font_lock() {
  static std::mutex lock;
  return lock;
}

/// Pango's font maps must not be shared between threads. Made and unmade under font_lock().
class FontCache {
 public:
  FontCache()
      : map_(pango_cairo_font_map_new()), context_(pango_font_map_create_context(map_.get())), layout_(nullptr) {
    cairo_font_options_t* options = cairo_font_options_create();
    cairo_font_options_set_hint_metrics(options, CAIRO_HINT_METRICS_OFF);
    cairo_font_options_set_hint_style(options, CAIRO_HINT_STYLE_NONE);
    cairo_font_options_set_antialias(options, CAIRO_ANTIALIAS_GRAY);
    pango_cairo_context_set_font_options(context_.get(), options);
    cairo_font_options_destroy(options);
    pango_cairo_context_set_resolution(context_.get(), 96);
    pango_context_set_round_glyph_positions(context_.get(), FALSE);
    pango_context_set_language(context_.get(), pango_language_from_string("en"));
    layout_.reset(pango_layout_new(context_.get()));
    PangoAttrList* attributes = pango_attr_list_new();
    // One glyph per character, so that each has its box; an old-style 1 can look like an I.
    pango_attr_list_insert(attributes, pango_attr_font_features_new("liga=0, clig=0, dlig=0, calt=0, hlig=0, lnum=1"));
    pango_attr_list_insert(attributes, pango_attr_fallback_new(FALSE));
    pango_layout_set_attributes(layout_.get(), attributes);
    pango_attr_list_unref(attributes);
    find_installed();
  }

  ~FontCache() {
    const std::lock_guard guard(font_lock());
    for (auto& [key, face] : faces_) {
      pango_font_description_free(face.description);
      if (face.font != nullptr) cairo_font_face_destroy(face.font);
    }
    layout_.reset();
    context_.reset();
    map_.reset();
  }

  const std::vector<int>& choices(bool held_out, bool plain) const { return choices_[held_out ? 1 : 0][plain ? 1 : 0]; }
  PangoLayout* layout() const { return layout_.get(); }

  LoadedFace& face(const Face& wanted) {
    const int key = wanted.family * 4 + (wanted.bold ? 2 : 0) + (wanted.italic ? 1 : 0);
    const auto found = faces_.find(key);
    if (found != faces_.end()) return found->second;
    PangoFontDescription* description = pango_font_description_new();
    const std::string_view name = kFamilies[wanted.family].name;
    pango_font_description_set_family(description, std::string(name).c_str());
    pango_font_description_set_weight(description, wanted.bold ? PANGO_WEIGHT_BOLD : PANGO_WEIGHT_NORMAL);
    pango_font_description_set_style(description, wanted.italic ? PANGO_STYLE_ITALIC : PANGO_STYLE_NORMAL);
    pango_font_description_set_absolute_size(description, kBase * PANGO_SCALE);
    return faces_[key] = {description, nullptr, {}};
  }

 private:
  void find_installed() {
    PangoFontFamily** families = nullptr;
    int count = 0;
    pango_font_map_list_families(map_.get(), &families, &count);
    std::set<std::string_view> names;
    for (int i = 0; i < count; ++i)
      names.insert(pango_font_family_get_name(families[i]));
    for (int i = 0; i < static_cast<int>(std::size(kFamilies)); ++i) {
      if (!names.contains(kFamilies[i].name)) continue;
      choices_[kFamilies[i].held_out ? 1 : 0][0].push_back(i);
      if (kFamilies[i].plain) choices_[kFamilies[i].held_out ? 1 : 0][1].push_back(i);
    }
    g_free(families);
  }

  std::unique_ptr<PangoFontMap, Unref> map_;
  std::unique_ptr<PangoContext, Unref> context_;
  std::unique_ptr<PangoLayout, Unref> layout_;
  std::map<int, LoadedFace> faces_;
  std::vector<int> choices_[2][2];  // [held out][plain only]
};

FontCache& font_cache() {
  thread_local FontCache cache;
  return cache;
}

float em(int pango_units) {
  return static_cast<float>(pango_units / (PANGO_SCALE * kBase));
}

}  // namespace

std::span<const FontFamily> font_families() {
  return kFamilies;
}

Face choose_face(Random& random, Split split, float difficulty) {
  const std::lock_guard guard(font_lock());
  const FontCache& cache = font_cache();
  const bool plain = random.chance(1 - difficulty);
  const bool held_out = split == Split::kTest && random.chance(0.5f);
  const std::vector<int>& choices = cache.choices(held_out, plain);
  if (choices.empty() || cache.choices(false, false).size() < 8) {
    fail(ErrorCode::kNotFound, "too few fonts: {} of {} known families are installed; packages-train.txt lists them",
         cache.choices(false, false).size() + cache.choices(true, false).size(), std::size(kFamilies));
  }
  Face face;
  face.family = random.pick(choices);
  face.bold = random.chance(0.3f * difficulty);
  face.italic = random.chance(0.12f * difficulty);
  return face;
}

TextLine::TextLine(const Face& face, std::string_view text, float tracking) {
  const std::lock_guard guard(font_lock());
  FontCache& cache = font_cache();
  LoadedFace& loaded = cache.face(face);
  PangoLayout* layout = cache.layout();
  pango_layout_set_font_description(layout, loaded.description);
  pango_layout_set_text(layout, text.data(), static_cast<int>(text.size()));
  const PangoLayoutLine* line = pango_layout_get_line_readonly(layout, 0);
  float pen = 0;
  for (const GSList* run = line->runs; run != nullptr; run = run->next) {
    const auto* item = static_cast<const PangoGlyphItem*>(run->data);
    PangoFont* font = item->item->analysis.font;
    if (loaded.font == nullptr) {
      cairo_scaled_font_t* scaled = pango_cairo_font_get_scaled_font(PANGO_CAIRO_FONT(font));
      loaded.font = cairo_font_face_reference(cairo_scaled_font_get_font_face(scaled));
      cairo_scaled_font_get_font_matrix(scaled, &loaded.matrix);
      cairo_matrix_t scale;
      cairo_matrix_init_scale(&scale, 1 / kBase, 1 / kBase);
      cairo_matrix_multiply(&loaded.matrix, &loaded.matrix, &scale);
    }
    for (int i = 0; i < item->glyphs->num_glyphs; ++i) {
      const PangoGlyphInfo& info = item->glyphs->glyphs[i];
      PangoRectangle ink;
      pango_font_get_glyph_extents(font, info.glyph, &ink, nullptr);
      const float x = pen + em(info.geometry.x_offset), y = em(info.geometry.y_offset);
      pen += em(info.geometry.width) + tracking;
      if (ink.width == 0 || (info.glyph & PANGO_GLYPH_UNKNOWN_FLAG) != 0) continue;
      const char character = text[static_cast<size_t>(item->item->offset + item->glyphs->log_clusters[i])];
      glyphs_.push_back({info.glyph, x, y, x + em(ink.x), y + em(ink.y), x + em(ink.x + ink.width),
                         y + em(ink.y + ink.height), character});
    }
  }
  font_ = loaded.font;
  matrix_ = loaded.matrix;
  if (glyphs_.empty()) return;
  left_ = top_ = 1e9f;
  right_ = bottom_ = -1e9f;
  for (const Glyph& glyph : glyphs_) {
    left_ = std::min(left_, glyph.left);
    top_ = std::min(top_, glyph.top);
    right_ = std::max(right_, glyph.right);
    bottom_ = std::max(bottom_, glyph.bottom);
  }
}

void TextLine::draw(cairo_t* cr, float x, float y, float size) const {
  if (glyphs_.empty()) return;
  std::vector<cairo_glyph_t> glyphs;
  glyphs.reserve(glyphs_.size());
  for (const Glyph& glyph : glyphs_)
    glyphs.push_back({glyph.index, x + size * glyph.x, y + size * glyph.y});
  cairo_matrix_t scale, matrix;
  cairo_matrix_init_scale(&scale, size, size);
  cairo_matrix_multiply(&matrix, &matrix_, &scale);
  const std::lock_guard guard(font_lock());
  cairo_set_font_face(cr, font_);
  cairo_set_font_matrix(cr, &matrix);
  cairo_show_glyphs(cr, glyphs.data(), static_cast<int>(glyphs.size()));
  cairo_set_font_face(cr, nullptr);  // lets go of the face here, not when the context ends
}

void TextLine::append_boxes(cairo_t* cr, float x, float y, float size, float enlargement,
                            std::vector<LabelBox>& boxes) const {
  for (const Glyph& glyph : glyphs_) {
    const int32_t label = character_label(glyph.character);
    if (label == 0) continue;
    double cx = x + size * 0.5 * (glyph.left + glyph.right), cy = y + size * 0.5 * (glyph.top + glyph.bottom);
    cairo_user_to_device(cr, &cx, &cy);
    const float half_width = 0.5f * std::max(kInner * size * (glyph.right - glyph.left), kLeastBoxWidth / enlargement);
    const float half_height = 0.5f * std::max(size * (glyph.bottom - glyph.top), kLeastBoxHeight / enlargement);
    const auto fx = static_cast<float>(cx), fy = static_cast<float>(cy);
    boxes.push_back({fx - half_width, fy - half_height, fx + half_width, fy + half_height, label});
  }
}

void choose_hinting(cairo_t* cr, Random& random, float difficulty) {
  constexpr cairo_hint_style_t kStyles[] = {CAIRO_HINT_STYLE_NONE, CAIRO_HINT_STYLE_SLIGHT, CAIRO_HINT_STYLE_FULL};
  cairo_font_options_t* options = cairo_font_options_create();
  cairo_font_options_set_hint_metrics(options, CAIRO_HINT_METRICS_OFF);
  // Coloured edges, as on liquid-crystal screens.
  const bool colored = random.chance(0.1f * difficulty);
  cairo_font_options_set_antialias(options, colored ? CAIRO_ANTIALIAS_SUBPIXEL : CAIRO_ANTIALIAS_GRAY);
  cairo_font_options_set_hint_style(options, kStyles[random.chance(difficulty) ? random.below(3) : 1]);
  cairo_set_font_options(cr, options);
  cairo_font_options_destroy(options);
}

}  // namespace minicpm::pico

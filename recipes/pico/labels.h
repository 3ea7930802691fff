// Dense classes: one for each character and for each kind and colour of shape.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace minicpm::pico {

inline constexpr std::string_view kLabelledCharacters =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?'-+=/()%&$";

enum class Kind { kCircle, kSquare, kTriangle, kDiamond, kStar, kCross, kHeart, kRing };
inline constexpr int kKinds = 8;
inline constexpr std::string_view kKindNames[kKinds] = {"circle", "square", "triangle", "diamond",
                                                        "star",   "cross",  "heart",    "ring"};
inline constexpr std::string_view kKindPlurals[kKinds] = {"circles", "squares", "triangles", "diamonds",
                                                          "stars",   "crosses", "hearts",    "rings"};

inline constexpr int kColors = 12;
inline constexpr std::string_view kColorNames[kColors] = {"red",  "orange", "yellow", "green", "blue", "purple",
                                                          "pink", "brown",  "black",  "white", "gray", "cyan"};

/// 0 for a character without a class.
constexpr int32_t character_label(char c) {
  const size_t at = kLabelledCharacters.find(c);
  return at == std::string_view::npos ? 0 : static_cast<int32_t>(at) + 1;
}

constexpr int32_t shape_label(Kind kind, int color) {
  return static_cast<int32_t>(kLabelledCharacters.size()) + 1 + static_cast<int32_t>(kind) * kColors + color;
}

inline constexpr int kDenseClasses = static_cast<int>(kLabelledCharacters.size()) + 1 + kKinds * kColors;

}  // namespace minicpm::pico

// UTF-8 read one character at a time, with the treatment of broken input that browsers use.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace minicpm {

inline constexpr uint32_t kReplacementCharacter = 0xFFFD;

struct Utf8Step {
  enum class Kind : uint8_t {
    kValid,
    kInvalid,     // `length` bytes form a maximal subpart of an ill-formed sequence (Unicode 15, section 3.9)
    kIncomplete,  // the text ends inside a character; more bytes could make it valid
  };
  uint32_t code_point;  // U+FFFD unless valid
  uint8_t length;       // bytes consumed, at least 1
  Kind kind;
};

/// The first character of `text`, which must not be empty.
Utf8Step next_utf8(std::string_view text);

/// Length of the longest prefix of `text` that is valid UTF-8.
size_t valid_utf8_prefix(std::string_view text);

/// Length of the longest prefix without any valid character.
size_t invalid_utf8_prefix(std::string_view text);

void append_utf8(std::string& out, uint32_t code_point);

/// `text` with each maximal subpart of an ill-formed sequence replaced by U+FFFD.
std::string replace_invalid_utf8(std::string_view text);

/// Unicode White_Space.
bool is_unicode_space(uint32_t code_point);

}  // namespace minicpm

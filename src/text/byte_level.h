// The alphabet of byte-level vocabularies: each byte is written as one printable character, so that tokens are text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace minicpm {

/// The character that stands for `byte`, in UTF-8.
std::string_view byte_level_character(uint8_t byte);

/// `bytes` written in the alphabet.
std::string to_byte_level(std::string_view bytes);

/// The bytes that `text` stands for; nothing if it has a character outside the alphabet.
std::optional<std::string> from_byte_level(std::string_view text);

}  // namespace minicpm

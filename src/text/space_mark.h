// Conventions of SentencePiece vocabularies: a space is written U+2581, and bytes without a token of their own are
// written <0x00> ... <0xFF>.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace minicpm {

inline constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581 in UTF-8

/// `text` with each space as U+2581.
std::string to_space_marks(std::string_view text);
/// `text` with each U+2581 as a space.
std::string from_space_marks(std::string_view text);

/// "<0x0A>" for 10.
std::string byte_token_name(uint8_t byte);
/// The byte that such a name stands for.
std::optional<uint8_t> byte_of_token_name(std::string_view name);

}  // namespace minicpm

// Base64 (RFC 4648) to bytes and back.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace minicpm {

/// The bytes, or nothing if the text is not base64. White space between characters is skipped; the padding at the end
/// may be missing.
std::optional<std::string> decode_base64(std::string_view text);

/// With padding, without line breaks.
std::string encode_base64(std::string_view bytes);

}  // namespace minicpm

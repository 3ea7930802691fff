// Base64 (RFC 4648) to bytes.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace minicpm {

/// The bytes, or nothing if the text is not base64. White space between characters is skipped; the padding at the end
/// may be missing.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace minicpm

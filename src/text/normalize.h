// Unicode normalisation of the text between special tokens.
#pragma once

#include <string>
#include <string_view>

namespace minicpm {

/// The NFC form of `text`, which must be valid UTF-8. Returns `text` itself when it is known to be in that form,
/// otherwise a view of `buffer`. Linear in the length apart from sorting runs of combining marks (n log n).
std::string_view normalize_nfc(std::string_view text, std::string& buffer);

}  // namespace minicpm

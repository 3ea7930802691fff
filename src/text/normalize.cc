#include "text/normalize.h"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "text/utf8.h"

namespace minicpm {
namespace {

constexpr auto kCompose = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);

/// Ranges whose characters are starters and keep their form under NFC next to any other such character: Latin,
/// Cyrillic, CJK ideographs and their punctuation, full-width forms. They cover nearly all text, so most of it is never
/// copied.
bool is_stable_under_nfc(uint32_t c) {
  return c < 0x300 || (c >= 0x400 && c < 0x483) || (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3000 && c < 0x302A) ||
         (c >= 0x3400 && c <= 0x4DBF) || (c >= 0xFF00 && c <= 0xFFEF);
}

int combining_class(utf8proc_int32_t c) {
  return utf8proc_get_property(c)->combining_class;
}

/// Canonical order: each run of combining marks sorted by class, equal classes in their old order. utf8proc's own sort
/// is quadratic in the length of a run.
void sort_combining_marks(std::vector<utf8proc_int32_t>& characters) {
  for (size_t i = 0; i < characters.size();) {
    if (combining_class(characters[i]) == 0) {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < characters.size() && combining_class(characters[end]) != 0)
      ++end;
    std::stable_sort(characters.begin() + static_cast<ptrdiff_t>(i), characters.begin() + static_cast<ptrdiff_t>(end),
                     [](auto a, auto b) { return combining_class(a) < combining_class(b); });
    i = end;
  }
}

}  // namespace

std::string_view normalize_nfc(std::string_view text, std::string& buffer) {
  bool stable = true;
  for (size_t at = 0; at < text.size() && stable;) {
    const Utf8Step step = next_utf8(text.substr(at));
    stable = is_stable_under_nfc(step.code_point);
    at += step.length;
  }
  if (stable) return text;

  std::vector<utf8proc_int32_t> characters;
  characters.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = next_utf8(text.substr(at));
    at += step.length;
    utf8proc_int32_t parts[32];  // a canonical decomposition has at most 4 characters
    int boundary = 0;
    const auto count =
        utf8proc_decompose_char(static_cast<utf8proc_int32_t>(step.code_point), parts, 32, kCompose, &boundary);
    MINICPM_CHECK(count > 0 && count <= 32);
    characters.insert(characters.end(), parts, parts + count);
  }
  sort_combining_marks(characters);
  const auto length =
      utf8proc_normalize_utf32(characters.data(), static_cast<utf8proc_ssize_t>(characters.size()), kCompose);
  MINICPM_CHECK(length >= 0);

  buffer.clear();
  buffer.reserve(text.size());
  for (utf8proc_ssize_t i = 0; i < length; ++i)
    append_utf8(buffer, static_cast<uint32_t>(characters[static_cast<size_t>(i)]));
  return buffer;
}

}  // namespace minicpm

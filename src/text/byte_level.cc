#include "text/byte_level.h"

#include <array>

#include "text/utf8.h"

namespace minicpm {
namespace {

/// Printable bytes of Latin-1 stand for themselves; the others take the characters from U+0100 on, in order.
bool is_its_own_character(uint32_t byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr uint32_t kFirstSubstitute = 0x100;
constexpr uint32_t kNumSubstitutes = 68;  // bytes that are not their own character

struct Alphabet {
  std::array<std::string, 256> characters;
  std::array<uint8_t, kFirstSubstitute + kNumSubstitutes> bytes{};  // by code point
  std::array<bool, kFirstSubstitute + kNumSubstitutes> known{};

  Alphabet() {
    uint32_t substitute = kFirstSubstitute;
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const uint32_t code_point = is_its_own_character(byte) ? byte : substitute++;
      append_utf8(characters[byte], code_point);
      bytes[code_point] = static_cast<uint8_t>(byte);
      known[code_point] = true;
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet instance;
  return instance;
}

}  // namespace

std::string_view byte_level_character(uint8_t byte) {
  return alphabet().characters[byte];
}

std::string to_byte_level(std::string_view bytes) {
  std::string text;
  text.reserve(2 * bytes.size());
  for (const char byte : bytes)
    text += byte_level_character(static_cast<uint8_t>(byte));
  return text;
}

std::optional<std::string> from_byte_level(std::string_view text) {
  const Alphabet& table = alphabet();
  std::string bytes;
  bytes.reserve(text.size());
  while (!text.empty()) {
    const Utf8Step step = next_utf8(text);
    const bool known =
        step.kind == Utf8Step::Kind::kValid && step.code_point < table.known.size() && table.known[step.code_point];
    if (!known) return std::nullopt;
    bytes += static_cast<char>(table.bytes[step.code_point]);
    text.remove_prefix(step.length);
  }
  return bytes;
}

}  // namespace minicpm

// Numbers as texts write them (1,250.5 kg, $3.50, 10:30, 21st, 45%), read and turned into words.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/spoken_numbers.h"

namespace minicpm {

/// A sign of money or a unit, with its names.
struct QuantityName {
  std::string_view mark;                // as written
  std::string_view one, many, chinese;  // as spoken
  std::string_view part, parts;         // the hundredth of money
};

struct WrittenNumber {
  enum class Kind {
    kPlain,
    kPercent,
    kOrdinal,  // 21st
    kDecade,   // 1990s
    kTime,     // 10:30, 10:30:15
    kVersion,  // 1.2.3
    kLong,     // more digits than a number has; `whole` and `length` are those of the first one alone
  };
  Kind kind = Kind::kPlain;
  bool negative = false;
  const QuantityName* money = nullptr;
  const QuantityName* unit = nullptr;
  std::string_view magnitude;       // "million", behind money
  std::string whole, fraction;      // digits
  std::vector<std::string> others;  // digits behind colons or further points
  size_t length = 0;                // bytes of the text
  uint32_t next = 0;                // the character behind it; 0 at the end
};

/// The sign of money that `text` begins with, or null.
const QuantityName* money_mark(std::string_view text);

/// The number that whole characters of `text` begin with, from its first digit on, with the unit behind it. Nothing if
/// text that is still to come could belong to it; with `last` there is none. `money` stood in front of it.
std::optional<WrittenNumber> read_number(std::string_view text, bool last, const QuantityName* money);

struct NumberStyle {
  SpokenLanguage language = SpokenLanguage::kEnglish;
  bool year = false;  // four digits are a year
};
std::string number_words(const WrittenNumber& number, const NumberStyle& style);

}  // namespace minicpm

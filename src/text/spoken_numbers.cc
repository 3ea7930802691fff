#include "text/spoken_numbers.h"

#include <charconv>
#include <cstdint>

#include "base/error.h"

namespace minicpm {
namespace {

constexpr size_t kMostDigits = 18;  // of a cardinal number: below 10^18, which fits 64 bits

constexpr std::string_view kEnglishSmall[] = {
    "zero", "one",    "two",    "three",    "four",     "five",    "six",     "seven",     "eight",    "nine",
    "ten",  "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"};
constexpr std::string_view kEnglishTens[] = {"",      "",      "twenty",  "thirty", "forty",
                                             "fifty", "sixty", "seventy", "eighty", "ninety"};
constexpr std::string_view kEnglishScales[] = {"", "thousand", "million", "billion", "trillion", "quadrillion"};
constexpr std::string_view kChineseDigits[] = {"零", "一", "二", "三", "四", "五", "六", "七", "八", "九"};

uint64_t value_of(std::string_view digits) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  MINICPM_CHECK(error == std::errc() && end == digits.data() + digits.size());
  return value;
}

void append_word(std::string& text, std::string_view word) {
  if (!text.empty()) text += ' ';
  text += word;
}

/// 1 to 999.
void append_english_group(std::string& text, uint64_t n) {
  if (n >= 100) {
    append_word(text, kEnglishSmall[n / 100]);
    append_word(text, "hundred");
    n %= 100;
  }
  if (n >= 20) {
    append_word(text, kEnglishTens[n / 10]);
    n %= 10;
  }
  if (n > 0) append_word(text, kEnglishSmall[n]);
}

std::string english(uint64_t n) {
  if (n == 0) return std::string(kEnglishSmall[0]);
  std::string text;
  uint64_t unit = 1'000'000'000'000'000;
  for (int scale = 5; scale >= 0; --scale, unit /= 1000) {
    const uint64_t group = n / unit % 1000;
    if (group == 0) continue;
    append_english_group(text, group);
    if (scale > 0) append_word(text, kEnglishScales[scale]);
  }
  return text;
}

/// 1 to 9999. `first`: nothing stands before it, and ten is 十, not 一十.
void append_chinese_group(std::string& text, uint64_t n, bool first) {
  constexpr std::string_view kPlaces[] = {"千", "百", "十", ""};
  uint64_t unit = 1000;
  bool begun = false, zero = false;
  for (const std::string_view place : kPlaces) {
    const uint64_t digit = n / unit % 10;
    unit /= 10;
    if (digit == 0) {
      zero = begun;
      continue;
    }
    if (zero) text += kChineseDigits[0];
    zero = false;
    const bool bare_ten = first && !begun && place == "十" && digit == 1;
    if (!bare_ten) text += kChineseDigits[digit];
    text += place;
    begun = true;
  }
}

/// 1 and more; 亿 counts hundreds of millions, also of itself.
void append_chinese(std::string& text, uint64_t n, bool first) {
  struct Scale {
    uint64_t unit;
    std::string_view name;
  };
  for (const Scale& scale : {Scale{100'000'000, "亿"}, Scale{10'000, "万"}}) {
    if (n < scale.unit) continue;
    append_chinese(text, n / scale.unit, first);
    text += scale.name;
    n %= scale.unit;
    if (n == 0) return;
    if (n < scale.unit / 10) text += kChineseDigits[0];
    return append_chinese(text, n, false);
  }
  append_chinese_group(text, n, first);
}

std::string chinese(uint64_t n) {
  if (n == 0) return std::string(kChineseDigits[0]);
  std::string text;
  append_chinese(text, n, true);
  return text;
}

bool is_cardinal(std::string_view digits) {
  return digits.size() <= kMostDigits && (digits.size() == 1 || digits.front() != '0');
}

/// The last word of an English number as an ordinal.
std::string ordinal_of(std::string_view word) {
  constexpr std::pair<std::string_view, std::string_view> kIrregular[] = {
      {"one", "first"},    {"two", "second"}, {"three", "third"},   {"five", "fifth"},
      {"eight", "eighth"}, {"nine", "ninth"}, {"twelve", "twelfth"}};
  for (const auto& [cardinal, ordinal] : kIrregular) {
    if (word == cardinal) return std::string(ordinal);
  }
  if (word.ends_with('y')) return std::string(word.substr(0, word.size() - 1)) + "ieth";
  return std::string(word) + "th";
}

}  // namespace

std::string digit_words(std::string_view digits, SpokenLanguage language) {
  std::string text;
  for (const char digit : digits) {
    MINICPM_CHECK(digit >= '0' && digit <= '9');
    if (language == SpokenLanguage::kChinese) {
      text += kChineseDigits[digit - '0'];
    } else {
      append_word(text, kEnglishSmall[digit - '0']);
    }
  }
  return text;
}

std::string cardinal_words(std::string_view digits, SpokenLanguage language) {
  MINICPM_CHECK(!digits.empty());
  if (!is_cardinal(digits)) return digit_words(digits, language);
  return language == SpokenLanguage::kChinese ? chinese(value_of(digits)) : english(value_of(digits));
}

std::string ordinal_words(std::string_view digits, SpokenLanguage language) {
  std::string text = cardinal_words(digits, language);
  if (language == SpokenLanguage::kChinese) return "第" + text;
  const size_t last = text.rfind(' ') + 1;  // 0 for one word
  return text.substr(0, last) + ordinal_of(std::string_view(text).substr(last));
}

std::string year_words(std::string_view digits, SpokenLanguage language) {
  MINICPM_CHECK(digits.size() == 4);
  if (language == SpokenLanguage::kChinese) return digit_words(digits, language);
  const uint64_t year = value_of(digits), century = year / 100, rest = year % 100;
  if (century < 10 || (century % 10 == 0 && rest < 10)) return english(year);  // "two thousand five"
  if (rest == 0) return english(century) + " hundred";
  return english(century) + (rest < 10 ? " oh " : " ") + english(rest);
}

}  // namespace minicpm

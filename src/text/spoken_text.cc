#include "text/spoken_text.h"

#include <algorithm>
#include <array>

#include "text/utf8.h"
#include "text/written_numbers.h"

namespace minicpm {
namespace {

constexpr size_t kLongestWord = 16;  // bytes of words that are compared with others

bool is_digit(uint32_t c) {
  return c >= '0' && c <= '9';
}

bool is_latin(uint32_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_chinese(uint32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF);
}

/// Pictures and what joins or varies them: there is nothing to say.
bool is_picture(uint32_t c) {
  return (c >= 0x1F000 && c <= 0x1FAFF) || (c >= 0x2600 && c <= 0x27BF) || c == 0xFE0E || c == 0xFE0F || c == 0x200D ||
         c == 0x20E3 || (c >= 0xE0000 && c <= 0xE007F);
}

/// Wide digits, letters and signs as plain ones; their punctuation stays.
uint32_t narrow(uint32_t c) {
  constexpr uint32_t kWide = 0xFF01 - '!';
  const uint32_t plain = c - kWide;
  if (c >= 0xFF01 && c <= 0xFF5E && (is_digit(plain) || is_latin(plain) || plain == '%' || plain == '$')) return plain;
  if (c == 0xFFE5) return 0xA5;  // ¥
  if (c == 0x2212) return '-';   // the minus of formulas
  if (c == 0x2019) return '\'';  // in "don't"
  return c;
}

}  // namespace

std::string SpokenText::push(std::string_view bytes) {
  bytes_ += bytes;
  clean(false);
  return speak(false);
}

std::string SpokenText::finish() {
  clean(true);
  return speak(true);
}

void SpokenText::clean(bool last) {
  std::string_view rest = bytes_;
  while (!rest.empty()) {
    const Utf8Step step = next_utf8(rest);
    if (step.kind == Utf8Step::Kind::kIncomplete && !last) break;
    rest.remove_prefix(step.length);
    if (step.kind == Utf8Step::Kind::kValid && !is_picture(step.code_point)) {
      append_utf8(text_, narrow(step.code_point));
    }
  }
  bytes_ = std::string(rest);
}

std::string SpokenText::speak(bool last) {
  std::string out;
  std::string_view rest = text_;
  while (!rest.empty()) {
    const size_t used = speak_next(rest, last, out);
    if (used == 0) break;
    rest.remove_prefix(used);
  }
  text_ = std::string(rest);
  return out;
}

/// Writes what the text begins with and returns its length; 0 if more of the text must be known.
size_t SpokenText::speak_next(std::string_view text, bool last, std::string& out) {
  const Utf8Step step = next_utf8(text);
  if (is_digit(step.code_point)) {
    return options_.digits == SpokenDigits::kOneByOne || long_number_ ? speak_digits(text, last, out)
                                                                      : speak_number(text, last, out);
  }
  long_number_.reset();
  const bool sign = step.code_point == '-' && !is_latin(before_) && !is_digit(before_) && !after_number_;
  if (options_.digits == SpokenDigits::kNumbers && (sign || money_mark(text) != nullptr)) {
    const size_t used = speak_number(text, last, out);
    if (used != std::string_view::npos) return used;
  }
  pass(step.code_point, out);
  return step.length;
}

/// A number with its sign and its sign of money; npos if none stands behind these.
size_t SpokenText::speak_number(std::string_view text, bool last, std::string& out) {
  const size_t sign = text.starts_with('-') ? 1 : 0;
  const QuantityName* money = money_mark(text.substr(sign));
  const size_t prefix = sign + (money == nullptr ? 0 : money->mark.size());
  if (prefix == text.size() && !last) return 0;
  if (prefix == text.size() || !is_digit(static_cast<unsigned char>(text[prefix]))) return std::string_view::npos;
  std::optional<WrittenNumber> number = read_number(text.substr(prefix), last, money);
  if (!number) return 0;
  const SpokenLanguage language = language_of(number->next);
  number->negative = sign == 1;
  if (number->kind == WrittenNumber::Kind::kLong) long_number_ = language;
  append_words(number_words(*number, {.language = language, .year = follows_year_word()}), language, number->next, out);
  return prefix + number->length;
}

size_t SpokenText::speak_digits(std::string_view text, bool last, std::string& out) {
  // Digits of one row have one language, which is that of their surroundings.
  if (!long_number_) {
    const size_t row = text.find_first_not_of("0123456789");
    constexpr size_t kLongestRow = 64;
    if (row == std::string_view::npos && text.size() <= kLongestRow && !last) return 0;
    const bool near = row != std::string_view::npos && row <= kLongestRow;
    long_number_ = language_of(near ? next_utf8(text.substr(row)).code_point : 0);
  }
  const uint32_t next = text.size() > 1 ? next_utf8(text.substr(1)).code_point : 0;
  if (text.size() == 1 && !last) return 0;
  append_words(digit_words(text.substr(0, 1), *long_number_), *long_number_, next, out);
  return 1;
}

SpokenLanguage SpokenText::language_of(uint32_t next) const {
  if (options_.language) return *options_.language;
  if (is_chinese(before_) || is_chinese(next)) return SpokenLanguage::kChinese;
  return last_letters_.value_or(SpokenLanguage::kEnglish);
}

/// "in 1999": without such a word four digits are a number.
bool SpokenText::follows_year_word() const {
  constexpr std::array<std::string_view, 28> kWords = {
      "in",    "since",  "by",        "from",    "until",    "till",     "of",     "year",  "during", "before",
      "after", "early",  "late",      "circa",   "january",  "february", "march",  "april", "may",    "june",
      "july",  "august", "september", "october", "november", "december", "spring", "summer"};
  return std::ranges::find(kWords, last_word_) != kWords.end();
}

void SpokenText::append_words(std::string_view words, SpokenLanguage language, uint32_t next, std::string& out) {
  const bool spaced = language == SpokenLanguage::kEnglish;
  if (spaced && (is_latin(before_) || after_number_)) out += ' ';
  out += words;
  if (spaced && is_latin(next)) out += ' ';
  after_number_ = true;
  line_begins_ = false;
  before_ = '0';
  word_.clear();
}

/// Any other character: it is written, unless it is a mark of layout, and remembered.
void SpokenText::pass(uint32_t character, std::string& out) {
  const bool heading = line_begins_ && character == '#';
  if (!heading && character != '*' && character != '`') {
    append_utf8(out, character);
    after_number_ = false;
  }
  if (!heading) line_begins_ = character == '\n';
  if (is_latin(character)) {
    if (word_.empty()) last_word_.clear();
    if (word_.size() < kLongestWord) word_ += static_cast<char>(character | 0x20);
    last_letters_ = SpokenLanguage::kEnglish;
  } else {
    if (!word_.empty()) last_word_ = std::move(word_);
    word_.clear();
    if (is_chinese(character)) last_letters_ = SpokenLanguage::kChinese;
  }
  before_ = character;
}

std::string spoken_text(std::string_view text, const SpokenTextOptions& options) {
  SpokenText spoken(options);
  std::string out = spoken.push(text);
  return out += spoken.finish();
}

}  // namespace minicpm

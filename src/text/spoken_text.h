// Written text as one says it: numbers and their units in words, marks of layout left out. The text may come in pieces
// of any size; what comes out does not depend on where they end.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "text/spoken_numbers.h"

namespace minicpm {

enum class SpokenDigits {
  kNumbers,  // 25 is twenty five, 5 kg five kilograms, 3.5% three point five percent
  kOneByOne  // 25 is two five, as in the official code; all else stays as it is
};

struct SpokenTextOptions {
  SpokenDigits digits = SpokenDigits::kNumbers;
  /// Of the numbers. Unset: Chinese beside Chinese characters, else the language of the last letter before a number,
  /// else English.
  std::optional<SpokenLanguage> language;
};

class SpokenText {
 public:
  explicit SpokenText(const SpokenTextOptions& options = {}) : options_(options) {}

  /// Takes the next bytes of UTF-8, which may end inside a character; what is no UTF-8 is left out. Returns what has
  /// become certain: a number waits until it is clear where it ends.
  std::string push(std::string_view bytes);
  /// The rest. Nothing may be pushed afterwards.
  std::string finish();

 private:
  void clean(bool last);
  std::string speak(bool last);
  size_t speak_next(std::string_view text, bool last, std::string& out);
  size_t speak_number(std::string_view text, bool last, std::string& out);
  size_t speak_digits(std::string_view text, bool last, std::string& out);
  SpokenLanguage language_of(uint32_t next) const;
  bool follows_year_word() const;
  void append_words(std::string_view words, SpokenLanguage language, uint32_t next, std::string& out);
  void pass(uint32_t character, std::string& out);

  SpokenTextOptions options_;
  std::string bytes_;                           // the beginning of a character
  std::string text_;                            // characters whose words are not certain yet
  uint32_t before_ = 0;                         // the character before text_; 0 at the beginning
  bool line_begins_ = true;                     // nothing but # since the line began
  bool after_number_ = false;                   // words of a number were the last thing written
  std::optional<SpokenLanguage> long_number_;   // inside a row of digits that go one by one
  std::string word_, last_word_;                // letters of the present word and of the one before it, in lower case
  std::optional<SpokenLanguage> last_letters_;  // language of the last letter
};

/// The same for a whole text.
std::string spoken_text(std::string_view text, const SpokenTextOptions& options = {});

}  // namespace minicpm

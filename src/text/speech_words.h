// Text as tokens of a speech decoder, word by word while it is written. Tokens do not depend on where the pieces of the
// text end.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/spoken_text.h"
#include "text/wordpiece.h"

namespace minicpm {

/// How good a place the end of a word is to part the text.
enum class SpeechBreak { kNone, kSpace, kComma, kSentence };

struct SpeechWord {
  std::vector<int32_t> tokens;  // may be empty
  SpeechBreak end = SpeechBreak::kNone;
};

class SpeechWords {
 public:
  /// The tokenizer must outlive the reader.
  SpeechWords(const WordPiece& tokenizer, const SpokenTextOptions& options);

  /// Takes the next bytes of the text and returns the words that are complete: those with white space behind them, and
  /// Chinese characters.
  std::vector<SpeechWord> push(std::string_view bytes);
  /// The rest.
  std::vector<SpeechWord> finish();

 private:
  std::vector<SpeechWord> take(std::string_view spoken, bool last);

  const WordPiece& tokenizer_;
  SpokenText spoken_;
  std::string word_;        // not complete
  int64_t characters_ = 0;  // of word_
};

}  // namespace minicpm

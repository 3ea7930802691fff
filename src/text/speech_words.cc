#include "text/speech_words.h"

#include <algorithm>

#include "text/utf8.h"

namespace minicpm {
namespace {

// Longer words are unknown to the tokenizer as a whole; so they are spoken in parts.
constexpr int64_t kLongestWord = 100;

/// Behind these the tokenizer begins a new word, whatever follows.
bool ends_word(uint32_t c) {
  const bool ideograph = (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF);
  const bool mark =
      (c >= 0x3001 && c <= 0x3002) || c == 0xFF01 || c == 0xFF0C || c == 0xFF1A || c == 0xFF1B || c == 0xFF1F;
  return ideograph || mark || is_unicode_space(c);
}

bool is_one_of(uint32_t c, std::initializer_list<uint32_t> list) {
  return std::ranges::find(list, c) != list.end();
}

SpeechBreak break_behind(std::string_view word) {
  uint32_t mark = 0;
  bool space = false;
  while (!word.empty()) {
    const Utf8Step step = next_utf8(word);
    word.remove_prefix(step.length);
    const uint32_t c = step.code_point;
    if (c == '\n') return SpeechBreak::kSentence;  // white space ends a word, so it is the last character
    if (is_unicode_space(c)) {
      space = true;
    } else if (!is_one_of(c, {'"', '\'', ')', ']', '}', 0x201D, 0x2019, 0x300D, 0x300F, 0x300B, 0xFF09})) {
      mark = c;  // closing quotes and brackets may stand behind it
    }
  }
  if (is_one_of(mark, {'.', '!', '?', 0x2026, 0x3002, 0xFF01, 0xFF1F})) return SpeechBreak::kSentence;
  if (is_one_of(mark, {',', ';', ':', 0x3001, 0xFF0C, 0xFF1A, 0xFF1B})) return SpeechBreak::kComma;
  return space ? SpeechBreak::kSpace : SpeechBreak::kNone;
}

}  // namespace

SpeechWords::SpeechWords(const WordPiece& tokenizer, const SpokenTextOptions& options)
    : tokenizer_(tokenizer), spoken_(options) {}

std::vector<SpeechWord> SpeechWords::push(std::string_view bytes) {
  return take(spoken_.push(bytes), false);
}

std::vector<SpeechWord> SpeechWords::finish() {
  return take(spoken_.finish(), true);
}

std::vector<SpeechWord> SpeechWords::take(std::string_view spoken, bool last) {
  std::vector<SpeechWord> words;
  const auto complete = [&] {
    words.push_back({tokenizer_.encode(word_), break_behind(word_)});
    word_.clear();
    characters_ = 0;
  };
  while (!spoken.empty()) {
    const Utf8Step step = next_utf8(spoken);
    word_ += spoken.substr(0, step.length);
    ++characters_;
    spoken.remove_prefix(step.length);
    if (ends_word(step.code_point) || characters_ == kLongestWord) complete();
  }
  if (last && !word_.empty()) complete();
  return words;
}

}  // namespace minicpm

// Added tokens: strings that stand for one id wherever they are recognised, before the vocabulary's own rules apply.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace minicpm {

struct AddedTokenRule {
  AddedToken token;
  bool lstrip = false;       // swallows white space before it
  bool rstrip = false;       // swallows white space after it
  bool single_word = false;  // not inside a longer word
};

/// Finds the longest of many strings at a position.
class StringMatcher {
 public:
  StringMatcher() = default;
  /// The strings must be distinct and not empty.
  explicit StringMatcher(std::vector<std::string> strings);

  /// Calls `visit` with the index and length of each string that `text` has at `at`, shortest first.
  void match(std::string_view text, size_t at, const std::function<void(size_t, size_t)>& visit) const;
  /// False if no string begins with that byte: most positions of a text need no further look.
  bool may_start(char first) const {
    const Range& range = ranges_[static_cast<uint8_t>(first)];
    return range.begin < range.end;
  }

 private:
  struct Range {
    size_t begin = 0, end = 0;
  };
  std::vector<std::string> sorted_;
  std::vector<size_t> index_;  // of sorted_[i] in the list given
  std::array<Range, 256> ranges_{};
};

/// The added tokens of one vocabulary.
class AddedTokenSet {
 public:
  struct Match {
    size_t begin, end;
    int32_t id;
  };
  /// Whether a token may be recognised at [begin, end) of the text.
  using Filter = std::function<bool(const AddedToken&, size_t begin, size_t end)>;

  AddedTokenSet() = default;
  /// Rules that repeat an earlier id and text are dropped. Throws Error bad_file naming `source` for an empty or
  /// overlong text, for a text with two ids and for an id with two texts.
  AddedTokenSet(std::vector<AddedTokenRule> rules, const std::string& source);

  /// The leftmost match at or after `from`, the longest one there.
  std::optional<Match> find(std::string_view text, size_t from, const Filter& allowed) const;

  const std::vector<AddedToken>& tokens() const { return tokens_; }
  const AddedToken* by_id(int32_t id) const;
  const AddedToken* by_text(std::string_view text) const;

 private:
  bool is_single_word(std::string_view text, size_t begin, size_t end) const;

  std::vector<AddedTokenRule> rules_;
  std::vector<AddedToken> tokens_;  // in order of ids
  StringMatcher matcher_;
};

}  // namespace minicpm

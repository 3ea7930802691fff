// Cuts text into the words inside which byte pairs may merge.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace minicpm {

/// Patterns of the published vocabularies. They run in linear time and are exempt from the limits below.
extern const std::string_view kQwen2Pattern;   // digits one by one
extern const std::string_view kLlama3Pattern;  // up to three digits
extern const std::string_view kGpt2Pattern;

class Pretokenizer {
 public:
  struct Piece {
    size_t begin, end;
  };

  /// Adds a step: each match of the regular expression (or of the literal string) becomes a piece, and so does what
  /// lies between matches. Steps cut the pieces of the steps before. Throws Error bad_file naming `source` for a
  /// pattern that does not compile.
  void add_split(std::string_view pattern, bool literal, const std::string& source);

  /// Appends pieces that cover `text` (valid UTF-8) in order. Patterns from files that are not among the published ones
  /// see at most 16 KiB ahead and are limited in steps and time; beyond that: Error unsupported.
  void split(std::string_view text, std::vector<Piece>& pieces) const;

 private:
  class Pattern;
  std::vector<std::shared_ptr<const Pattern>> steps_;
};

}  // namespace minicpm

// Regular expressions that must match a whole text, as Python's re.fullmatch: for names of modules and the like.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace minicpm {

class Regex {
 public:
  /// `source` (a file, an option) stands in messages. Throws Error bad_file if the pattern is not a valid expression.
  Regex(std::string_view pattern, std::string source);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  /// Whether the pattern matches `text` from its first to its last byte. Safe to call from several threads. Throws
  /// Error unsupported when the pattern takes too many steps.
  bool full_match(std::string_view text) const;

 private:
  struct Compiled;
  std::string source_;
  std::unique_ptr<const Compiled> compiled_;
};

/// The pattern that matches exactly `text`.
std::string regex_escaped(std::string_view text);

}  // namespace minicpm

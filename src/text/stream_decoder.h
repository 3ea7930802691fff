// Turns a stream of token ids into UTF-8 text that never ends inside a character.
#pragma once

#include <cstdint>
#include <string>

#include "text/tokenizer.h"

namespace minicpm {

class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}

  /// The text that became complete with this token (may be empty). Bytes that can never become valid UTF-8 are replaced
  /// by U+FFFD.
  std::string push(int32_t id);
  /// What is left at the end; an unfinished character becomes U+FFFD.
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  std::string pending_;
};

}  // namespace minicpm

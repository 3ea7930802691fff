// WordPiece, the vocabulary of BERT models, which the speech decoder of MiniCPM-o 2.6 reads its text with.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/added_tokens.h"

namespace minicpm {

/// Immutable; may be used by several threads.
class WordPiece {
 public:
  /// From the content of a tokenizer.json with a WordPiece model, BertNormalizer and BertPreTokenizer; `source` names
  /// it in messages. Throws Error bad_file, unsupported.
  static WordPiece from_json(std::string_view json, const std::string& source);

  /// Ids of the text. Added tokens ("[laugh]") in it are recognised; nothing is added.
  std::vector<int32_t> encode(std::string_view text) const;

  std::optional<int32_t> token_id(std::string_view text) const;
  int32_t size() const { return size_; }

 private:
  struct Rules {
    bool clean_text = true, handle_chinese_chars = true, strip_accents = true, lowercase = true;
  };
  void encode_plain(std::string_view text, std::vector<int32_t>& ids) const;
  std::vector<std::string> words(std::string_view text) const;
  void encode_word(std::string_view word, std::vector<int32_t>& ids) const;

  Rules rules_;
  std::string prefix_;  // of pieces that continue a word: "##"
  int64_t longest_word_ = 100;
  int32_t unknown_ = 0, size_ = 0;
  std::unordered_map<std::string, int32_t> ids_;
  AddedTokenSet added_;
};

}  // namespace minicpm

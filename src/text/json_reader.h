// Reads the JSON files of tokenizers. Their vocabularies and merges are too large for a document tree, so they go to
// tables while the text is parsed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/bpe_model.h"

namespace minicpm {

enum class JsonLayout {
  kTokenizer,   // tokenizer.json: "model": {"vocab": {...}, "merges": [...]}
  kVocabulary,  // vocab.json, added_tokens.json: one object of texts and ids
  kDocument,    // any other file
};

struct TokenizerDocument {
  Json root;         // everything but the tables
  BpeTables tables;  // of tokenizer.json; for kVocabulary its tokens and ids
  bool has_vocab = false;
  bool has_merges = false;
};

/// Parses `text`. Throws Error bad_file naming `source` and the place: text that is not JSON, nesting beyond 64 levels,
/// vocabulary entries without a whole number from 0 to 2^31 - 1, merges that are neither "a b" nor ["a", "b"].
TokenizerDocument read_tokenizer_document(std::string_view text, JsonLayout layout, const std::string& source);

}  // namespace minicpm

// Readers of the single files behind a tokenizer; tokenizer_loader.h chooses among them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/added_tokens.h"
#include "text/bpe_tokenizer.h"
#include "text/sentencepiece_model.h"

namespace minicpm {

/// What tokenizer_config.json adds to a vocabulary.
struct TokenizerConfig {
  std::vector<AddedTokenRule> added;         // added_tokens_decoder
  std::vector<std::string> special_texts;    // additional_special_tokens and the named ones
  std::optional<std::string> bos, eos, pad;  // texts
  std::optional<std::string> tokenizer_class;
};

/// What the tokenizer files of a Hugging Face folder say: one of `bpe` and `sentencepiece` is there.
struct TokenizerFolder {
  TokenizerConfig config;
  std::optional<BpeSpec> bpe;
  std::optional<SentencePieceModel> sentencepiece;
  std::vector<AddedTokenRule> sentencepiece_added;
};

/// Throws Error not_found, bad_file, unsupported.
TokenizerFolder read_tokenizer_folder(const std::filesystem::path& folder);

/// Throws Error bad_file naming `source` and the field.
TokenizerConfig read_tokenizer_config(std::string_view json, const std::string& source);

/// tokenizer.json without `config`'s additions. Throws Error bad_file, unsupported.
BpeSpec read_tokenizer_json(std::string_view json, const std::string& source);

/// One added token in the form that tokenizer.json and tokenizer_config.json share; `where` names it in messages.
AddedTokenRule read_added_token(const Json& json, std::optional<int64_t> id, const std::string& where);

}  // namespace minicpm

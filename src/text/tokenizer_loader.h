// Opens the tokenizer of a model.
#pragma once

#include <filesystem>
#include <memory>

#include "text/tokenizer.h"

namespace minicpm {

/// A vocabulary as GGUF metadata holds it; io/ fills it, so that text/ knows nothing of the file format.
struct GgufVocabulary {
  std::string source;  // the file, for messages
  std::string model;   // tokenizer.ggml.model: "gpt2" or "llama"
  std::string pre;     // tokenizer.ggml.pre: "qwen2", "llama-bpe", ...; may be empty
  std::vector<std::string> tokens;
  std::vector<float> scores;        // "llama" only
  std::vector<int32_t> types;       // 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte
  std::vector<std::string> merges;  // "gpt2" only, "a b"
  std::optional<int32_t> bos, eos, unk, pad;
  bool add_space_prefix = false;
};

/// A Hugging Face folder: `tokenizer.json`, or `vocab.json` + `merges.txt` + `added_tokens.json`, or `tokenizer.model`;
/// `tokenizer_config.json` where present names bos and eos and adds tokens. Throws Error not_found, bad_file,
/// unsupported.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder);
/// Throws Error bad_file, unsupported.
std::unique_ptr<Tokenizer> make_tokenizer(const GgufVocabulary& vocabulary);

/// The vocabulary of a Hugging Face folder as GGUF metadata holds it, with `size` entries (rows of the embedding): ids
/// without a token get a name of their own and are marked unused. Throws Error as load_tokenizer(), bad_file for an id
/// outside `size`, and unsupported for a tokenizer that GGUF metadata cannot describe.
GgufVocabulary gguf_vocabulary(const std::filesystem::path& folder, int64_t size);

/// From the content of a tokenizer.json; `source` names it in messages. Throws Error bad_file, unsupported.
std::unique_ptr<Tokenizer> make_tokenizer_from_json(std::string_view json, std::string_view source);
/// From the content of a SentencePiece model file. Its control pieces are its added tokens.
std::unique_ptr<Tokenizer> make_tokenizer_from_sentencepiece(std::string_view bytes, std::string_view source);

}  // namespace minicpm

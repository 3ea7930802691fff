// Text to token ids and back, for all vocabularies of the family.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace minicpm {

/// Which added tokens are recognised inside the text that `encode` gets.
enum class ParseSpecial {
  kNone,        // user text: a typed "<|im_end|>" is ordinary text, never a control token
  kAll,         // prompts made by the program
  kNonSpecial,  // only added tokens that are not flagged special (<think>, <tool_call>)
};

/// A piece of a prompt. Control pieces are made by the program and parsed for special tokens; the others come from the
/// user, and what looks like a special token in them is ordinary text.
struct PromptPiece {
  std::string text;
  bool control = false;
};
std::string join(std::span<const PromptPiece> pieces);

struct AddedToken {
  std::string text;
  int32_t id = 0;
  bool special = false;
};

/// Immutable after loading; safe to use from several threads.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// No BOS or EOS is added. `text` should be UTF-8; invalid bytes are encoded as bytes where the vocabulary can.
  virtual std::vector<int32_t> encode(std::string_view text, ParseSpecial special) const = 0;
  /// Encodes the joined text of all pieces, so that merges cross their borders as in the official code, but recognises
  /// special tokens (all kinds) only where the match lies entirely in one control piece.
  virtual std::vector<int32_t> encode(std::span<const PromptPiece> pieces) const = 0;
  /// The bytes of one token; empty for ids outside the vocabulary. Special tokens give their text.
  virtual std::string token_bytes(int32_t id) const = 0;
  /// Bytes of all ids. `skip_special` drops tokens flagged special.
  virtual std::string decode(std::span<const int32_t> ids, bool skip_special) const = 0;

  virtual int32_t vocab_size() const = 0;
  /// The id of an added or ordinary token by its text, if there is one.
  virtual std::optional<int32_t> token_id(std::string_view text) const = 0;
  virtual bool is_special(int32_t id) const = 0;
  virtual const std::vector<AddedToken>& added_tokens() const = 0;

  /// As the files declare them, if they do.
  virtual std::optional<int32_t> bos_id() const = 0;
  virtual std::optional<int32_t> eos_id() const = 0;
  /// "bpe (qwen2)", "sentencepiece", ... for inspect.
  virtual std::string description() const = 0;
};

}  // namespace minicpm

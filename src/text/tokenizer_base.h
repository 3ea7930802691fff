// What all tokenizers share: added tokens are cut out of the text, the rest goes to the vocabulary's own rules.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/added_tokens.h"
#include "text/tokenizer.h"

namespace minicpm {

/// Half-open range of bytes of the joined text.
struct ByteRange {
  size_t begin, end;
};

/// A stretch of the text without recognised added tokens.
struct TextSegment {
  std::string_view text;
  size_t offset = 0;  // of `text` in the whole
  /// Where the program speaks; null when the caller gave one plain text.
  const std::vector<ByteRange>* control = nullptr;

  /// Whether [begin, end) of `text` lies inside one control piece.
  bool in_control(size_t begin, size_t end) const;
};

class TokenizerBase : public Tokenizer {
 public:
  std::vector<int32_t> encode(std::string_view text, ParseSpecial special) const final;
  std::vector<int32_t> encode(std::span<const PromptPiece> pieces) const final;
  std::string token_bytes(int32_t id) const final;
  std::string decode(std::span<const int32_t> ids, bool skip_special) const final;
  int32_t vocab_size() const final;
  std::optional<int32_t> token_id(std::string_view text) const final;
  bool is_special(int32_t id) const final;
  const std::vector<AddedToken>& added_tokens() const final { return added_.tokens(); }
  std::optional<int32_t> bos_id() const final { return bos_; }
  std::optional<int32_t> eos_id() const final { return eos_; }
  std::string description() const final { return description_; }

 protected:
  TokenizerBase(AddedTokenSet added, std::string description)
      : added_(std::move(added)), description_(std::move(description)) {}

  /// Appends the ids of a stretch of text that is not empty.
  virtual void encode_segment(const TextSegment& segment, std::vector<int32_t>& ids) const = 0;
  /// The bytes of a token of the vocabulary proper; empty for other ids.
  virtual std::string_view model_bytes(int32_t id) const = 0;
  virtual std::optional<int32_t> model_id(std::string_view bytes) const = 0;
  /// Largest id of the vocabulary proper + 1.
  virtual int32_t model_id_limit() const = 0;

  const AddedTokenSet& added() const { return added_; }

 public:
  void set_bos(std::optional<int32_t> id) { bos_ = id; }
  void set_eos(std::optional<int32_t> id) { eos_ = id; }

 private:
  std::vector<int32_t> encode_filtered(std::string_view text, const std::vector<ByteRange>* control,
                                       const AddedTokenSet::Filter& allowed) const;

  AddedTokenSet added_;
  std::string description_;
  std::optional<int32_t> bos_, eos_;
};

}  // namespace minicpm

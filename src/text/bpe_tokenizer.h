// The tokenizer of Qwen and Llama 3 vocabularies (byte level), and of SentencePiece vocabularies that were converted to
// merges.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "text/bpe_model.h"
#include "text/pretokenizer.h"
#include "text/tokenizer_base.h"

namespace minicpm {

/// Everything a file says about a BPE tokenizer.
struct BpeSpec {
  std::string source;       // the file, for messages
  std::string description;  // "bpe (qwen2)"
  BpeTables tables;
  BpeAlphabet alphabet = BpeAlphabet::kByteLevel;
  bool ignore_merges = false;     // a word that is a token is not built by merges
  bool nfc = false;               // normalise the text between added tokens
  bool add_space_prefix = false;  // kByteFallback only: U+2581 before each segment
  Pretokenizer pretokenizer;      // cuts segments into words
  std::vector<AddedTokenRule> added;
};

class BpeTokenizer final : public TokenizerBase {
 public:
  /// Throws Error bad_file.
  static std::unique_ptr<BpeTokenizer> make(BpeSpec spec);

 private:
  BpeTokenizer(BpeSpec& spec, AddedTokenSet added, BpeModel model);
  void encode_segment(const TextSegment& segment, std::vector<int32_t>& ids) const override;
  void encode_valid(std::string_view text, std::vector<int32_t>& ids) const;
  std::string_view model_bytes(int32_t id) const override { return model_.bytes(id); }
  std::optional<int32_t> model_id(std::string_view bytes) const override { return model_.id_of_bytes(bytes); }
  int32_t model_id_limit() const override { return model_.id_limit(); }

  BpeModel model_;
  BpeAlphabet alphabet_;
  bool nfc_;
  bool add_space_prefix_;
  Pretokenizer pretokenizer_;
};

}  // namespace minicpm

// The tokenizer of SentencePiece vocabularies: adjacent symbols merge by the score of the piece they form.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "text/merge.h"
#include "text/sentencepiece_model.h"
#include "text/tokenizer_base.h"

namespace minicpm {

class SentencePieceTokenizer final : public TokenizerBase {
 public:
  /// Pieces flagged as added special tokens are recognised only where added tokens are, also if they are user-defined;
  /// the one exception is `encode(text, ...)`, which always matches user-defined pieces as the published code does.
  /// Throws Error bad_file.
  static std::unique_ptr<SentencePieceTokenizer> make(SentencePieceModel model, std::vector<AddedTokenRule> added,
                                                      const std::string& source);

 private:
  struct Output;
  SentencePieceTokenizer(SentencePieceModel model, AddedTokenSet added, const std::string& source);
  void index_pieces(const std::string& source);
  void index_bytes(const std::string& source);

  void encode_segment(const TextSegment& segment, std::vector<int32_t>& ids) const override;
  std::vector<MergeSymbol> initial_symbols(std::string_view marked, const TextSegment& segment) const;
  void append_piece(std::string_view piece, Output& output) const;
  void append_unknown(std::string_view piece, Output& output) const;
  /// The piece of that text that text may turn into: normal, user-defined or unused.
  std::optional<int32_t> find_piece(std::string_view text) const;

  std::string_view model_bytes(int32_t id) const override;
  std::optional<int32_t> model_id(std::string_view bytes) const override;
  int32_t model_id_limit() const override { return static_cast<int32_t>(model_.pieces.size()); }

  SentencePieceModel model_;
  StringIndex index_;  // over model_.pieces
  size_t longest_piece_ = 0;
  std::vector<uint32_t> priorities_;   // by id; smaller merges first
  StringList bytes_;                   // by id
  std::vector<int32_t> user_defined_;  // ids in the order of the matcher's strings
  StringMatcher user_defined_matcher_;
  int32_t byte_ids_[256];
  int32_t unknown_id_ = -1;
};

}  // namespace minicpm

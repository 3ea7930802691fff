#include "text/bpe_tokenizer.h"

#include <algorithm>

#include "base/error.h"
#include "text/normalize.h"
#include "text/space_mark.h"
#include "text/utf8.h"

namespace minicpm {
namespace {

/// Added tokens may take ids of the vocabulary only under the text that it has there, and may lie a little beyond it.
void check_against_vocabulary(const AddedTokenSet& added, const BpeModel& model, const std::string& source) {
  const int64_t limit = int64_t{model.id_limit()} + static_cast<int64_t>(added.tokens().size()) + 65536;
  for (const AddedToken& token : added.tokens()) {
    if (token.id < 0 || token.id >= limit) {
      fail(ErrorCode::kBadFile, "{}: added token \"{}\" has id {}, expected 0 to {}", source, token.text, token.id,
           limit - 1);
    }
    const std::string_view there = model.bytes(token.id);
    if (!there.empty() && model.id_of_spelling(token.text) != token.id && there != token.text) {
      fail(ErrorCode::kBadFile, "{}: added token \"{}\" has id {}, which the vocabulary gives to \"{}\"", source,
           token.text, token.id, there);
    }
  }
}

}  // namespace

std::unique_ptr<BpeTokenizer> BpeTokenizer::make(BpeSpec spec) {
  AddedTokenSet added(std::move(spec.added), spec.source);
  std::vector<int32_t> special;
  for (const AddedToken& token : added.tokens()) {
    if (token.special) special.push_back(token.id);
  }
  BpeModel model(std::move(spec.tables), spec.alphabet, spec.ignore_merges, special, spec.source);
  check_against_vocabulary(added, model, spec.source);
  return std::unique_ptr<BpeTokenizer>(new BpeTokenizer(spec, std::move(added), std::move(model)));
}

BpeTokenizer::BpeTokenizer(BpeSpec& spec, AddedTokenSet added, BpeModel model)
    : TokenizerBase(std::move(added), std::move(spec.description)),
      model_(std::move(model)),
      alphabet_(spec.alphabet),
      nfc_(spec.nfc),
      add_space_prefix_(spec.add_space_prefix),
      pretokenizer_(std::move(spec.pretokenizer)) {}

void BpeTokenizer::encode_segment(const TextSegment& segment, std::vector<int32_t>& ids) const {
  std::string with_prefix;
  std::string_view text = segment.text;
  if (add_space_prefix_) {
    with_prefix.append(" ").append(text);
    text = with_prefix;
  }
  while (!text.empty()) {
    const size_t valid = valid_utf8_prefix(text);
    if (valid > 0) encode_valid(text.substr(0, valid), ids);
    text.remove_prefix(valid);
    const size_t invalid = invalid_utf8_prefix(text);
    model_.encode_bytes(text.substr(0, invalid), ids);
    text.remove_prefix(invalid);
  }
}

void BpeTokenizer::encode_valid(std::string_view text, std::vector<int32_t>& ids) const {
  std::string normalized;
  if (nfc_) text = normalize_nfc(text, normalized);
  std::string marked;
  if (alphabet_ == BpeAlphabet::kByteFallback) {
    marked = to_space_marks(text);
    text = marked;
  }
  std::vector<Pretokenizer::Piece> words;
  pretokenizer_.split(text, words);
  for (const Pretokenizer::Piece& word : words)
    model_.encode_word(text.substr(word.begin, word.end - word.begin), ids);
}

}  // namespace minicpm

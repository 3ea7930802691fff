#include "text/sentencepiece_tokenizer.h"

#include <bit>
#include <cmath>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "text/space_mark.h"
#include "text/utf8.h"

namespace minicpm {
namespace {

constexpr size_t kMaxPieceBytes = 1024;  // real pieces have at most some tens of bytes; bounds the recursion below

/// A key that orders like the score, best first.
uint32_t priority_of(float score) {
  const auto bits = std::bit_cast<uint32_t>(score + 0.0f);  // no negative zero
  const uint32_t ascending = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
  return ~ascending;
}

bool arises_from_text(PieceType type) {
  return type == PieceType::kNormal || type == PieceType::kUserDefined || type == PieceType::kUnused;
}

void check_added(const AddedTokenSet& added, size_t pieces, const std::string& source) {
  const size_t limit = pieces + added.tokens().size() + 65536;
  for (const AddedToken& token : added.tokens()) {
    if (static_cast<size_t>(token.id) >= limit) {
      fail(ErrorCode::kBadFile, "{}: added token \"{}\" has id {}, expected 0 to {}", source, token.text, token.id,
           limit - 1);
    }
  }
}

/// Bytes of the original text behind `length` bytes at `at` of the text with space marks. `original` starts there.
size_t original_length(std::string_view marked, std::string_view original) {
  size_t length = 0;
  while (!marked.empty() && length < original.size()) {
    marked.remove_prefix(original[length] == ' ' ? kSpaceMark.size() : 1);
    ++length;
  }
  return length;
}

}  // namespace

/// The ids of one segment in the making.
struct SentencePieceTokenizer::Output {
  std::vector<int32_t>& ids;
  bool allow_special;          // whether text may turn into pieces that are special tokens
  bool after_unknown = false;  // the last id stands for characters without a piece
  /// How the unused pieces that arose while merging came about: the length of their left part.
  std::unordered_map<std::string_view, size_t> unused_left;
};

std::unique_ptr<SentencePieceTokenizer> SentencePieceTokenizer::make(SentencePieceModel model,
                                                                     std::vector<AddedTokenRule> added,
                                                                     const std::string& source) {
  AddedTokenSet added_set(std::move(added), source);
  check_added(added_set, model.pieces.size(), source);
  return std::unique_ptr<SentencePieceTokenizer>(
      new SentencePieceTokenizer(std::move(model), std::move(added_set), source));
}

SentencePieceTokenizer::SentencePieceTokenizer(SentencePieceModel model, AddedTokenSet added, const std::string& source)
    : TokenizerBase(std::move(added), "sentencepiece"), model_(std::move(model)), index_(model_.pieces.size()) {
  MINICPM_CHECK(model_.scores.size() == model_.pieces.size() && model_.types.size() == model_.pieces.size());
  if (model_.pieces.size() > INT32_MAX) fail(ErrorCode::kBadFile, "{}: too many pieces", source);
  index_pieces(source);
  index_bytes(source);
  set_bos(model_.bos);
  set_eos(model_.eos);
}

void SentencePieceTokenizer::index_pieces(const std::string& source) {
  std::vector<std::string> user_defined;
  for (size_t i = 0; i < model_.pieces.size(); ++i) {
    const std::string_view piece = model_.pieces[i];
    const PieceType type = model_.types[i];
    if (piece.empty() || piece.size() > kMaxPieceBytes || valid_utf8_prefix(piece) != piece.size()) {
      fail(ErrorCode::kBadFile, "{}: piece {} must be UTF-8 of 1 to {} bytes", source, i, kMaxPieceBytes);
    }
    if (!std::isfinite(model_.scores[i])) fail(ErrorCode::kBadFile, "{}: piece {} has no finite score", source, i);
    priorities_.push_back(priority_of(model_.scores[i]));
    if (type == PieceType::kUnknown && unknown_id_ < 0) unknown_id_ = static_cast<int32_t>(i);
    if (type == PieceType::kByte) {
      const auto byte = byte_of_token_name(piece);
      if (!byte) fail(ErrorCode::kBadFile, "{}: byte piece {} is named \"{}\"", source, i, piece);
      const char c = static_cast<char>(*byte);
      bytes_.push_back({&c, 1});
    } else {
      bytes_.push_back(arises_from_text(type) ? from_space_marks(piece) : std::string(piece));
    }
    if (!arises_from_text(type)) continue;
    if (!index_.insert(model_.pieces, i)) {
      fail(ErrorCode::kBadFile, "{}: the vocabulary lists \"{}\" twice", source, piece);
    }
    longest_piece_ = std::max(longest_piece_, piece.size());
    if (type == PieceType::kUserDefined) {
      user_defined.emplace_back(piece);
      user_defined_.push_back(static_cast<int32_t>(i));
    }
  }
  user_defined_matcher_ = StringMatcher(std::move(user_defined));
}

void SentencePieceTokenizer::index_bytes(const std::string& source) {
  std::fill(std::begin(byte_ids_), std::end(byte_ids_), -1);
  for (size_t i = 0; i < model_.pieces.size(); ++i) {
    if (model_.types[i] == PieceType::kByte) byte_ids_[static_cast<uint8_t>(bytes_[i][0])] = static_cast<int32_t>(i);
  }
  if (!model_.byte_fallback) {
    if (unknown_id_ < 0) fail(ErrorCode::kBadFile, "{}: the vocabulary has no unknown piece and no bytes", source);
    return;
  }
  for (unsigned byte = 0; byte < 256; ++byte) {
    if (byte_ids_[byte] < 0) {
      fail(ErrorCode::kBadFile, "{}: the vocabulary has no byte piece \"{}\"", source,
           byte_token_name(static_cast<uint8_t>(byte)));
    }
  }
}

std::optional<int32_t> SentencePieceTokenizer::find_piece(std::string_view text) const {
  if (text.size() > longest_piece_) return std::nullopt;
  const auto i = index_.find(model_.pieces, text);
  return i ? std::optional(static_cast<int32_t>(*i)) : std::nullopt;
}

void SentencePieceTokenizer::encode_segment(const TextSegment& segment, std::vector<int32_t>& ids) const {
  const std::string marked = (model_.add_space_prefix ? std::string(kSpaceMark) : "") + to_space_marks(segment.text);
  if (marked.size() > INT32_MAX) {
    fail(ErrorCode::kInvalidRequest, "a text of {} bytes is too long to be encoded", segment.text.size());
  }
  const std::string_view text = marked;
  Output output{ids, segment.control == nullptr, false, {}};
  std::vector<MergeSymbol> symbols = initial_symbols(text, segment);
  merge_symbols(symbols, [&](const MergeSymbol& left, const MergeSymbol& right) -> std::optional<MergeCandidate> {
    const std::string_view joined = text.substr(left.begin, left.length + right.length);
    const auto id = find_piece(joined);
    if (!id || (!output.allow_special && is_special(*id))) return std::nullopt;
    if (model_.types[static_cast<size_t>(*id)] == PieceType::kUnused) output.unused_left[joined] = left.length;
    return MergeCandidate{priorities_[static_cast<size_t>(*id)], *id};
  });
  for (const MergeSymbol& symbol : symbols) {
    if (symbol.frozen) {
      ids.push_back(symbol.id);
      output.after_unknown = false;
    } else {
      append_piece(text.substr(symbol.begin, symbol.length), output);
    }
  }
}

std::vector<MergeSymbol> SentencePieceTokenizer::initial_symbols(std::string_view marked,
                                                                 const TextSegment& segment) const {
  std::vector<MergeSymbol> symbols;
  symbols.reserve(marked.size());
  std::string_view original = segment.text;
  const auto push = [&](int32_t id, size_t at, size_t length, bool frozen) {
    symbols.push_back({id, static_cast<uint32_t>(at), static_cast<uint32_t>(length), frozen});
  };
  size_t at = 0;
  if (model_.add_space_prefix) {
    push(-1, 0, kSpaceMark.size(), false);
    at = kSpaceMark.size();
  }
  while (at < marked.size()) {
    int32_t matched = -1;
    size_t matched_length = 0;
    if (user_defined_matcher_.may_start(marked[at])) {
      user_defined_matcher_.match(marked, at, [&](size_t i, size_t length) {
        const size_t begin = segment.text.size() - original.size();
        const size_t end = begin + original_length(marked.substr(at, length), original);
        const bool blocked =
            segment.control != nullptr && is_special(user_defined_[i]) && !segment.in_control(begin, end);
        if (!blocked) std::tie(matched, matched_length) = std::pair(user_defined_[i], length);
      });
    }
    const size_t length = matched >= 0 ? matched_length : next_utf8(marked.substr(at)).length;
    push(matched, at, length, matched >= 0);
    original.remove_prefix(original_length(marked.substr(at, length), original));
    at += length;
  }
  return symbols;
}

void SentencePieceTokenizer::append_piece(std::string_view piece, Output& output) const {
  const auto id = find_piece(piece);
  if (!id || (!output.allow_special && is_special(*id))) return append_unknown(piece, output);
  if (model_.types[static_cast<size_t>(*id)] == PieceType::kUnused) {
    if (const auto found = output.unused_left.find(piece); found != output.unused_left.end()) {
      append_piece(piece.substr(0, found->second), output);
      append_piece(piece.substr(found->second), output);
      return;
    }
  }
  output.ids.push_back(*id);
  output.after_unknown = false;
}

void SentencePieceTokenizer::append_unknown(std::string_view piece, Output& output) const {
  if (!model_.byte_fallback) {  // neighbours without a piece share one unknown token
    if (!output.after_unknown) output.ids.push_back(unknown_id_);
    output.after_unknown = true;
    return;
  }
  for (const char byte : piece)
    output.ids.push_back(byte_ids_[static_cast<uint8_t>(byte)]);
}

std::string_view SentencePieceTokenizer::model_bytes(int32_t id) const {
  return id >= 0 && static_cast<size_t>(id) < bytes_.size() ? bytes_[static_cast<size_t>(id)] : std::string_view();
}

std::optional<int32_t> SentencePieceTokenizer::model_id(std::string_view bytes) const {
  return find_piece(to_space_marks(bytes));
}

}  // namespace minicpm

#include "text/tokenizer_base.h"

#include <algorithm>

namespace minicpm {
namespace {

bool inside_one(const std::vector<ByteRange>& ranges, size_t begin, size_t end) {
  const auto after = std::upper_bound(ranges.begin(), ranges.end(), begin,
                                      [](size_t value, const ByteRange& range) { return value < range.begin; });
  return after != ranges.begin() && end <= std::prev(after)->end;
}

}  // namespace

std::string join(std::span<const PromptPiece> pieces) {
  std::string text;
  for (const PromptPiece& piece : pieces)
    text += piece.text;
  return text;
}

bool TextSegment::in_control(size_t begin, size_t end) const {
  return control != nullptr && inside_one(*control, offset + begin, offset + end);
}

std::vector<int32_t> TokenizerBase::encode(std::string_view text, ParseSpecial special) const {
  return encode_filtered(text, nullptr, [special](const AddedToken& token, size_t, size_t) {
    return special == ParseSpecial::kAll || (special == ParseSpecial::kNonSpecial && !token.special);
  });
}

std::vector<int32_t> TokenizerBase::encode(std::span<const PromptPiece> pieces) const {
  std::string text;
  std::vector<ByteRange> control;
  for (const PromptPiece& piece : pieces) {
    if (piece.control && !piece.text.empty()) control.push_back({text.size(), text.size() + piece.text.size()});
    text += piece.text;
  }
  return encode_filtered(text, &control, [&control](const AddedToken&, size_t begin, size_t end) {
    return inside_one(control, begin, end);
  });
}

std::vector<int32_t> TokenizerBase::encode_filtered(std::string_view text, const std::vector<ByteRange>* control,
                                                    const AddedTokenSet::Filter& allowed) const {
  std::vector<int32_t> ids;
  const auto encode_until = [&](size_t begin, size_t end) {
    if (begin < end) encode_segment({text.substr(begin, end - begin), begin, control}, ids);
  };
  size_t at = 0;
  while (const auto match = added_.find(text, at, allowed)) {
    encode_until(at, match->begin);
    ids.push_back(match->id);
    at = match->end;
  }
  encode_until(at, text.size());
  return ids;
}

std::string TokenizerBase::token_bytes(int32_t id) const {
  if (const AddedToken* token = added_.by_id(id)) return token->text;
  return std::string(model_bytes(id));
}

std::string TokenizerBase::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string bytes;
  for (const int32_t id : ids) {
    const AddedToken* token = added_.by_id(id);
    if (token == nullptr) {
      bytes += model_bytes(id);
    } else if (!(skip_special && token->special)) {
      bytes += token->text;
    }
  }
  return bytes;
}

int32_t TokenizerBase::vocab_size() const {
  const std::vector<AddedToken>& tokens = added_.tokens();
  return std::max(model_id_limit(), tokens.empty() ? 0 : tokens.back().id + 1);
}

std::optional<int32_t> TokenizerBase::token_id(std::string_view text) const {
  if (const AddedToken* token = added_.by_text(text)) return token->id;
  return model_id(text);
}

bool TokenizerBase::is_special(int32_t id) const {
  const AddedToken* token = added_.by_id(id);
  return token != nullptr && token->special;
}

}  // namespace minicpm

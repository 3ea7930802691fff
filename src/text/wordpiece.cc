#include "text/wordpiece.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "text/json_reader.h"
#include "text/tokenizer_files.h"
#include "text/utf8.h"

namespace minicpm {
namespace {

struct CodeRange {
  uint32_t first, last;
};
/// What BERT sets apart as words of one character each: ideographs, not kana or Hangul.
constexpr CodeRange kIdeographs[] = {{0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
                                     {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};

bool is_ideograph(uint32_t c) {
  return std::ranges::any_of(kIdeographs, [c](const CodeRange& r) { return c >= r.first && c <= r.last; });
}

utf8proc_category_t category(uint32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

bool is_control(uint32_t c) {
  if (c == '\t' || c == '\n' || c == '\r') return false;
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CS:
      return true;
    default:
      return false;
  }
}

bool is_punctuation(uint32_t c) {
  if (c < 128) return c > 32 && c < 127 && !std::isalnum(static_cast<int>(c));
  switch (category(c)) {
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
      return true;
    default:
      return false;
  }
}

/// The parts of a character's canonical decomposition that are no marks.
void append_without_accents(std::string& out, uint32_t c) {
  std::array<utf8proc_int32_t, 32> parts;
  int boundary = 0;
  const auto option = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE);
  const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts.data(),
                                             static_cast<utf8proc_ssize_t>(parts.size()), option, &boundary);
  if (count < 0 || count > static_cast<utf8proc_ssize_t>(parts.size())) return append_utf8(out, c);
  for (utf8proc_ssize_t i = 0; i < count; ++i) {
    if (category(static_cast<uint32_t>(parts[i])) != UTF8PROC_CATEGORY_MN)
      append_utf8(out, static_cast<uint32_t>(parts[i]));
  }
}

/// Calls fn(code point) for each character.
template <typename Fn>
void each_character(std::string_view text, Fn&& fn) {
  while (!text.empty()) {
    const Utf8Step step = next_utf8(text);
    fn(step.code_point);
    text.remove_prefix(step.length);
  }
}

std::string type_of(const JsonObject& object, std::string_view key) {
  const auto part = object.find_object(key);
  return part ? part->find_string("type").value_or("") : "";
}

std::vector<AddedTokenRule> added_rules(const JsonObject& root) {
  std::vector<AddedTokenRule> rules;
  const Json* list = root.find("added_tokens");
  if (list == nullptr) return rules;
  if (!list->is_array()) fail(ErrorCode::kBadFile, "{}: \"added_tokens\" must be an array", root.source());
  for (const Json& entry : *list)
    rules.push_back(read_added_token(entry, std::nullopt, root.source() + ": added_tokens"));
  return rules;
}

}  // namespace

WordPiece WordPiece::from_json(std::string_view json, const std::string& source) {
  const TokenizerDocument document = read_tokenizer_document(json, JsonLayout::kTokenizer, source);
  const JsonObject root(document.root, source);
  const auto model = root.find_object("model");
  if (!model || model->find_string("type").value_or("") != "WordPiece" || !document.has_vocab) {
    fail(ErrorCode::kUnsupported, "{}: expected a WordPiece model", source);
  }
  if (type_of(root, "normalizer") != "BertNormalizer" || type_of(root, "pre_tokenizer") != "BertPreTokenizer") {
    fail(ErrorCode::kUnsupported, "{}: a WordPiece model without BERT's normalizer and pre_tokenizer", source);
  }
  WordPiece result;
  const JsonObject rules = *root.find_object("normalizer");
  result.rules_.clean_text = rules.find_bool("clean_text").value_or(true);
  result.rules_.handle_chinese_chars = rules.find_bool("handle_chinese_chars").value_or(true);
  result.rules_.lowercase = rules.find_bool("lowercase").value_or(true);
  result.rules_.strip_accents = rules.find_bool("strip_accents").value_or(result.rules_.lowercase);
  result.prefix_ = model->find_string("continuing_subword_prefix").value_or("##");
  result.longest_word_ = model->find_int("max_input_chars_per_word").value_or(100);
  for (size_t i = 0; i < document.tables.ids.size(); ++i)
    result.ids_.emplace(std::string(document.tables.tokens[i]), document.tables.ids[i]);
  const std::string unknown = model->find_string("unk_token").value_or("[UNK]");
  const auto found = result.ids_.find(unknown);
  if (found == result.ids_.end()) fail(ErrorCode::kBadFile, "{}: the vocabulary has no {}", source, unknown);
  result.unknown_ = found->second;
  result.added_ = AddedTokenSet(added_rules(root), source);
  for (const auto& [text, id] : result.ids_)
    result.size_ = std::max(result.size_, id + 1);
  for (const AddedToken& token : result.added_.tokens())
    result.size_ = std::max(result.size_, token.id + 1);
  return result;
}

std::optional<int32_t> WordPiece::token_id(std::string_view text) const {
  if (const AddedToken* token = added_.by_text(text)) return token->id;
  const auto found = ids_.find(std::string(text));
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

std::vector<int32_t> WordPiece::encode(std::string_view text) const {
  std::vector<int32_t> ids;
  size_t from = 0;
  const auto anywhere = [](const AddedToken&, size_t, size_t) { return true; };
  while (const auto match = added_.find(text, from, anywhere)) {
    encode_plain(text.substr(from, match->begin - from), ids);
    ids.push_back(match->id);
    from = match->end;
  }
  encode_plain(text.substr(from), ids);
  return ids;
}

void WordPiece::encode_plain(std::string_view text, std::vector<int32_t>& ids) const {
  for (const std::string& word : words(text))
    encode_word(word, ids);
}

/// The text normalised and cut at white space and around punctuation.
std::vector<std::string> WordPiece::words(std::string_view text) const {
  std::string clean;
  each_character(text, [&](uint32_t c) {
    if (rules_.clean_text && (c == 0 || c == kReplacementCharacter || is_control(c))) return;
    if (rules_.clean_text && is_unicode_space(c)) c = ' ';
    const bool apart = rules_.handle_chinese_chars && is_ideograph(c);
    if (apart) clean += ' ';
    if (rules_.strip_accents) {
      append_without_accents(clean, c);
    } else {
      append_utf8(clean, c);
    }
    if (apart) clean += ' ';
  });
  std::vector<std::string> words(1);
  each_character(clean, [&](uint32_t c) {
    if (rules_.lowercase) c = static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
    if (is_unicode_space(c)) {
      words.emplace_back();
    } else if (is_punctuation(c)) {
      words.emplace_back();
      append_utf8(words.back(), c);
      words.emplace_back();
    } else {
      append_utf8(words.back(), c);
    }
  });
  std::erase_if(words, [](const std::string& word) { return word.empty(); });
  return words;
}

/// The longest known beginning, then the longest known continuation, ...; a word that cannot be put together so is
/// unknown as a whole.
void WordPiece::encode_word(std::string_view word, std::vector<int32_t>& ids) const {
  std::vector<size_t> starts;  // of characters
  for (size_t at = 0; at < word.size(); at += next_utf8(word.substr(at)).length)
    starts.push_back(at);
  starts.push_back(word.size());
  const size_t before = ids.size();
  const auto characters = starts.size() - 1;
  if (static_cast<int64_t>(characters) > longest_word_) return ids.push_back(unknown_);
  for (size_t begin = 0; begin < characters;) {
    size_t end = characters;
    auto found = ids_.end();
    for (; end > begin; --end) {
      const std::string piece =
          (begin > 0 ? prefix_ : "") + std::string(word.substr(starts[begin], starts[end] - starts[begin]));
      found = ids_.find(piece);
      if (found != ids_.end()) break;
    }
    if (found == ids_.end()) {
      ids.resize(before);
      return ids.push_back(unknown_);
    }
    ids.push_back(found->second);
    begin = end;
  }
}

}  // namespace minicpm

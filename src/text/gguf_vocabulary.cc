// Tokenizers from the metadata of a GGUF file.
#include <algorithm>

#include "base/error.h"
#include "text/bpe_tokenizer.h"
#include "text/sentencepiece_tokenizer.h"
#include "text/space_mark.h"
#include "text/tokenizer_loader.h"

namespace minicpm {
namespace {

PieceType type_of(const GgufVocabulary& vocabulary, size_t i) {
  if (vocabulary.types.empty()) return PieceType::kNormal;
  const int32_t type = vocabulary.types[i];
  if (type < 1 || type > 6) {
    fail(ErrorCode::kBadFile, "{}: tokenizer.ggml.token_type[{}] is {}, expected 1 to 6", vocabulary.source, i, type);
  }
  return static_cast<PieceType>(type);
}

void check_sizes(const GgufVocabulary& vocabulary) {
  const size_t count = vocabulary.tokens.size();
  size_t bytes = 0;
  for (const std::string& token : vocabulary.tokens)
    bytes += token.size();
  if (count == 0 || count > INT32_MAX || bytes > size_t{1} << 30) {
    fail(ErrorCode::kBadFile, "{}: tokenizer.ggml.tokens has {} tokens of {} bytes in all", vocabulary.source, count,
         bytes);
  }
  if (!vocabulary.types.empty() && vocabulary.types.size() != count) {
    fail(ErrorCode::kBadFile, "{}: tokenizer.ggml.token_type has {} entries, expected {}", vocabulary.source,
         vocabulary.types.size(), count);
  }
  for (const auto& [name, id] : {std::pair("bos", vocabulary.bos), std::pair("eos", vocabulary.eos)}) {
    if (id && (*id < 0 || static_cast<size_t>(*id) >= count)) {
      fail(ErrorCode::kBadFile, "{}: tokenizer.ggml.{}_token_id is {}, expected 0 to {}", vocabulary.source, name, *id,
           count - 1);
    }
  }
}

AddedTokenRule added_rule(const GgufVocabulary& vocabulary, size_t i, bool special) {
  AddedTokenRule rule;
  rule.token = {vocabulary.tokens[i], static_cast<int32_t>(i), special};
  return rule;
}

struct TextCutting {
  std::string_view pattern;
  bool nfc;
  std::string_view description;
};
constexpr std::string_view kQwen2Description = "bpe (qwen2)";

/// The rules behind tokenizer.ggml.pre. Files made before that key existed, and those marked "default", say nothing;
/// the marks of the chat format tell which family they belong to.
TextCutting text_cutting(const GgufVocabulary& vocabulary) {
  const TextCutting qwen2{kQwen2Pattern, true, kQwen2Description};
  const TextCutting llama3{kLlama3Pattern, false, "bpe (llama3)"};
  const TextCutting gpt2{kGpt2Pattern, false, "bpe (gpt-2)"};
  const std::string& pre = vocabulary.pre;
  if (pre == "qwen2") return qwen2;
  if (pre == "llama-bpe" || pre == "llama3" || pre == "llama-v3") return llama3;
  if (pre == "gpt-2") return gpt2;
  if (pre.empty() || pre == "default") {
    const auto has = [&vocabulary](std::string_view text) {
      return std::find(vocabulary.tokens.begin(), vocabulary.tokens.end(), text) != vocabulary.tokens.end();
    };
    if (has("<|im_start|>")) return qwen2;
    if (has("<|start_header_id|>")) return llama3;
    return gpt2;
  }
  fail(ErrorCode::kUnsupported,
       "{}: tokenizer.ggml.pre is \"{}\", expected qwen2, llama-bpe, llama3, llama-v3, gpt-2 or default",
       vocabulary.source, pre);
}

std::unique_ptr<Tokenizer> make_bpe(const GgufVocabulary& vocabulary) {
  const TextCutting cutting = text_cutting(vocabulary);
  BpeSpec spec;
  spec.source = vocabulary.source;
  spec.description = cutting.description;
  spec.nfc = cutting.nfc;
  spec.pretokenizer.add_split(cutting.pattern, false, vocabulary.source);
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    spec.tables.tokens.push_back(vocabulary.tokens[i]);
    spec.tables.ids.push_back(static_cast<int32_t>(i));
    const PieceType type = type_of(vocabulary, i);
    const bool is_added = type == PieceType::kControl || type == PieceType::kUnknown || type == PieceType::kUserDefined;
    if (is_added && !vocabulary.tokens[i].empty()) {
      spec.added.push_back(added_rule(vocabulary, i, type != PieceType::kUserDefined));
    }
  }
  size_t bytes = 0;
  for (size_t i = 0; i < vocabulary.merges.size(); ++i) {
    const std::string_view merge = vocabulary.merges[i];
    const size_t space = merge.find(' ', 1);  // a token may begin with a space, as some converters wrote it
    if (space == std::string_view::npos || space + 1 == merge.size()) {
      fail(ErrorCode::kBadFile, "{}: tokenizer.ggml.merges[{}] must be two tokens with one space between",
           vocabulary.source, i);
    }
    bytes += merge.size();
    if (bytes > size_t{1} << 30) fail(ErrorCode::kBadFile, "{}: tokenizer.ggml.merges is too large", vocabulary.source);
    spec.tables.merge_left.push_back(merge.substr(0, space));
    spec.tables.merge_right.push_back(merge.substr(space + 1));
  }
  auto tokenizer = BpeTokenizer::make(std::move(spec));
  tokenizer->set_bos(vocabulary.bos);
  tokenizer->set_eos(vocabulary.eos);
  return tokenizer;
}

std::unique_ptr<Tokenizer> make_sentencepiece(const GgufVocabulary& vocabulary) {
  const size_t count = vocabulary.tokens.size();
  if (vocabulary.scores.size() != count) {
    fail(ErrorCode::kBadFile, "{}: tokenizer.ggml.scores has {} entries, expected {}", vocabulary.source,
         vocabulary.scores.size(), count);
  }
  SentencePieceModel model;
  std::vector<AddedTokenRule> added;
  size_t num_bytes = 0;
  for (size_t i = 0; i < count; ++i) {
    const PieceType type = type_of(vocabulary, i);
    model.pieces.push_back(vocabulary.tokens[i]);
    model.scores.push_back(vocabulary.scores[i]);
    model.types.push_back(type);
    if (type == PieceType::kControl || type == PieceType::kUnknown) added.push_back(added_rule(vocabulary, i, true));
    num_bytes += type == PieceType::kByte ? 1 : 0;
  }
  model.byte_fallback = num_bytes >= 256;
  model.add_space_prefix = vocabulary.add_space_prefix;
  model.bos = vocabulary.bos;
  model.eos = vocabulary.eos;
  return SentencePieceTokenizer::make(std::move(model), std::move(added), vocabulary.source);
}

}  // namespace

std::unique_ptr<Tokenizer> make_tokenizer(const GgufVocabulary& vocabulary) {
  check_sizes(vocabulary);
  if (vocabulary.model == "gpt2") return make_bpe(vocabulary);
  if (vocabulary.model == "llama") return make_sentencepiece(vocabulary);
  fail(ErrorCode::kUnsupported, "{}: tokenizer.ggml.model is \"{}\", expected gpt2 or llama", vocabulary.source,
       vocabulary.model);
}

}  // namespace minicpm

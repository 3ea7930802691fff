// Tokenizers of Hugging Face folders as the metadata of a GGUF file.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "text/tokenizer_files.h"
#include "text/tokenizer_loader.h"

namespace minicpm {
namespace {

int32_t type_value(PieceType type) {
  return static_cast<int32_t>(type);
}

size_t checked_id(int64_t id, const GgufVocabulary& out) {
  if (id < 0 || static_cast<size_t>(id) >= out.tokens.size()) {
    fail(ErrorCode::kBadFile, "{}: a token has id {}, but the model has {} rows", out.source, id, out.tokens.size());
  }
  return static_cast<size_t>(id);
}

/// The name of the cutting rules, by the pattern that the description stands for.
std::string cutting_name(const BpeSpec& spec) {
  if (spec.alphabet == BpeAlphabet::kByteLevel && !spec.ignore_merges) {
    if (spec.description == "bpe (qwen2)") return "qwen2";
    if (spec.description == "bpe (llama3)") return "llama-bpe";
  }
  fail(ErrorCode::kUnsupported, "{}: a tokenizer of the kind \"{}\" has no form in GGUF metadata", spec.source,
       spec.description);
}

void add_bpe(const BpeSpec& spec, GgufVocabulary& out) {
  out.model = "gpt2";
  out.pre = cutting_name(spec);
  for (size_t i = 0; i < spec.tables.tokens.size(); ++i) {
    const size_t id = checked_id(spec.tables.ids[i], out);
    out.tokens[id] = spec.tables.tokens[i];
    out.types[id] = type_value(PieceType::kNormal);
  }
  for (size_t i = 0; i < spec.tables.merge_left.size(); ++i)
    out.merges.push_back(fmt::format("{} {}", spec.tables.merge_left[i], spec.tables.merge_right[i]));
}

void add_sentencepiece(const SentencePieceModel& model, GgufVocabulary& out) {
  out.model = "llama";
  out.add_space_prefix = model.add_space_prefix;
  out.bos = model.bos;
  out.eos = model.eos;
  out.scores.assign(out.tokens.size(), 0.0f);
  for (size_t i = 0; i < model.pieces.size(); ++i) {
    const size_t id = checked_id(static_cast<int64_t>(i), out);
    out.tokens[id] = model.pieces[i];
    out.scores[id] = model.scores[i];
    out.types[id] = type_value(model.types[i]);
  }
}

void add_added(const std::vector<AddedTokenRule>& rules, GgufVocabulary& out) {
  for (const AddedTokenRule& rule : rules) {
    const size_t id = checked_id(rule.token.id, out);
    out.tokens[id] = rule.token.text;
    if (out.types[id] == type_value(PieceType::kUnknown)) continue;
    out.types[id] = type_value(rule.token.special ? PieceType::kControl : PieceType::kUserDefined);
  }
}

}  // namespace

GgufVocabulary gguf_vocabulary(const std::filesystem::path& folder, int64_t size) {
  const TokenizerFolder files = read_tokenizer_folder(folder);
  GgufVocabulary out;
  out.source = folder.string();
  out.tokens.resize(static_cast<size_t>(size));
  out.types.assign(out.tokens.size(), type_value(PieceType::kUnused));
  if (files.bpe) {
    add_bpe(*files.bpe, out);
    add_added(files.bpe->added, out);
  } else {
    add_sentencepiece(*files.sentencepiece, out);
    add_added(files.sentencepiece_added, out);
  }
  for (size_t i = 0; i < out.tokens.size(); ++i) {
    if (out.tokens[i].empty() && out.types[i] == type_value(PieceType::kUnused))
      out.tokens[i] = fmt::format("[PAD{}]", i);
  }
  const auto id_of = [&out](const std::optional<std::string>& text, std::optional<int32_t>& id) {
    if (!text) return;
    const auto at = std::ranges::find(out.tokens, *text);
    if (at != out.tokens.end()) id = static_cast<int32_t>(at - out.tokens.begin());
  };
  id_of(files.config.bos, out.bos);
  id_of(files.config.eos, out.eos);
  id_of(files.config.pad, out.pad);
  return out;
}

}  // namespace minicpm

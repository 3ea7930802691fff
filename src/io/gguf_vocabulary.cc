#include "io/gguf_vocabulary.h"

#include "base/error.h"
#include "base/log.h"

namespace minicpm {
namespace {

constexpr std::string_view kPrefix = "tokenizer.ggml.";

std::string key_of(std::string_view name) {
  return std::string(kPrefix) + std::string(name);
}

void check_count(const GgufFile& file, std::string_view name, size_t found, size_t expected) {
  if (found == 0 || found == expected) return;
  fail(ErrorCode::kBadFile, "{}: metadata \"{}\" has {} entries for {} tokens", file.path(), key_of(name), found,
       expected);
}

std::optional<int32_t> read_id(const GgufFile& file, std::string_view name, size_t vocab_size) {
  const std::string key = key_of(name);
  const auto id = file.find_int(key);
  if (!id) return std::nullopt;
  if (*id < 0 || static_cast<uint64_t>(*id) >= vocab_size) {
    log_warning("{}: metadata \"{}\" is {}, outside the {} tokens; ignored", file.path(), key, *id, vocab_size);
    return std::nullopt;
  }
  return static_cast<int32_t>(*id);
}

}  // namespace

GgufVocabulary read_vocabulary(const GgufFile& file) {
  GgufVocabulary out;
  out.source = file.path();
  const auto model = file.find_string(key_of("model"));
  const auto* tokens = file.find_strings(key_of("tokens"));
  if (!model || tokens == nullptr || tokens->empty()) {
    fail(ErrorCode::kBadFile,
         "{}: holds no vocabulary (metadata \"tokenizer.ggml.model\" and \"tokenizer.ggml.tokens\")", file.path());
  }
  if (tokens->size() > static_cast<size_t>(INT32_MAX)) fail(ErrorCode::kBadFile, "{}: too many tokens", file.path());
  out.model = *model;
  out.pre = file.find_string(key_of("pre")).value_or("");
  out.tokens = *tokens;
  if (const auto* scores = file.find_numbers(key_of("scores"))) out.scores.assign(scores->begin(), scores->end());
  if (const auto* types = file.find_ints(key_of("token_type"))) {
    for (int64_t type : *types) {
      if (type < INT32_MIN || type > INT32_MAX) {
        fail(ErrorCode::kBadFile, "{}: metadata \"{}\" holds the unknown token type {}", file.path(),
             key_of("token_type"), type);
      }
      out.types.push_back(static_cast<int32_t>(type));
    }
  }
  if (const auto* merges = file.find_strings(key_of("merges"))) out.merges = *merges;
  check_count(file, "scores", out.scores.size(), out.tokens.size());
  check_count(file, "token_type", out.types.size(), out.tokens.size());
  out.bos = read_id(file, "bos_token_id", out.tokens.size());
  out.eos = read_id(file, "eos_token_id", out.tokens.size());
  out.unk = read_id(file, "unknown_token_id", out.tokens.size());
  out.pad = read_id(file, "padding_token_id", out.tokens.size());
  // SentencePiece vocabularies put a blank before the text unless the file says otherwise.
  out.add_space_prefix = file.find_bool(key_of("add_space_prefix")).value_or(out.model == "llama");
  return out;
}

void write_vocabulary(const GgufVocabulary& vocabulary, GgufWriter& writer) {
  writer.set_string(key_of("model"), vocabulary.model);
  if (!vocabulary.pre.empty()) writer.set_string(key_of("pre"), vocabulary.pre);
  writer.set_strings(key_of("tokens"), vocabulary.tokens);
  if (!vocabulary.scores.empty()) {
    writer.set_f32s(key_of("scores"), {vocabulary.scores.begin(), vocabulary.scores.end()});
  }
  if (!vocabulary.types.empty())
    writer.set_i32s(key_of("token_type"), {vocabulary.types.begin(), vocabulary.types.end()});
  if (!vocabulary.merges.empty()) writer.set_strings(key_of("merges"), vocabulary.merges);
  const auto set_id = [&](std::string_view name, std::optional<int32_t> id) {
    if (id) writer.set_u32(key_of(name), static_cast<uint32_t>(*id));
  };
  set_id("bos_token_id", vocabulary.bos);
  set_id("eos_token_id", vocabulary.eos);
  set_id("unknown_token_id", vocabulary.unk);
  set_id("padding_token_id", vocabulary.pad);
  writer.set_bool(key_of("add_space_prefix"), vocabulary.add_space_prefix);
}

}  // namespace minicpm

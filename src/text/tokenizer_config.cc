// tokenizer_config.json: added tokens, and the names of special ones.
#include <charconv>

#include "base/error.h"
#include "text/json_reader.h"
#include "text/tokenizer_files.h"

namespace minicpm {
namespace {

/// A token given as its text or as an object with "content".
std::optional<std::string> token_text(const JsonObject& config, std::string_view key) {
  const Json* value = config.find(key);
  if (value == nullptr || !value->is_object()) return config.find_string(key);
  return JsonObject(*value, fmt::format("{}: {}", config.source(), key)).find_string("content");
}

/// The number written in the key of an object; json has no other keys than strings.
int64_t id_of_key(const std::string& key, const std::string& source) {
  int64_t id = 0;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
  if (error != std::errc() || end != key.data() + key.size()) {
    fail(ErrorCode::kBadFile, "{}: added_tokens_decoder has the key \"{}\", expected an id", source, key);
  }
  return id;
}

}  // namespace

TokenizerConfig read_tokenizer_config(std::string_view json, const std::string& source) {
  const TokenizerDocument document = read_tokenizer_document(json, JsonLayout::kDocument, source);
  const JsonObject root(document.root, source);
  TokenizerConfig config;
  if (const auto decoder = root.find_object("added_tokens_decoder")) {
    for (const auto& [key, value] : decoder->json().items()) {
      const std::string where = fmt::format("{}: added_tokens_decoder[{}]", source, key);
      config.added.push_back(read_added_token(value, id_of_key(key, source), where));
    }
  }
  if (const Json* list = root.find("additional_special_tokens"); list != nullptr && list->is_array()) {
    for (const Json& item : *list) {
      if (item.is_string()) config.special_texts.push_back(item.get<std::string>());
      if (item.is_object()) {
        const JsonObject object(item, fmt::format("{}: additional_special_tokens", source));
        if (auto text = object.find_string("content")) config.special_texts.push_back(*text);
      }
    }
  }
  config.bos = token_text(root, "bos_token");
  config.eos = token_text(root, "eos_token");
  config.pad = token_text(root, "pad_token");
  for (const char* key : {"bos_token", "eos_token", "unk_token", "pad_token"}) {
    if (auto text = token_text(root, key)) config.special_texts.push_back(*text);
  }
  config.tokenizer_class = root.find_string("tokenizer_class");
  return config;
}

}  // namespace minicpm

// tokenizer.json: the format of the Hugging Face tokenizers library, as far as the published models use it.
#include "base/error.h"
#include "text/json_reader.h"
#include "text/space_mark.h"
#include "text/tokenizer_files.h"

namespace minicpm {
namespace {

std::string required_string(const JsonObject& object, std::string_view key) {
  auto value = object.find_string(key);
  if (!value) fail(ErrorCode::kBadFile, "{}: \"{}\" is missing", object.source(), key);
  return *value;
}

/// The members of a "Sequence" of normalizers or pre_tokenizers, or the one thing itself.
template <typename Visit>
void for_each_step(const JsonObject& step, std::string_view list_key, const Visit& visit) {
  const std::string type = required_string(step, "type");
  if (type != "Sequence") return visit(step, type);
  const Json* list = step.find(list_key);
  if (list == nullptr || !list->is_array()) {
    fail(ErrorCode::kBadFile, "{}: \"{}\" must be an array", step.source(), list_key);
  }
  for (const Json& member : *list)
    for_each_step(JsonObject(member, step.source()), list_key, visit);
}

/// What the normalizer and pre_tokenizer ask for.
struct TextRules {
  bool nfc = false;
  bool byte_level = false;
  bool space_marks = false;
  bool space_prefix = false;
  std::string pattern;  // of the last Split
};

/// {"String": text} or {"Regex": text}.
std::string read_pattern(const JsonObject& step, bool& literal) {
  const auto pattern = step.find_object("pattern");
  if (!pattern) fail(ErrorCode::kBadFile, "{}: \"pattern\" is missing", step.source());
  literal = pattern->has("String");
  return required_string(*pattern, literal ? "String" : "Regex");
}

void read_normalizer(const JsonObject& normalizer, TextRules& rules) {
  for_each_step(normalizer, "normalizers", [&rules](const JsonObject& step, const std::string& type) {
    if (type == "NFC") {
      rules.nfc = true;
    } else if (type == "Replace") {
      bool literal = false;
      const std::string pattern = read_pattern(step, literal);
      if (!literal || pattern != " " || required_string(step, "content") != kSpaceMark) {
        fail(ErrorCode::kUnsupported, "{}: only the replacement of spaces by U+2581 is supported", step.source());
      }
      rules.space_marks = true;
    } else if (type == "Prepend") {
      if (required_string(step, "prepend") != kSpaceMark) {
        fail(ErrorCode::kUnsupported, "{}: only U+2581 can be put before the text", step.source());
      }
      rules.space_prefix = true;
    } else {
      fail(ErrorCode::kUnsupported, "{}: the normalizer \"{}\" is not supported", step.source(), type);
    }
  });
}

void read_byte_level(const JsonObject& step, Pretokenizer& pretokenizer, TextRules& rules) {
  if (step.find_bool("add_prefix_space").value_or(true)) {
    fail(ErrorCode::kUnsupported, "{}: ByteLevel with add_prefix_space is not supported", step.source());
  }
  if (step.find_bool("use_regex").value_or(true)) pretokenizer.add_split(kGpt2Pattern, false, step.source());
  rules.byte_level = true;
}

void read_metaspace(const JsonObject& step, TextRules& rules) {
  const bool split = step.find_bool("split").value_or(true);
  const std::string scheme = step.find_string("prepend_scheme").value_or("always");
  const std::string mark = step.find_string("replacement").value_or(std::string(kSpaceMark));
  if (split || mark != kSpaceMark || (scheme != "never" && scheme != "always")) {
    fail(ErrorCode::kUnsupported,
         "{}: Metaspace is supported with \"split\" false, U+2581 and the prepend_scheme \"never\" or \"always\"",
         step.source());
  }
  rules.space_marks = true;
  rules.space_prefix = scheme == "always";
}

void read_pretokenizer(const JsonObject& pretokenizer_json, Pretokenizer& pretokenizer, TextRules& rules) {
  for_each_step(pretokenizer_json, "pretokenizers", [&](const JsonObject& step, const std::string& type) {
    if (rules.byte_level) {
      fail(ErrorCode::kUnsupported, "{}: \"{}\" after ByteLevel is not supported", step.source(), type);
    }
    if (type == "Split") {
      bool literal = false;
      const std::string pattern = read_pattern(step, literal);
      if (step.find_string("behavior").value_or("Isolated") != "Isolated") {
        fail(ErrorCode::kUnsupported, "{}: only the behavior \"Isolated\" of Split is supported", step.source());
      }
      pretokenizer.add_split(pattern, literal, step.source());
      rules.pattern = pattern;
    } else if (type == "Digits") {
      const bool individual = step.find_bool("individual_digits").value_or(false);
      pretokenizer.add_split(individual ? R"(\p{N})" : R"(\p{N}+)", false, step.source());
    } else if (type == "ByteLevel") {
      read_byte_level(step, pretokenizer, rules);
    } else if (type == "Metaspace") {
      read_metaspace(step, rules);
    } else {
      fail(ErrorCode::kUnsupported, "{}: the pre_tokenizer \"{}\" is not supported", step.source(), type);
    }
  });
}

/// Settings of the model that change its output and are not implemented.
void check_model(const JsonObject& model) {
  const std::string type = model.find_string("type").value_or("BPE");
  if (type != "BPE") {
    fail(ErrorCode::kUnsupported, "{}: tokenizers of type \"{}\" are not supported", model.source(), type);
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!model.find_string(key).value_or("").empty()) {
      fail(ErrorCode::kUnsupported, "{}: \"{}\" is not supported", model.source(), key);
    }
  }
  if (model.find_number("dropout").value_or(0) != 0) {
    fail(ErrorCode::kUnsupported, "{}: \"dropout\" is not supported", model.source());
  }
}

std::vector<AddedTokenRule> read_added_tokens(const JsonObject& root) {
  std::vector<AddedTokenRule> rules;
  const Json* list = root.find("added_tokens");
  if (list == nullptr) return rules;
  if (!list->is_array()) fail(ErrorCode::kBadFile, "{}: \"added_tokens\" must be an array", root.source());
  for (size_t i = 0; i < list->size(); ++i)
    rules.push_back(read_added_token((*list)[i], std::nullopt, fmt::format("{}: added_tokens[{}]", root.source(), i)));
  return rules;
}

/// For descriptions: the published kind of vocabulary that has this pattern.
std::string byte_level_description(std::string_view pattern) {
  if (pattern == kQwen2Pattern) return "bpe (qwen2)";
  if (pattern == kLlama3Pattern) return "bpe (llama3)";
  return "bpe";
}

}  // namespace

AddedTokenRule read_added_token(const Json& json, std::optional<int64_t> id, const std::string& where) {
  const JsonObject object(json, where);
  AddedTokenRule rule;
  if (!id) id = object.find_int("id");
  if (!id) fail(ErrorCode::kBadFile, "{}: \"id\" is missing", where);
  if (*id < 0 || *id > INT32_MAX) {
    fail(ErrorCode::kBadFile, "{}: \"id\" is {}, expected 0 to 2147483647", where, *id);
  }
  rule.token.id = static_cast<int32_t>(*id);
  rule.token.text = required_string(object, "content");
  rule.token.special = object.find_bool("special").value_or(false);
  rule.lstrip = object.find_bool("lstrip").value_or(false);
  rule.rstrip = object.find_bool("rstrip").value_or(false);
  rule.single_word = object.find_bool("single_word").value_or(false);
  return rule;
}

BpeSpec read_tokenizer_json(std::string_view json, const std::string& source) {
  TokenizerDocument document = read_tokenizer_document(json, JsonLayout::kTokenizer, source);
  const JsonObject root(document.root, source);
  const auto model = root.find_object("model");
  if (!model) fail(ErrorCode::kBadFile, "{}: \"model\" is missing", source);
  check_model(*model);
  if (!document.has_vocab) fail(ErrorCode::kBadFile, "{}: \"model.vocab\" must be an object of tokens and ids", source);
  if (!document.has_merges) fail(ErrorCode::kBadFile, "{}: \"model.merges\" must be an array of pairs", source);

  BpeSpec spec;
  spec.source = source;
  TextRules rules;
  if (const auto normalizer = root.find_object("normalizer")) read_normalizer(*normalizer, rules);
  if (const auto pretokenizer = root.find_object("pre_tokenizer")) {
    read_pretokenizer(*pretokenizer, spec.pretokenizer, rules);
  }
  const bool byte_fallback = model->find_bool("byte_fallback").value_or(false) && rules.space_marks;
  if (rules.byte_level ? rules.space_marks : !byte_fallback) {
    fail(ErrorCode::kUnsupported,
         "{}: expected a byte-level pre_tokenizer, or byte_fallback with spaces written as U+2581", source);
  }
  spec.alphabet = rules.byte_level ? BpeAlphabet::kByteLevel : BpeAlphabet::kByteFallback;
  spec.description = rules.byte_level ? byte_level_description(rules.pattern) : "bpe (byte fallback)";
  spec.nfc = rules.nfc;
  spec.add_space_prefix = rules.space_prefix;
  spec.ignore_merges = model->find_bool("ignore_merges").value_or(false);
  spec.tables = std::move(document.tables);
  spec.added = read_added_tokens(root);
  return spec;
}

}  // namespace minicpm

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "small_vocabularies.h"

namespace minicpm {
namespace {

using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;

/// The small Qwen-like vocabulary as GGUF metadata has it.
GgufVocabulary small_bpe() {
  GgufVocabulary v;
  v.source = "model.gguf";
  v.model = "gpt2";
  v.pre = "qwen2";
  const Json json = testing::small_json();
  for (const auto& [text, id] : json["model"]["vocab"].items()) {
    v.tokens.push_back(text);
    v.types.push_back(1);
  }
  for (const auto& [text, type] : {std::pair("<|im_start|>", 3), {"<|im_end|>", 3}, {"<think>", 4}, {"[PAD0]", 5}}) {
    v.tokens.emplace_back(text);
    v.types.push_back(type);
  }
  for (const auto& [left, right] : testing::small_merges())
    v.merges.push_back(left + " " + right);
  v.bos = static_cast<int32_t>(v.tokens.size()) - 4;
  v.eos = static_cast<int32_t>(v.tokens.size()) - 3;
  return v;
}

GgufVocabulary small_llama() {
  GgufVocabulary v;
  v.source = "model.gguf";
  v.model = "llama";
  for (const testing::SmallPiece& piece : testing::small_pieces()) {
    v.tokens.push_back(piece.text);
    v.scores.push_back(piece.score);
    v.types.push_back(piece.type);
  }
  v.bos = 1;
  v.eos = 2;
  return v;
}

std::pair<ErrorCode, std::string> error_with(GgufVocabulary v, void (*change)(GgufVocabulary&)) {
  change(v);
  return error_of([&v] { make_tokenizer(v); });
}

TEST(GgufVocabularyTest, BytePairs) {
  const auto t = make_tokenizer(small_bpe());
  EXPECT_EQ(t->description(), "bpe (qwen2)");
  const auto json_tokenizer = testing::small_tokenizer();
  const std::string text = "hello world e\u0301 123";
  EXPECT_EQ(t->encode(text, ParseSpecial::kNone), json_tokenizer->encode(text, ParseSpecial::kNone));
  const int32_t start = t->bos_id().value();
  EXPECT_THAT(t->encode("<|im_start|><think>", ParseSpecial::kAll), ElementsAre(start, start + 2));
  EXPECT_TRUE(t->is_special(start));
  EXPECT_FALSE(t->is_special(start + 2));
  EXPECT_EQ(t->encode("[PAD0]", ParseSpecial::kAll).size(), 6u);  // unused: not matched
  EXPECT_EQ(t->token_bytes(start + 3), "[PAD0]");
  EXPECT_EQ(t->vocab_size(), static_cast<int32_t>(small_bpe().tokens.size()));
  EXPECT_EQ(t->eos_id(), start + 1);
}

TEST(GgufVocabularyTest, PreTokenizers) {
  const auto described = [](std::string pre, const char* added) {
    GgufVocabulary v = small_bpe();
    v.pre = std::move(pre);
    v.tokens[v.tokens.size() - 4] = added;
    return make_tokenizer(v)->description();
  };
  EXPECT_EQ(described("qwen2", "x1"), "bpe (qwen2)");
  EXPECT_EQ(described("llama-bpe", "x1"), "bpe (llama3)");
  EXPECT_EQ(described("llama3", "x1"), "bpe (llama3)");
  EXPECT_EQ(described("gpt-2", "x1"), "bpe (gpt-2)");
  // Without a name the marks of the chat format decide.
  EXPECT_EQ(described("", "<|im_start|>"), "bpe (qwen2)");
  EXPECT_EQ(described("default", "<|start_header_id|>"), "bpe (llama3)");
  EXPECT_EQ(described("default", "x1"), "bpe (gpt-2)");
  const auto [code, message] = error_with(small_bpe(), [](GgufVocabulary& v) { v.pre = "tekken"; });
  EXPECT_EQ(code, ErrorCode::kUnsupported);
  EXPECT_THAT(message, HasSubstr("model.gguf: tokenizer.ggml.pre is \"tekken\""));
}

TEST(GgufVocabularyTest, SentencePiece) {
  const auto t = make_tokenizer(small_llama());
  const auto file = make_tokenizer_from_sentencepiece(testing::small_sentencepiece(testing::small_pieces()), "x");
  const std::string text = "hello world <image> \u4F60</s>";
  EXPECT_EQ(t->encode(text, ParseSpecial::kAll), file->encode(text, ParseSpecial::kAll));
  EXPECT_EQ(t->bos_id(), 1);
  GgufVocabulary prefixed = small_llama();
  prefixed.add_space_prefix = true;
  EXPECT_EQ(make_tokenizer(prefixed)->encode("world", ParseSpecial::kNone), t->encode(" world", ParseSpecial::kNone));
}

TEST(GgufVocabularyTest, DamageIsReported) {
  const auto bpe = [](void (*change)(GgufVocabulary&)) { return error_with(small_bpe(), change).second; };
  const auto llama = [](void (*change)(GgufVocabulary&)) { return error_with(small_llama(), change).second; };
  EXPECT_THAT(bpe([](auto& v) { v.model = "bert"; }), HasSubstr("tokenizer.ggml.model is \"bert\""));
  EXPECT_THAT(bpe([](auto& v) { v.tokens.clear(); }), HasSubstr("tokenizer.ggml.tokens has 0 tokens"));
  EXPECT_THAT(bpe([](auto& v) { v.types.pop_back(); }), HasSubstr("tokenizer.ggml.token_type has"));
  EXPECT_THAT(bpe([](auto& v) { v.types[7] = 0; }), HasSubstr("token_type[7] is 0"));
  EXPECT_THAT(bpe([](auto& v) { v.merges[3] = "hello"; }), HasSubstr("tokenizer.ggml.merges[3]"));
  EXPECT_THAT(bpe([](auto& v) { v.merges[3] = ""; }), HasSubstr("tokenizer.ggml.merges[3]"));
  EXPECT_THAT(bpe([](auto& v) { v.merges[3] = "a qq"; }), HasSubstr("merge 3 names \"qq\""));
  EXPECT_THAT(bpe([](auto& v) { v.tokens[3] = v.tokens[4]; }), HasSubstr("twice"));
  EXPECT_THAT(bpe([](auto& v) { v.bos = 100000; }), HasSubstr("tokenizer.ggml.bos_token_id is 100000"));
  EXPECT_THAT(bpe([](auto& v) { v.eos = -1; }), HasSubstr("tokenizer.ggml.eos_token_id is -1"));
  EXPECT_THAT(llama([](auto& v) { v.scores.pop_back(); }), HasSubstr("tokenizer.ggml.scores has"));
  EXPECT_THAT(llama([](auto& v) { v.tokens[20] = "<0xZZ>"; }), HasSubstr("byte piece 20"));
}

/// Writes a tokenizer.json for one test.
class ExportTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "minicpm_text_XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void write(const char* name, const Json& json) const { std::ofstream(folder_ / name) << json.dump(); }

  std::filesystem::path folder_;
};

TEST_F(ExportTest, AFolderAndItsMetadataCutTextAlike) {
  write("tokenizer.json", testing::small_json());
  write("tokenizer_config.json", {{"bos_token", "<|im_start|>"}, {"eos_token", {{"content", "<|im_end|>"}}}});
  const GgufVocabulary vocabulary = gguf_vocabulary(folder_, 310);
  EXPECT_EQ(vocabulary.tokens.size(), 310u);
  EXPECT_EQ(vocabulary.types.size(), 310u);
  EXPECT_EQ(vocabulary.types[300], 3);
  EXPECT_EQ(vocabulary.types[302], 4);
  EXPECT_EQ(vocabulary.types[309], 5);
  EXPECT_EQ(vocabulary.tokens[309], "[PAD309]");
  EXPECT_EQ(vocabulary.bos, 300);
  EXPECT_EQ(vocabulary.eos, 301);
  EXPECT_EQ(vocabulary.pad, std::nullopt);
  const auto from_folder = load_tokenizer(folder_), from_metadata = make_tokenizer(vocabulary);
  for (const char* text : {"hello world", "caf\u00e9  42\n\n", "<|im_start|>hello<|im_end|><think>", "<|im_end|>x"}) {
    for (const ParseSpecial special : {ParseSpecial::kAll, ParseSpecial::kNonSpecial, ParseSpecial::kNone}) {
      EXPECT_EQ(from_folder->encode(text, special), from_metadata->encode(text, special)) << text;
    }
  }
}

TEST_F(ExportTest, RefusesWhatMetadataCannotSay) {
  Json json = testing::small_json();
  write("tokenizer.json", json);
  const auto [code, message] = error_of([&] { gguf_vocabulary(folder_, 300); });
  EXPECT_EQ(code, ErrorCode::kBadFile);
  EXPECT_THAT(message, HasSubstr("id 300"));
  json["model"]["ignore_merges"] = true;
  write("tokenizer.json", json);
  EXPECT_EQ(error_of([&] { gguf_vocabulary(folder_, 310); }).first, ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace minicpm

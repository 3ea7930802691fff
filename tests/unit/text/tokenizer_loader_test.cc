#include "text/tokenizer_loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "small_vocabularies.h"

namespace minicpm {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;
using testing::small_json;

class TokenizerLoaderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "minicpm-tokenizer-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  void write(const std::string& name, const std::string& content) {
    std::ofstream(folder_ / name, std::ios::binary) << content;
  }
  std::string load_message() {
    return error_of([this] { load_tokenizer(folder_); }).second;
  }
  /// vocab.json, merges.txt and a tokenizer_config.json that says which added tokens are special.
  void write_text_files() {
    const Json json = small_json();
    write("vocab.json", json["model"]["vocab"].dump());
    std::string merges = "#version: 0.2\n";
    for (const auto& [left, right] : testing::small_merges())
      merges += left + " " + right + "\n";
    write("merges.txt", merges);
    write("added_tokens.json", R"({"<|im_start|>": 300, "<|im_end|>": 301, "<think>": 302})");
    write("tokenizer_config.json",
          R"({"bos_token": null, "eos_token": {"content": "<|im_end|>"}, "tokenizer_class": "Qwen2Tokenizer",
              "additional_special_tokens": ["<|im_start|>"]})");
  }

  fs::path folder_;
};

TEST_F(TokenizerLoaderTest, MissingFolderAndFiles) {
  EXPECT_EQ(error_of([this] { load_tokenizer(folder_ / "absent"); }).first, ErrorCode::kNotFound);
  const auto [code, message] = error_of([this] { load_tokenizer(folder_); });
  EXPECT_EQ(code, ErrorCode::kNotFound);
  EXPECT_THAT(message, HasSubstr("has no tokenizer.json"));
}

TEST_F(TokenizerLoaderTest, TokenizerJsonWithConfig) {
  write("tokenizer.json", small_json().dump());
  write("tokenizer_config.json",
        R"({"bos_token": "<|im_start|>", "eos_token": {"content": "<|im_end|>", "lstrip": false},
            "added_tokens_decoder": {"301": {"content": "<|im_end|>", "special": true},
                                     "305": {"content": "<extra>", "special": true}}})");
  const auto t = load_tokenizer(folder_);
  EXPECT_EQ(t->bos_id(), 300);
  EXPECT_EQ(t->eos_id(), 301);
  EXPECT_THAT(t->encode("<extra><think>", ParseSpecial::kAll), ElementsAre(305, 302));
  EXPECT_EQ(t->vocab_size(), 306);
}

TEST_F(TokenizerLoaderTest, VocabularyAndMerges) {
  write_text_files();
  const auto t = load_tokenizer(folder_);
  const auto json_tokenizer = testing::small_tokenizer();
  const std::string text = "hello world <|im_end|><think> e\u0301 12";
  EXPECT_EQ(t->encode(text, ParseSpecial::kAll), json_tokenizer->encode(text, ParseSpecial::kAll));
  EXPECT_TRUE(t->is_special(300));
  EXPECT_TRUE(t->is_special(301));
  EXPECT_FALSE(t->is_special(302));
  EXPECT_EQ(t->eos_id(), 301);
  EXPECT_EQ(t->bos_id(), std::nullopt);
}

TEST_F(TokenizerLoaderTest, TokenizerJsonComesFirst) {
  write_text_files();
  write("tokenizer.json", "{}");
  EXPECT_THAT(load_message(), HasSubstr("tokenizer.json: \"model\" is missing"));
}

TEST_F(TokenizerLoaderTest, MergesWithoutVersionAndWithCarriageReturns) {
  write_text_files();
  std::string merges;
  for (const auto& [left, right] : testing::small_merges())
    merges += left + " " + right + "\r\n";
  write("merges.txt", merges);
  EXPECT_EQ(load_tokenizer(folder_)->encode("hello", ParseSpecial::kNone).size(), 1u);
}

TEST_F(TokenizerLoaderTest, DamagedTextFiles) {
  write_text_files();
  write("merges.txt", "h e\nhe\n");
  EXPECT_THAT(load_message(), HasSubstr("merges.txt: line 2 must be two tokens"));
  write("merges.txt", "h e\n qq x\n");
  EXPECT_THAT(load_message(), HasSubstr("line 2 must be two tokens"));
  write("merges.txt", "h e\nqq x\n");
  EXPECT_THAT(load_message(), HasSubstr("merge 1 names \"qq\""));
  write_text_files();
  write("vocab.json", "[1]");
  EXPECT_THAT(load_message(), HasSubstr("vocab.json: expected an object of tokens and ids"));
  write("vocab.json", "{\"a\": -1}");
  EXPECT_THAT(load_message(), HasSubstr("vocab.json: vocab entry \"a\" has id -1"));
  write_text_files();
  write("added_tokens.json", "{\"x\": \"y\"}");
  EXPECT_THAT(load_message(), HasSubstr("added_tokens.json: vocab entry \"x\" must have a whole number"));
  write_text_files();
  write("tokenizer_config.json", R"({"tokenizer_class": "BertTokenizer"})");
  EXPECT_THAT(load_message(), HasSubstr("the tokenizer class \"BertTokenizer\" needs a tokenizer.json"));
}

TEST_F(TokenizerLoaderTest, DamagedConfig) {
  write("tokenizer.json", small_json().dump());
  const std::pair<const char*, const char*> cases[] = {
      {"[", "tokenizer_config.json: not valid JSON"},
      {"[]", "tokenizer_config.json: expected a JSON object"},
      {R"({"added_tokens_decoder": []})", "\"added_tokens_decoder\" must be an object"},
      {R"({"added_tokens_decoder": {"x": {"content": "y"}}})", "has the key \"x\", expected an id"},
      {R"({"added_tokens_decoder": {"99999999999999999999": {"content": "y"}}})", "expected an id"},
      {R"({"added_tokens_decoder": {"-3": {"content": "y"}}})", "added_tokens_decoder[-3]: \"id\" is -3"},
      {R"({"added_tokens_decoder": {"2147483647": {"content": "y"}}})", "has id 2147483647"},
      {R"({"added_tokens_decoder": {"305": "y"}})", "added_tokens_decoder[305]: expected a JSON object"},
      {R"({"added_tokens_decoder": {"305": {}}})", "\"content\" is missing"},
      {R"({"added_tokens_decoder": {"65": {"content": "y"}}})", "which the vocabulary gives to \"A\""},
      {R"({"bos_token": 3})", "\"bos_token\" must be a string"},
      {R"({"a": 1e999})", "tokenizer_config.json: not valid JSON"},
  };
  for (const auto& [text, part] : cases) {
    write("tokenizer_config.json", text);
    EXPECT_THAT(load_message(), HasSubstr(part)) << text;
  }
}

TEST_F(TokenizerLoaderTest, SentencePieceWithRenamedPieces) {
  write("tokenizer.model", testing::small_sentencepiece(testing::small_pieces()));
  EXPECT_THAT(load_tokenizer(folder_)->encode("<s>", ParseSpecial::kAll), ElementsAre(1));
  write("tokenizer_config.json",
        R"({"bos_token": "<s>", "added_tokens_decoder": {"1": {"content": "<s>", "special": true},
            "4": {"content": "<slice>", "special": true}, "300": {"content": "<|im_end|>", "special": true}}})");
  const auto t = load_tokenizer(folder_);
  EXPECT_THAT(t->encode("<slice><|im_end|><s>", ParseSpecial::kAll), ElementsAre(4, 300, 1));
  EXPECT_THAT(t->encode("<p>", ParseSpecial::kNone), ElementsAre(4));  // the name in the model file
  EXPECT_EQ(t->token_bytes(4), "<slice>");
  EXPECT_EQ(t->bos_id(), 1);
  EXPECT_EQ(t->vocab_size(), 301);
}

TEST_F(TokenizerLoaderTest, EmptyFiles) {
  write("tokenizer.model", "");
  EXPECT_THAT(load_message(), HasSubstr("without pieces"));
  write("tokenizer.json", "");
  EXPECT_THAT(load_message(), HasSubstr("tokenizer.json: not valid JSON"));
}

}  // namespace
}  // namespace minicpm

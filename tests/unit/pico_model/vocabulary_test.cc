// The vocabulary that pico is trained with: words of questions are one token, letters that are read are one token each.
#include "vocabulary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file_map.h"
#include "text/tokenizer_loader.h"

namespace minicpm::pico {
namespace {

using ::testing::ElementsAre;

class VocabularyTest : public ::testing::Test {
 protected:
  static std::vector<std::string> words() {
    const std::string file = std::string(MINICPM_SOURCE_DIR) + "/recipes/pico/words.txt";
    return parse_words(read_file(file, 1 << 20), file);
  }

  /// The tokens of `text` as text.
  std::vector<std::string> cut(const std::string& text, ParseSpecial special = ParseSpecial::kNone) const {
    std::vector<std::string> tokens;
    for (const int32_t id : from_json_->encode(text, special))
      tokens.push_back(from_json_->token_bytes(id));
    return tokens;
  }

  const Vocabulary vocabulary_ = make_vocabulary(words());
  const std::unique_ptr<Tokenizer> from_json_ = make_tokenizer_from_json(tokenizer_json(vocabulary_), "tokenizer.json");
  const std::unique_ptr<Tokenizer> from_gguf_ = make_tokenizer(gguf_vocabulary(vocabulary_));
};

TEST_F(VocabularyTest, HasOneToTwoThousandTokens) {
  EXPECT_GE(vocabulary_.tokens.size(), 1000u);
  EXPECT_LE(vocabulary_.tokens.size(), 2000u);
  EXPECT_EQ(from_json_->vocab_size(), static_cast<int32_t>(vocabulary_.tokens.size()));
}

TEST_F(VocabularyTest, EveryListedWordIsOneTokenAfterABlank) {
  for (const std::string& word : words())
    EXPECT_THAT(cut(" " + word), ElementsAre(" " + word));
}

TEST_F(VocabularyTest, AnswersAreSpelled) {
  EXPECT_THAT(cut("house"), ElementsAre("h", "o", "u", "s", "e"));
  EXPECT_THAT(cut("users"), ElementsAre("u", "s", "e", "r", "s"));
  EXPECT_THAT(cut("1203"), ElementsAre("1", "2", "0", "3"));
  EXPECT_THAT(cut("a red circle"), ElementsAre("a", " red", " circle"));
  EXPECT_THAT(cut("What color?"), ElementsAre("W", "h", "a", "t", " color", "?"));
}

TEST_F(VocabularyTest, ThePromptOfAChatHasFewTokens) {
  EXPECT_THAT(cut("<|im_start|>assistant\n<think>\n\n</think>\n\nred<|im_end|>", ParseSpecial::kAll),
              ElementsAre("<|im_start|>", "assistant", "\n", "<think>", "\n\n", "</think>", "\n\n", "r", "e", "d",
                          "<|im_end|>"));
  for (const char* special : {"<unk>", "<image>", "</image>", "<slice>", "</slice>", "<image_id>", "</image_id>",
                              "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<box>", "<|reserved_62|>"}) {
    const auto id = from_json_->token_id(special);
    ASSERT_TRUE(id.has_value()) << special;
    EXPECT_TRUE(from_json_->is_special(*id)) << special;
  }
  for (const char* plain : {"<think>", "</think>", "<tool_call>", "user", "assistant"}) {
    const auto id = from_json_->token_id(plain);
    ASSERT_TRUE(id.has_value()) << plain;
    EXPECT_FALSE(from_json_->is_special(*id)) << plain;
  }
}

TEST_F(VocabularyTest, AnyTextComesBackAndBothLayoutsAgree) {
  const std::string texts[] = {"What does it say?",
                               "  two  blanks \n\n\n",
                               "h\u00e9llo \u65e5\u672c \U0001f600",
                               "don't\t12.5%",
                               std::string("nul \0 byte", 10),
                               "glass whistle",
                               ""};
  for (const std::string& text : texts) {
    const std::vector<int32_t> ids = from_json_->encode(text, ParseSpecial::kNone);
    EXPECT_EQ(from_json_->decode(ids, false), text);
    EXPECT_EQ(from_gguf_->encode(text, ParseSpecial::kNone), ids);
  }
}

TEST(WordsTest, CommentsAndRepeatedWordsAreDropped) {
  EXPECT_THAT(parse_words("# one\n two red\ttwo\r\nblue", "words"), ElementsAre("two", "red", "blue"));
  EXPECT_THROW(parse_words("can't", "words"), Error);
}

}  // namespace
}  // namespace minicpm::pico

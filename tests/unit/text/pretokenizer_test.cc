#include "text/pretokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "small_vocabularies.h"
#include "text/utf8.h"

namespace minicpm {
namespace {

using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;

Pretokenizer with(std::string_view pattern, bool literal = false) {
  Pretokenizer pretokenizer;
  pretokenizer.add_split(pattern, literal, "test.json");
  return pretokenizer;
}

std::vector<std::string> words(const Pretokenizer& pretokenizer, std::string_view text) {
  std::vector<Pretokenizer::Piece> pieces;
  pretokenizer.split(text, pieces);
  std::vector<std::string> result;
  for (const auto& piece : pieces)
    result.emplace_back(text.substr(piece.begin, piece.end - piece.begin));
  return result;
}

TEST(PretokenizerTest, Qwen2Pattern) {
  const Pretokenizer p = with(kQwen2Pattern);
  EXPECT_THAT(words(p, "Hello world, it's 2024!\n\n"),
              ElementsAre("Hello", " world", ",", " it", "'s", " ", "2", "0", "2", "4", "!\n\n"));
  EXPECT_THAT(words(p, "a   b  \n c"), ElementsAre("a", "  ", " b", "  \n", " c"));
  EXPECT_THAT(words(p, "你好，世界"), ElementsAre("你好", "，世界"));
  EXPECT_THAT(words(p, "I'LL don'T"), ElementsAre("I", "'LL", " don", "'T"));
  EXPECT_THAT(words(p, ""), ElementsAre());
}

TEST(PretokenizerTest, Llama3Pattern) {
  EXPECT_THAT(words(with(kLlama3Pattern), "x 12345678"), ElementsAre("x", " ", "123", "456", "78"));
}

TEST(PretokenizerTest, Gpt2Pattern) {
  EXPECT_THAT(words(with(kGpt2Pattern), "I've 123 a-b  c"), ElementsAre("I", "'ve", " 123", " a", "-", "b", " ", " c"));
}

// U+180E is no white space since Unicode 6.3, U+0085 and U+3000 are.
TEST(PretokenizerTest, WhiteSpaceIsThatOfUnicode) {
  EXPECT_THAT(words(with(R"(\s+)"), "a\u0085\u3000b\u180Ec"), ElementsAre("a", "\u0085\u3000", "b\u180Ec"));
  EXPECT_THAT(words(with(R"(\S+)"), "a\u180Eb c"), ElementsAre("a\u180Eb", " ", "c"));
  EXPECT_THAT(words(with(R"([^\sx]+)"), "ab cx"), ElementsAre("ab", " ", "c", "x"));
  EXPECT_THAT(words(with(R"([]\s]+)"), "a] b"), ElementsAre("a", "] ", "b"));
}

TEST(PretokenizerTest, StepsCutFurther) {
  Pretokenizer p = with(R"(\s+)");
  p.add_split("b.", true, "test.json");
  EXPECT_THAT(words(p, "ab.b  cbb.c"), ElementsAre("a", "b.", "b", "  ", "cb", "b.", "c"));
}

TEST(PretokenizerTest, PiecesCoverAnyText) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const Pretokenizer all[] = {with(kQwen2Pattern), with(kLlama3Pattern), with(kGpt2Pattern), with("x*"), with("(?=a)")};
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (unsigned i = random() % 30; i > 0; --i) {
      const uint32_t c = random() % 3 == 0 ? random() % 0x3000 : random() % 0x80;
      append_utf8(text, c);
    }
    for (const Pretokenizer& p : all) {
      std::string joined;
      for (const std::string& word : words(p, text)) {
        ASSERT_FALSE(word.empty());
        joined += word;
      }
      ASSERT_EQ(joined, text);
    }
  }
}

TEST(PretokenizerTest, InvalidPatternIsABadFile) {
  const auto [code, message] = error_of([] { with("(a"); });
  EXPECT_EQ(code, ErrorCode::kBadFile);
  EXPECT_THAT(message, HasSubstr("test.json: the pre_tokenizer pattern \"(a\""));
  EXPECT_EQ(error_of([] { with(R"(\C)"); }).first, ErrorCode::kBadFile);  // would cut characters in two
  EXPECT_EQ(error_of([] { with("((((a{1,60000}){1,60000}){1,60000}){1,60000})"); }).first, ErrorCode::kBadFile);
  EXPECT_EQ(error_of([] { with(std::string(1000, '(')); }).first, ErrorCode::kBadFile);
}

TEST(PretokenizerTest, CatastrophicPatternsEndWithAnError) {
  // The b at the end defeats the shortcut of refusing texts that lack a required letter.
  const std::string letters = std::string(5000, 'a') + "cb";
  for (const char* pattern : {"(a+)+b", "(?:a|a)*b", "(a*)*b", "(?:(?:a+)+)+b", R"((?:(a)|a)*?\1{40}b)"}) {
    const auto [code, message] = error_of([&] { words(with(pattern), letters); });
    EXPECT_EQ(code, ErrorCode::kUnsupported) << pattern;
    EXPECT_THAT(message, HasSubstr("test.json: the pre_tokenizer pattern takes too many steps"));
  }
}

TEST(PretokenizerTest, DeepRecursionEnds) {
  // Without a limit this needs memory in proportion to the text for each of its levels.
  const std::string text(200'000, '(');
  const auto [code, message] = error_of([&] { words(with(R"((\((?1)*\))x)"), text); });
  EXPECT_TRUE(code == ErrorCode::kUnsupported || message == "no error") << message;
}

TEST(PretokenizerTest, PublishedPatternsTakeLongRuns) {
  for (const std::string_view pattern : {kQwen2Pattern, kLlama3Pattern, kGpt2Pattern}) {
    const Pretokenizer p = with(pattern);
    EXPECT_THAT(words(p, std::string(1'000'000, 'a')), ElementsAre(std::string(1'000'000, 'a')));
    EXPECT_EQ(words(p, std::string(1'000'000, ' ')).size(), 1u);
    EXPECT_EQ(words(p, std::string(1'000'000, ' ') + "a").size(), 2u);
  }
}

}  // namespace
}  // namespace minicpm

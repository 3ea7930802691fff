#include "text/speech_words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "base/json.h"

namespace minicpm {
namespace {

using ::testing::ElementsAre;

WordPiece tokenizer() {
  Json vocab;
  int id = 0;
  for (const char* token : {"[PAD]", "[UNK]", "hello", "##s", "good", ".", ",", "!", "twenty", "five", "你", "好", "。",
                            "a", "##a", "\"", "-"})
    vocab[token] = id++;
  const Json json = {{"added_tokens", Json::array({{{"id", 40}, {"content", "[laugh]"}, {"special", false}}})},
                     {"normalizer", {{"type", "BertNormalizer"}}},
                     {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
                     {"model", {{"type", "WordPiece"}, {"vocab", vocab}}}};
  return WordPiece::from_json(json.dump(), "words.json");
}

struct Read {
  std::vector<int32_t> tokens;
  std::vector<SpeechBreak> breaks;
  size_t words = 0;

  void add(const std::vector<SpeechWord>& more) {
    for (const SpeechWord& word : more) {
      tokens.insert(tokens.end(), word.tokens.begin(), word.tokens.end());
      breaks.push_back(word.end);
      ++words;
    }
  }
};

Read read(const WordPiece& words, std::string_view text) {
  SpeechWords reader(words, {});
  Read result;
  result.add(reader.push(text));
  result.add(reader.finish());
  return result;
}

TEST(SpeechWords, KnowWhereTextMayBeParted) {
  const WordPiece words = tokenizer();
  const Read text = read(words, "Hello good, hellos! \"Good.\" 25\n你好。好");
  EXPECT_THAT(text.tokens, ElementsAre(2, 4, 6, 2, 3, 7, 15, 4, 5, 15, 8, 9, 10, 11, 12, 11));
  EXPECT_THAT(text.breaks,
              ElementsAre(SpeechBreak::kSpace, SpeechBreak::kComma, SpeechBreak::kSentence, SpeechBreak::kSentence,
                          SpeechBreak::kSpace, SpeechBreak::kSentence, SpeechBreak::kNone, SpeechBreak::kNone,
                          SpeechBreak::kSentence, SpeechBreak::kNone));
}

TEST(SpeechWords, WordsAreGivenWhenTheyAreComplete) {
  const WordPiece words = tokenizer();
  SpeechWords reader(words, {});
  EXPECT_TRUE(reader.push("hel").empty());
  EXPECT_EQ(reader.push("lo good").size(), 1u);
  EXPECT_EQ(reader.push("你").size(), 1u);
  EXPECT_TRUE(reader.push("\xE5").empty());  // the beginning of 好
  EXPECT_EQ(reader.push("\xA5\xBD").size(), 1u);
  EXPECT_TRUE(reader.finish().empty());
}

TEST(SpeechWords, LongWordsAreReadInParts) {
  const WordPiece words = tokenizer();
  EXPECT_EQ(read(words, std::string(250, 'a')).words, 3u);
  EXPECT_EQ(read(words, std::string(250, 'a')).tokens.size(), 250u);
}

TEST(SpeechWords, TokensAreThoseOfTheWholeText) {
  const WordPiece words = tokenizer();
  const unsigned seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const std::string_view parts[] = {"hello", "s", " ",  "good",    ".",  "你", "好",
                                    "。",    "!", "\n", "[laugh]", "\"", "-",  "a"};
  for (int round = 0; round < 200; ++round) {
    std::string text;
    for (unsigned n = random() % 20; n > 0; --n)
      text += parts[random() % std::size(parts)];
    const Read whole = read(words, text);
    EXPECT_EQ(whole.tokens, words.encode(text)) << text;
    SpeechWords reader(words, {});
    Read bytes;
    for (const char c : text)
      bytes.add(reader.push(std::string_view(&c, 1)));
    bytes.add(reader.finish());
    EXPECT_EQ(bytes.tokens, whole.tokens) << text;
    EXPECT_EQ(bytes.breaks, whole.breaks) << text;
  }
}

}  // namespace
}  // namespace minicpm

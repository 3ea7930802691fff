#include "text/wordpiece.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json.h"

namespace minicpm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Json document() {
  Json vocab;
  int id = 0;
  for (const char* token :
       {"[PAD]", "[UNK]", "hello", "world", "un",  "##want", "##ed", "run", "##ning", "!",    "你",
        "好",    "e",     "##e",   "a",     "##b", "b",      ",",    "'",   "##s",    "cafe", "[spk_emb]"})
    vocab[token] = id++;
  return {{"version", "1.0"},
          {"added_tokens", Json::array({{{"id", 0}, {"content", "[PAD]"}, {"special", true}},
                                        {{"id", 1}, {"content", "[UNK]"}, {"special", true}},
                                        {{"id", 21}, {"content", "[spk_emb]"}, {"special", true}},
                                        {{"id", 30}, {"content", "[laugh]"}, {"special", false}}})},
          {"normalizer",
           {{"type", "BertNormalizer"},
            {"clean_text", true},
            {"handle_chinese_chars", true},
            {"strip_accents", nullptr},
            {"lowercase", true}}},
          {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
          {"model",
           {{"type", "WordPiece"},
            {"unk_token", "[UNK]"},
            {"continuing_subword_prefix", "##"},
            {"max_input_chars_per_word", 10},
            {"vocab", vocab}}}};
}

WordPiece make(const Json& json = document()) {
  return WordPiece::from_json(json.dump(), "words.json");
}

TEST(WordPiece, WordsAndPieces) {
  const WordPiece tokenizer = make();
  EXPECT_THAT(tokenizer.encode("hello world"), ElementsAre(2, 3));
  EXPECT_THAT(tokenizer.encode("  UNwanted\tRunning!\n"), ElementsAre(4, 5, 6, 7, 8, 9));
  EXPECT_THAT(tokenizer.encode("a's"), ElementsAre(14, 18, 1));  // "s" is known as a continuation only
  EXPECT_THAT(tokenizer.encode("hello,world"), ElementsAre(2, 17, 3));
  EXPECT_TRUE(tokenizer.encode("").empty());
  EXPECT_EQ(tokenizer.size(), 31);
}

TEST(WordPiece, WhatCannotBePutTogetherIsUnknownAsAWhole) {
  const WordPiece tokenizer = make();
  EXPECT_THAT(tokenizer.encode("unwantedz hello"), ElementsAre(1, 2));
  EXPECT_THAT(tokenizer.encode("abbbbbbbbb"), ElementsAre(14, 15, 15, 15, 15, 15, 15, 15, 15, 15));
  EXPECT_THAT(tokenizer.encode("abbbbbbbbbb"), ElementsAre(1));  // one character too many
}

TEST(WordPiece, IdeographsStandAloneAndAccentsGo) {
  const WordPiece tokenizer = make();
  EXPECT_THAT(tokenizer.encode("你好"), ElementsAre(10, 11));
  EXPECT_THAT(tokenizer.encode("hello你"), ElementsAre(2, 10));
  EXPECT_THAT(tokenizer.encode("CAFÉ"), ElementsAre(20));
  EXPECT_THAT(tokenizer.encode("cafe\xcc\x81"), ElementsAre(20));
  EXPECT_THAT(tokenizer.encode("hel\xe2\x80\x8blo\x01"), ElementsAre(2));  // a zero-width space and a control character
  EXPECT_THAT(tokenizer.encode("hello\xff"), ElementsAre(2));              // no UTF-8
}

TEST(WordPiece, AddedTokensInTheText) {
  const WordPiece tokenizer = make();
  EXPECT_THAT(tokenizer.encode("hello[laugh]world [spk_emb]"), ElementsAre(2, 30, 3, 21));
  EXPECT_EQ(tokenizer.token_id("[laugh]"), 30);
  EXPECT_EQ(tokenizer.token_id("##ed"), 6);
  EXPECT_EQ(tokenizer.token_id("none"), std::nullopt);
}

TEST(WordPiece, KeepsCaseWhereAsked) {
  Json json = document();
  json["normalizer"]["lowercase"] = false;
  EXPECT_THAT(make(json).encode("Hello hello cafe\xcc\x81"), ElementsAre(1, 2, 1));
}

TEST(WordPiece, RefusesOtherModels) {
  const auto refusal = [](const Json& json) -> std::string {
    try {
      make(json);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  Json json = document();
  json["model"]["type"] = "BPE";
  EXPECT_THAT(refusal(json), HasSubstr("words.json: expected a WordPiece model"));
  json = document();
  json["pre_tokenizer"]["type"] = "Whitespace";
  EXPECT_THAT(refusal(json), HasSubstr("without BERT's normalizer"));
  json = document();
  json["model"]["unk_token"] = "[NONE]";
  EXPECT_THAT(refusal(json), HasSubstr("the vocabulary has no [NONE]"));
  EXPECT_THROW(WordPiece::from_json("{", "words.json"), Error);
}

}  // namespace
}  // namespace minicpm

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <random>
#include <thread>

#include "small_vocabularies.h"
#include "text/normalize.h"
#include "text/space_mark.h"
#include "text/stream_decoder.h"
#include "text/utf8.h"

namespace minicpm {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;
using testing::small_json;
using testing::small_tokenizer;
using Ids = std::vector<int32_t>;

std::string random_bytes(std::mt19937& random, size_t length) {
  std::string bytes;
  for (size_t i = 0; i < length; ++i)
    bytes += random() % 4 == 0 ? static_cast<char>(random()) : "hello wor<|>im_end\n\xC3\xA9 "[random() % 22];
  return bytes;
}

/// The id of a token of the small vocabulary by its bytes.
int32_t id(const Tokenizer& tokenizer, std::string_view bytes) {
  return tokenizer.token_id(bytes).value_or(-1);
}

TEST(BpeTokenizerTest, MergesInOrder) {
  const auto t = small_tokenizer();
  EXPECT_THAT(t->encode("hello world", ParseSpecial::kNone),
              ElementsAre(id(*t, "hello"), id(*t, " wor"), id(*t, "ld")));
  EXPECT_THAT(t->encode("hell", ParseSpecial::kNone), ElementsAre(id(*t, "hell")));
  EXPECT_THAT(t->encode("\u00E9", ParseSpecial::kNone), ElementsAre(id(*t, "\u00E9")));
  EXPECT_THAT(t->encode("e\u0301", ParseSpecial::kNone), ElementsAre(id(*t, "\u00E9")));  // NFC
  EXPECT_THAT(t->encode("", ParseSpecial::kAll), ElementsAre());
}

TEST(BpeTokenizerTest, Facts) {
  const auto t = small_tokenizer();
  EXPECT_EQ(t->vocab_size(), 304);
  EXPECT_EQ(t->description(), "bpe (qwen2)");
  EXPECT_EQ(t->token_bytes(0x20), " ");
  EXPECT_EQ(t->token_bytes(300), "<|im_start|>");
  EXPECT_EQ(t->token_bytes(299), "");  // a gap
  EXPECT_EQ(t->token_bytes(-1), "");
  EXPECT_EQ(t->token_bytes(INT32_MAX), "");
  EXPECT_EQ(t->token_id("<think>"), 302);
  EXPECT_EQ(t->token_id(" "), 0x20);
  EXPECT_EQ(t->token_id("nothing of the kind"), std::nullopt);
  EXPECT_TRUE(t->is_special(301));
  EXPECT_FALSE(t->is_special(302));
  EXPECT_FALSE(t->is_special(5));
  EXPECT_EQ(t->added_tokens().size(), 4u);
  EXPECT_EQ(t->bos_id(), std::nullopt);
}

TEST(BpeTokenizerTest, DecodesSpecialTokensOnRequest) {
  const auto t = small_tokenizer();
  const Ids ids = {300, id(*t, "hello"), 302, 301, -5, 100000};
  EXPECT_EQ(t->decode(ids, false), "<|im_start|>hello<think><|im_end|>");
  EXPECT_EQ(t->decode(ids, true), "hello<think>");
}

TEST(BpeTokenizerTest, AnyBytesSurviveARoundTrip) {
  const auto t = small_tokenizer();
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  Json json = small_json();
  json["normalizer"] = nullptr;
  const auto without_nfc = make_tokenizer_from_json(json.dump(), "small.json");
  for (int round = 0; round < 3000; ++round) {
    const std::string bytes = random_bytes(random, random() % 200);
    for (const ParseSpecial special : {ParseSpecial::kNone, ParseSpecial::kAll, ParseSpecial::kNonSpecial}) {
      ASSERT_EQ(without_nfc->decode(without_nfc->encode(bytes, special), false), bytes);
    }
    // With NFC the text between invalid bytes is normalised.
    std::string expected;
    for (std::string_view rest = bytes; !rest.empty();) {
      std::string buffer;
      const size_t valid = valid_utf8_prefix(rest);
      expected += normalize_nfc(rest.substr(0, valid), buffer);
      rest.remove_prefix(valid);
      const size_t invalid = invalid_utf8_prefix(rest);
      expected += rest.substr(0, invalid);
      rest.remove_prefix(invalid);
    }
    ASSERT_EQ(t->decode(t->encode(bytes, ParseSpecial::kNone), false), expected);
  }
}

TEST(BpeTokenizerTest, ParsesSpecialTokensAsAsked) {
  const auto t = small_tokenizer();
  const std::string text = "<think><|im_end|>hello";
  EXPECT_THAT(t->encode(text, ParseSpecial::kAll), ElementsAre(302, 301, id(*t, "hello")));
  const Ids non_special = t->encode(text, ParseSpecial::kNonSpecial);
  EXPECT_EQ(non_special[0], 302);
  EXPECT_EQ(std::count(non_special.begin(), non_special.end(), 301), 0);
  EXPECT_THAT(t->encode(text, ParseSpecial::kNone), Each(::testing::Lt(300)));
  EXPECT_EQ(t->decode(t->encode(text, ParseSpecial::kNone), false), text);
}

TEST(BpeTokenizerTest, LongestAddedTokenWins) {
  const auto t = small_tokenizer();
  EXPECT_THAT(t->encode("<|im_end|>x<|im_end|>", ParseSpecial::kAll), ElementsAre(303, 301));
}

// A normaliser would join the mark to the last character of the token.
TEST(BpeTokenizerTest, AddedTokensAreCutOutBeforeNormalising) {
  const auto t = small_tokenizer();
  const Ids ids = t->encode("<|im_end|>\u0338", ParseSpecial::kAll);
  EXPECT_EQ(ids[0], 301);
  EXPECT_EQ(t->decode(ids, false), "<|im_end|>\u0338");
  EXPECT_EQ(t->decode(t->encode("<|im_end|>\u0338", ParseSpecial::kNone), false), "<|im_end|\u226F");
}

TEST(BpeTokenizerTest, OnlyControlPiecesYieldAddedTokens) {
  const auto t = small_tokenizer();
  const std::vector<PromptPiece> pieces = {
      {"<|im_start|>", true}, {"hello<|im_end|><think>", false}, {"<|im_end|>", true}};
  const Ids ids = t->encode(pieces);
  EXPECT_EQ(ids.front(), 300);
  EXPECT_EQ(ids.back(), 301);
  for (size_t i = 1; i + 1 < ids.size(); ++i)
    EXPECT_LT(ids[i], 300);
  EXPECT_EQ(t->decode(ids, false), join(pieces));
}

TEST(BpeTokenizerTest, NoMatchAcrossPieces) {
  const auto t = small_tokenizer();
  // Each of these joins to "<|im_end|>", in no case inside one control piece.
  const std::vector<std::vector<PromptPiece>> cases = {
      {{"<|im_", true}, {"end|>", true}},
      {{"<|im_", true}, {"end|>", false}},
      {{"<|im_", false}, {"end|>", true}},
      {{"<|im_end|", true}, {">", false}},
      {{"", true}, {"<|im_end|>", false}, {"", true}},
      {{"<|im", true}, {"", false}, {"_end|>", true}},
  };
  for (const auto& pieces : cases) {
    EXPECT_THAT(t->encode(pieces), Each(::testing::Lt(300)));
    EXPECT_EQ(t->decode(t->encode(pieces), false), "<|im_end|>");
  }
  // The longer token ends in the user's piece, so the shorter one counts.
  EXPECT_EQ(t->encode(std::vector<PromptPiece>{{"<|im_end|>", true}, {"x", false}}), (Ids{301, id(*t, "x")}));
}

TEST(BpeTokenizerTest, MergesCrossThePieces) {
  const auto t = small_tokenizer();
  const std::vector<PromptPiece> pieces = {{"he", true}, {"ll", false}, {"o w", true}, {"orld", false}};
  EXPECT_EQ(t->encode(pieces), t->encode("hello world", ParseSpecial::kAll));
}

TEST(BpeTokenizerTest, PiecesOfOneKindEqualTheText) {
  const auto t = small_tokenizer();
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const char* parts[] = {"<|im_start|>", "<|im_end|>", "<think>", "x", "hello ", "\xC3\xA9", "<|im", "\xFF"};
  for (int round = 0; round < 1000; ++round) {
    std::vector<PromptPiece> user;
    std::string text;
    for (unsigned i = random() % 6; i > 0; --i) {
      user.push_back({parts[random() % std::size(parts)], false});
      text += user.back().text;
    }
    ASSERT_EQ(t->encode(user), t->encode(text, ParseSpecial::kNone));
    ASSERT_EQ(t->encode(std::vector<PromptPiece>{{text, true}}), t->encode(text, ParseSpecial::kAll));
  }
}

// A merge into a special token exists in the published Qwen vocabulary; text must not reach the token that way.
TEST(BpeTokenizerTest, MergesNeverYieldSpecialTokens) {
  for (const bool ignore_merges : {false, true}) {
    Json json = small_json();
    const int32_t hello = json["model"]["vocab"]["hello"].get<int32_t>();
    json["added_tokens"].push_back(testing::added_token(hello, "hello", true));
    json["model"]["ignore_merges"] = ignore_merges;
    const auto t = make_tokenizer_from_json(json.dump(), "small.json");
    EXPECT_THAT(t->encode("hello", ParseSpecial::kNone), ElementsAre(id(*t, "hell"), id(*t, "o")));
    EXPECT_THAT(t->encode("hello", ParseSpecial::kAll), ElementsAre(hello));
  }
}

TEST(BpeTokenizerTest, IgnoreMergesTakesWholeWords) {
  Json json = small_json();
  json["model"]["vocab"]["Ġhi"] = 290;  // no merges lead to it
  EXPECT_EQ(make_tokenizer_from_json(json.dump(), "small.json")->encode(" hi", ParseSpecial::kNone).size(), 3u);
  json["model"]["ignore_merges"] = true;
  EXPECT_THAT(make_tokenizer_from_json(json.dump(), "small.json")->encode(" hi", ParseSpecial::kNone),
              ElementsAre(290));
}

TEST(BpeTokenizerTest, FlagsOfAddedTokens) {
  Json json = small_json();
  Json left = testing::added_token(310, "<left>", true);
  left["lstrip"] = true;
  Json right = testing::added_token(311, "<right>", true);
  right["rstrip"] = true;
  Json word = testing::added_token(312, "word", true);
  word["single_word"] = true;
  json["added_tokens"].insert(json["added_tokens"].end(), {left, right, word});
  const auto t = make_tokenizer_from_json(json.dump(), "small.json");
  const auto encode = [&](const char* text) { return t->encode(text, ParseSpecial::kAll); };
  EXPECT_THAT(encode("a \u3000\n<left> b"), ElementsAre('a', 310, ' ', 'b'));
  EXPECT_THAT(encode("a <right> \u3000\nb"), ElementsAre('a', ' ', 311, 'b'));
  EXPECT_THAT(encode("<right>  <left>"), ElementsAre(311, 310));
  EXPECT_EQ(encode("word").size(), 1u);
  EXPECT_EQ(encode("(word)")[1], 312);
  for (const char* text : {"words", "aword", "\u00E9word", "word_", "word1"}) {
    const Ids ids = encode(text);
    EXPECT_EQ(std::count(ids.begin(), ids.end(), 312), 0) << text;
  }
}

TEST(BpeTokenizerTest, LongRunsStayFast) {
  const auto t = small_tokenizer();
  const auto start = std::chrono::steady_clock::now();
  const Ids ids = t->encode(std::string(200'000, 'a'), ParseSpecial::kNone);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  EXPECT_EQ(ids.size(), 50'000u);  // "aaaa"
  EXPECT_LT(seconds, 5);           // about 0.03 s; a quadratic algorithm takes minutes
}

TEST(BpeTokenizerTest, StreamingEqualsDecoding) {
  const auto t = small_tokenizer();
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 3000; ++round) {
    Ids ids;
    for (unsigned i = random() % 40; i > 0; --i)
      ids.push_back(static_cast<int32_t>(random() % 2 == 0 ? 0x80 + random() % 0x80 : random() % 310));
    StreamDecoder decoder(*t);
    std::string streamed;
    for (const int32_t one : ids) {
      const std::string text = decoder.push(one);
      ASSERT_EQ(valid_utf8_prefix(text), text.size());
      streamed += text;
    }
    streamed += decoder.finish();
    ASSERT_EQ(streamed, replace_invalid_utf8(t->decode(ids, false)));
    ASSERT_EQ(decoder.finish(), "");
  }
}

TEST(BpeTokenizerTest, StreamingWaitsForTheWholeCharacter) {
  Json json = small_json();
  json["model"]["merges"] = Json::array();
  const auto t = make_tokenizer_from_json(json.dump(), "small.json");
  const Ids ids = t->encode("\u4F60!", ParseSpecial::kNone);
  ASSERT_EQ(ids.size(), 4u);
  StreamDecoder decoder(*t);
  EXPECT_EQ(decoder.push(ids[0]), "");
  EXPECT_EQ(decoder.push(ids[1]), "");
  EXPECT_EQ(decoder.push(ids[2]), "\u4F60");
  EXPECT_EQ(decoder.push(ids[3]), "!");
  decoder.push(ids[0]);
  EXPECT_EQ(decoder.push(ids[3]), "\uFFFD!");
  decoder.push(ids[0]);
  EXPECT_EQ(decoder.finish(), "\uFFFD");
}

TEST(BpeTokenizerTest, ThreadsShareOneTokenizer) {
  const auto t = small_tokenizer();
  const std::string text = "hello world <|im_end|> e\u0301 \xFF";
  const Ids expected = t->encode(text, ParseSpecial::kAll);
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 300; ++round)
        wrong += t->encode(text, ParseSpecial::kAll) != expected;
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  EXPECT_EQ(wrong, 0);
}

/// A vocabulary of the SentencePiece kind written as merges.
Json byte_fallback_json() {
  Json vocab = Json::object();
  int next = 0;
  vocab["<unk>"] = next++;
  for (int byte = 0; byte < 256; ++byte)
    vocab[byte_token_name(static_cast<uint8_t>(byte))] = next++;
  for (const char* text : {"▁", "h", "e", "l", "o", "he", "ll", "hell", "hello", "▁hello", "▁▁"})
    vocab[text] = next++;
  Json root;
  root["added_tokens"] = {testing::added_token(0, "<unk>", true), testing::added_token(400, "<|im_end|>", true)};
  root["normalizer"] = {{"type", "Sequence"},
                        {"normalizers", {{{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}}}}};
  root["pre_tokenizer"] = nullptr;
  root["model"] = {{"type", "BPE"},
                   {"byte_fallback", true},
                   {"vocab", vocab},
                   {"merges", {"h e", "l l", "he ll", "hell o", "▁ hello", "▁ ▁"}}};
  return root;
}

TEST(BpeTokenizerTest, ByteFallback) {
  const auto t = make_tokenizer_from_json(byte_fallback_json().dump(), "small.json");
  EXPECT_EQ(t->description(), "bpe (byte fallback)");
  EXPECT_THAT(t->encode("hello hello", ParseSpecial::kNone), ElementsAre(id(*t, "hello"), id(*t, " hello")));
  EXPECT_THAT(t->encode("\u00E9", ParseSpecial::kNone), ElementsAre(1 + 0xC3, 1 + 0xA9));
  EXPECT_THAT(t->encode("<|im_end|>\n", ParseSpecial::kAll), ElementsAre(400, 1 + '\n'));
  const std::string text = "hello  hello\xFF h\u4F60 <0x0A>";
  EXPECT_EQ(t->decode(t->encode(text, ParseSpecial::kAll), false), text);
}

TEST(BpeTokenizerTest, ByteFallbackWithAPrefix) {
  Json json = byte_fallback_json();
  json["normalizer"]["normalizers"].insert(json["normalizer"]["normalizers"].begin(),
                                           Json{{"type", "Prepend"}, {"prepend", "▁"}});
  const auto t = make_tokenizer_from_json(json.dump(), "small.json");
  EXPECT_THAT(t->encode("hello", ParseSpecial::kNone), ElementsAre(id(*t, " hello")));
  EXPECT_THAT(t->encode("", ParseSpecial::kNone), ElementsAre());
}

}  // namespace
}  // namespace minicpm

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <map>
#include <random>

#include "small_vocabularies.h"
#include "text/sentencepiece_model.h"
#include "text/sentencepiece_tokenizer.h"
#include "text/space_mark.h"
#include "text/stream_decoder.h"
#include "text/utf8.h"

namespace minicpm {
namespace {

using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;
using testing::small_pieces;
using testing::small_sentencepiece;
using testing::SmallModelOptions;
using testing::SmallPiece;
using Ids = std::vector<int32_t>;

constexpr int32_t kFirstByte = 5;  // id of <0x00> in the small vocabulary

std::unique_ptr<Tokenizer> small(const SmallModelOptions& options = {}) {
  return make_tokenizer_from_sentencepiece(small_sentencepiece(small_pieces(), options), "small.model");
}

std::pair<ErrorCode, std::string> load_error(std::string_view bytes) {
  return error_of([bytes] { make_tokenizer_from_sentencepiece(bytes, "dir/tokenizer.model"); });
}

TEST(SentencePieceTest, MergesByScore) {
  const auto t = small();
  const auto id = [&t](std::string_view text) { return t->token_id(text).value_or(-1); };
  EXPECT_THAT(t->encode("hello world", ParseSpecial::kNone), ElementsAre(id("hello"), id(" wor"), id("l"), id("d")));
  EXPECT_THAT(t->encode("   ", ParseSpecial::kNone), ElementsAre(id("  "), id(" ")));
  EXPECT_THAT(t->encode("\u4F60", ParseSpecial::kNone),
              ElementsAre(kFirstByte + 0xE4, kFirstByte + 0xBD, kFirstByte + 0xA0));
  EXPECT_THAT(t->encode("\n\xFF", ParseSpecial::kNone), ElementsAre(kFirstByte + 10, kFirstByte + 0xFF));
  EXPECT_EQ(t->description(), "sentencepiece");
  EXPECT_EQ(t->vocab_size(), static_cast<int32_t>(small_pieces().size()));
  EXPECT_EQ(t->bos_id(), 1);
  EXPECT_EQ(t->eos_id(), 2);
  EXPECT_TRUE(t->is_special(2));
  EXPECT_FALSE(t->is_special(3));
  EXPECT_EQ(t->token_bytes(kFirstByte + 0x41), "A");
  EXPECT_EQ(t->token_bytes(1), "<s>");
  EXPECT_EQ(t->token_bytes(100000), "");
}

TEST(SentencePieceTest, ControlPiecesAreAddedTokens) {
  const auto t = small();
  EXPECT_THAT(t->encode("<s></s>", ParseSpecial::kAll), ElementsAre(1, 2));
  const Ids ids = t->encode("<s></s>", ParseSpecial::kNone);
  EXPECT_EQ(std::count_if(ids.begin(), ids.end(), [](int32_t id) { return id < 3; }), 0);
  EXPECT_EQ(t->decode(ids, false), "<s></s>");
  EXPECT_EQ(t->decode(Ids{1, 2}, true), "");
}

TEST(SentencePieceTest, UserDefinedPiecesAreAlwaysMatched) {
  const auto t = small();
  for (const ParseSpecial special : {ParseSpecial::kNone, ParseSpecial::kNonSpecial, ParseSpecial::kAll}) {
    const Ids ids = t->encode("<image><p>hello<image>", special);
    EXPECT_THAT(ids, ElementsAre(3, 4, t->token_id("hello").value(), 3));
  }
}

/// The small vocabulary with <image> declared a special token, as MiniCPM-V 2.0 does.
std::unique_ptr<Tokenizer> with_special_image() {
  std::vector<AddedTokenRule> added(2);
  added[0].token = {"</s>", 2, true};
  added[1].token = {"<image>", 3, true};
  return SentencePieceTokenizer::make(read_sentencepiece_model(small_sentencepiece(small_pieces()), "small.model"),
                                      added, "small.model");
}

TEST(SentencePieceTest, UsersCannotWriteSpecialPieces) {
  const auto t = with_special_image();
  const std::vector<PromptPiece> pieces = {{"<image>", true}, {"a <image></s><p>", false}, {"<image></s>", true}};
  const Ids ids = t->encode(pieces);
  EXPECT_EQ(ids.front(), 3);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 3), 2);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 2), 1);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 4), 1);  // <p> is an ordinary user-defined piece
  EXPECT_EQ(t->decode(ids, false), join(pieces));
  // Nor by halves, nor with spaces (three bytes each inside) shifting the places.
  const std::vector<PromptPiece> halves = {{"   <im", true}, {"age>", false}};
  for (const int32_t id : t->encode(halves))
    EXPECT_NE(id, 3);
  EXPECT_EQ(t->encode(std::vector<PromptPiece>{{"\u2581  ", false}, {"<image>", true}}).back(), 3);
}

TEST(SentencePieceTest, SpecialPiecesAreNotReachedByMerging) {
  std::vector<SmallPiece> pieces = small_pieces();
  for (const char* text : {"<im", "im", "<ima", "age>", "ag", "age", "<i"})
    pieces.push_back({text, -50, 1});
  std::vector<AddedTokenRule> added(1);
  added[0].token = {"<image>", 3, true};
  const auto t = SentencePieceTokenizer::make(read_sentencepiece_model(small_sentencepiece(pieces), "x"), added, "x");
  for (const int32_t id : t->encode(std::vector<PromptPiece>{{"<image>", false}}))
    EXPECT_NE(id, 3);
}

TEST(SentencePieceTest, AnyBytesSurviveARoundTrip) {
  const auto t = small();
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 3000; ++round) {
    std::string bytes;
    for (unsigned i = random() % 100; i > 0; --i)
      bytes += random() % 4 == 0 ? static_cast<char>(random()) : "hello world<image>\xC3\xA9"[random() % 20];
    if (bytes.find(kSpaceMark) != std::string::npos) continue;  // stands for a space
    const Ids ids = t->encode(bytes, ParseSpecial::kAll);
    ASSERT_EQ(t->decode(ids, false), bytes);
    StreamDecoder decoder(*t);
    std::string streamed;
    for (const int32_t id : ids)
      streamed += decoder.push(id);
    ASSERT_EQ(streamed + decoder.finish(), replace_invalid_utf8(bytes));
  }
}

/// The definition: the adjacent pair that forms the piece of the highest score is joined, the leftmost of equals.
Ids reference(const std::string& text, const std::map<std::string, std::pair<float, int32_t>>& pieces) {
  std::vector<std::string> parts;
  for (const char c : text)
    parts.emplace_back(1, c);
  for (;;) {
    size_t best = parts.size();
    float best_score = -std::numeric_limits<float>::infinity();
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto it = pieces.find(parts[i] + parts[i + 1]);
      if (it != pieces.end() && it->second.first > best_score) {
        best = i;
        best_score = it->second.first;
      }
    }
    if (best == parts.size()) break;
    parts[best] += parts[best + 1];
    parts.erase(parts.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
  Ids ids;
  for (const std::string& part : parts)
    ids.push_back(pieces.at(part).second);
  return ids;
}

TEST(SentencePieceTest, AgreesWithTheDefinitionOnRandomVocabularies) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 200; ++round) {
    std::vector<SmallPiece> pieces = {{"<unk>", 0, 2}};
    std::map<std::string, std::pair<float, int32_t>> known;
    const auto add = [&](const std::string& text) {
      const float score = static_cast<float>(random() % 8) - 4;  // many equal scores, both signs
      if (known.emplace(text, std::pair(score, static_cast<int32_t>(pieces.size()))).second) {
        pieces.push_back({text, score, 1});
      }
    };
    for (const char* text : {"a", "b", "c"})
      add(text);
    for (int i = 0; i < 25; ++i) {
      std::string text;
      for (unsigned n = 2 + random() % 4; n > 0; --n)
        text += "abc"[random() % 3];
      add(text);
    }
    SmallModelOptions options;
    options.byte_fallback = false;
    const auto t = make_tokenizer_from_sentencepiece(small_sentencepiece(pieces, options), "x");
    for (const size_t length : {1, 7, 32, 33, 150}) {
      std::string text;
      for (size_t i = 0; i < length; ++i)
        text += "abc"[random() % 3];
      ASSERT_EQ(t->encode(text, ParseSpecial::kNone), reference(text, known)) << text;
    }
  }
}

TEST(SentencePieceTest, UnusedPiecesAreTakenApartAgain) {
  std::vector<SmallPiece> pieces = {{"<unk>", 0, 2}, {"a", -1, 1},   {"b", -1, 1},   {"c", -1, 1},
                                    {"ab", -2, 5},   {"abc", -3, 5}, {"abcc", -4, 1}};
  SmallModelOptions options;
  options.byte_fallback = false;
  const auto t = make_tokenizer_from_sentencepiece(small_sentencepiece(pieces, options), "x");
  EXPECT_THAT(t->encode("abc", ParseSpecial::kNone), ElementsAre(1, 2, 3));
  EXPECT_THAT(t->encode("abcc", ParseSpecial::kNone), ElementsAre(6));  // reached through them
}

TEST(SentencePieceTest, WithoutBytesUnknownNeighboursShareAToken) {
  SmallModelOptions options;
  options.byte_fallback = false;
  const auto t = small(options);
  const int32_t h = t->token_id("h").value();
  EXPECT_THAT(t->encode("h\u4F60\u597Dh", ParseSpecial::kNone), ElementsAre(h, 0, h));
}

TEST(SentencePieceTest, DummyPrefix) {
  SmallModelOptions options;
  options.dummy_prefix = true;
  const auto t = small(options);
  EXPECT_THAT(t->encode("world", ParseSpecial::kNone),
              ElementsAre(t->token_id(" wor").value(), t->token_id("l").value(), t->token_id("d").value()));
  EXPECT_THAT(t->encode("", ParseSpecial::kNone), ElementsAre());
}

TEST(SentencePieceTest, LongRunsStayFast) {
  const auto t = small();
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(t->encode(std::string(200'000, 'a'), ParseSpecial::kNone).size(), 50'000u);
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), 5);
}

TEST(SentencePieceTest, UnsupportedKinds) {
  SmallModelOptions unigram;
  unigram.model_type = 1;
  EXPECT_EQ(load_error(small_sentencepiece(small_pieces(), unigram)).first, ErrorCode::kUnsupported);
  SmallModelOptions map;
  map.characters_map = "x";
  EXPECT_THAT(load_error(small_sentencepiece(small_pieces(), map)).second, HasSubstr("a character map"));
  SmallModelOptions remove;
  remove.remove_spaces = true;
  EXPECT_THAT(load_error(small_sentencepiece(small_pieces(), remove)).second, HasSubstr("remove_extra_whitespaces"));
  SmallModelOptions escape;
  escape.escape_spaces = false;
  EXPECT_EQ(load_error(small_sentencepiece(small_pieces(), escape)).first, ErrorCode::kUnsupported);
}

TEST(SentencePieceTest, DamagedPieces) {
  const auto with_piece = [](SmallPiece piece) {
    std::vector<SmallPiece> pieces = small_pieces();
    pieces.push_back(std::move(piece));
    return load_error(small_sentencepiece(pieces));
  };
  EXPECT_THAT(with_piece({"hello", 0, 1}).second, HasSubstr("lists \"hello\" twice"));
  EXPECT_THAT(with_piece({"", 0, 1}).second, HasSubstr("piece 286 must be UTF-8"));
  EXPECT_THAT(with_piece({"\xFF", 0, 1}).second, HasSubstr("piece 286 must be UTF-8"));
  EXPECT_THAT(with_piece({std::string(2000, 'x'), 0, 1}).second, HasSubstr("of 1 to 1024 bytes"));
  EXPECT_THAT(with_piece({"x", std::numeric_limits<float>::quiet_NaN(), 1}).second, HasSubstr("no finite score"));
  EXPECT_THAT(with_piece({"x", 0, 7}).second, HasSubstr("piece 286 has type 7"));
  EXPECT_THAT(with_piece({"x", 0, 0}).second, HasSubstr("has type 0"));
  EXPECT_THAT(with_piece({"<0x4>", 0, 6}).second, HasSubstr("byte piece 286 is named \"<0x4>\""));
  std::vector<SmallPiece> pieces = small_pieces();
  pieces.erase(pieces.begin() + kFirstByte + 10);
  EXPECT_THAT(load_error(small_sentencepiece(pieces)).second, HasSubstr("no byte piece \"<0x0A>\""));
  EXPECT_THAT(load_error("").second, HasSubstr("dir/tokenizer.model: a SentencePiece model without pieces"));
}

// A cut at the border between two fields leaves a file that reads well but lacks its settings.
TEST(SentencePieceTest, AFileCutOffAnywhereIsRefused) {
  const std::string bytes = small_sentencepiece(small_pieces());
  ASSERT_EQ(load_error(bytes).second, "no error");
  for (size_t length = 0; length < bytes.size(); ++length) {
    const auto [code, message] = load_error(bytes.substr(0, length));
    ASSERT_TRUE(code == ErrorCode::kBadFile || code == ErrorCode::kUnsupported) << length << ": " << message;
    ASSERT_THAT(message, HasSubstr("dir/tokenizer.model: ")) << length;
  }
}

TEST(SentencePieceTest, ChangedBytesNeverCrash) {
  const std::string good = small_sentencepiece(small_pieces());
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = good;
    for (unsigned i = 1 + random() % 4; i > 0; --i)
      bytes[random() % bytes.size()] = static_cast<char>(random());
    const auto [code, message] = error_of([&] {
      make_tokenizer_from_sentencepiece(bytes, "x")->encode("hello <image> world \xFF\u4F60", ParseSpecial::kAll);
    });
    ASSERT_TRUE(code == ErrorCode::kBadFile || code == ErrorCode::kUnsupported || message == "no error") << message;
  }
}

TEST(SentencePieceTest, DamagedNumbers) {
  EXPECT_THAT(load_error(std::string(20, '\xFF')).second, HasSubstr("more than 10 bytes"));
  EXPECT_THAT(load_error("\x0A\xFF\xFF\xFF\xFF\x0F").second, HasSubstr("a field needs 4294967295 bytes"));
  EXPECT_THAT(load_error("\x0B").second, HasSubstr("unknown wire type 3"));
}

}  // namespace
}  // namespace minicpm

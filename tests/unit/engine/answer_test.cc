#include "engine/answer.h"

#include <gtest/gtest.h>

namespace minicpm {
namespace {

/// Ids 0..255 are bytes; 256 is "</think>", 257 " stop".
class ByteTokenizer : public Tokenizer {
 public:
  std::vector<int32_t> encode(std::string_view, ParseSpecial) const override { return {}; }
  std::vector<int32_t> encode(std::span<const PromptPiece>) const override { return {}; }
  std::string token_bytes(int32_t id) const override {
    if (id == 256) return "</think>";
    if (id == 257) return " stop";
    return std::string(1, static_cast<char>(id));
  }
  std::string decode(std::span<const int32_t>, bool) const override { return ""; }
  int32_t vocab_size() const override { return 258; }
  std::optional<int32_t> token_id(std::string_view text) const override {
    return text == "</think>" ? std::optional<int32_t>(256) : std::nullopt;
  }
  bool is_special(int32_t) const override { return false; }
  const std::vector<AddedToken>& added_tokens() const override { return added_; }
  std::optional<int32_t> bos_id() const override { return std::nullopt; }
  std::optional<int32_t> eos_id() const override { return std::nullopt; }
  std::string description() const override { return "bytes"; }

 private:
  std::vector<AddedToken> added_;
};

struct Streamed {
  std::string text, reasoning;
  OnDelta sink() {
    return [this](const TextDelta& delta) { (delta.reasoning ? reasoning : text) += delta.text; };
  }
};

bool push_text(AnswerBuilder& answer, std::string_view text) {
  for (unsigned char c : text) {
    if (answer.push(c)) return true;
  }
  return false;
}

const ByteTokenizer kTokenizer;

TEST(AnswerBuilder, StreamsWhatItReturns) {
  Streamed streamed;
  AnswerBuilder answer(kTokenizer, {}, false, streamed.sink());
  EXPECT_FALSE(push_text(answer, "\n\n A cat \xc3\xa4 "));
  answer.finish();
  EXPECT_EQ(answer.text(), "A cat \xc3\xa4");
  EXPECT_EQ(streamed.text, "A cat \xc3\xa4 ");
  EXPECT_FALSE(answer.reasoning().has_value());
}

TEST(AnswerBuilder, CutsAtAStopStringAcrossTokens) {
  Streamed streamed;
  AnswerBuilder answer(kTokenizer, {"STOP", "\n\n"}, false, streamed.sink());
  EXPECT_TRUE(push_text(answer, "one STO two STOP three"));
  EXPECT_TRUE(answer.push('x'));
  answer.finish();
  EXPECT_EQ(answer.text(), "one STO two");
  EXPECT_EQ(streamed.text, "one STO two ");
}

TEST(AnswerBuilder, TakesTheEarliestOfSeveralStops) {
  AnswerBuilder answer(kTokenizer, {"stop", "o w"}, false, {});
  push_text(answer, "hello w");
  answer.finish();
  EXPECT_EQ(answer.text(), "hell");
}

TEST(AnswerBuilder, GivesBackTheBeginningOfAStopStringThatNeverCame) {
  Streamed streamed;
  AnswerBuilder answer(kTokenizer, {"<end>"}, false, streamed.sink());
  push_text(answer, "a <en");
  EXPECT_EQ(streamed.text, "a ");
  answer.finish();
  EXPECT_EQ(answer.text(), "a <en");
  EXPECT_EQ(streamed.text, "a <en");
}

TEST(AnswerBuilder, KeepsReasoningApart) {
  Streamed streamed;
  AnswerBuilder answer(kTokenizer, {"!"}, true, streamed.sink());
  EXPECT_FALSE(push_text(answer, "\nwell! so"));  // stop strings count in the answer only
  EXPECT_FALSE(answer.push(256));
  EXPECT_TRUE(push_text(answer, "\n\nyes!"));
  answer.finish();
  EXPECT_EQ(*answer.reasoning(), "well! so");
  EXPECT_EQ(answer.text(), "yes");
  EXPECT_EQ(streamed.reasoning, "well! so");
  EXPECT_EQ(streamed.text, "yes");
}

TEST(AnswerBuilder, UnfinishedReasoningIsNoAnswer) {
  AnswerBuilder answer(kTokenizer, {}, true, {});
  push_text(answer, "hmm");
  answer.finish();
  EXPECT_EQ(*answer.reasoning(), "hmm");
  EXPECT_EQ(answer.text(), "");
}

TEST(AnswerBuilder, HoldsHalfACharacterBack) {
  Streamed streamed;
  AnswerBuilder answer(kTokenizer, {}, false, streamed.sink());
  answer.push('a');
  answer.push(0xe4);
  answer.push(0xbd);
  EXPECT_EQ(streamed.text, "a");
  answer.push(0xa0);
  EXPECT_EQ(streamed.text, "a\xe4\xbd\xa0");
  answer.push(0xe4);
  answer.finish();
  EXPECT_EQ(answer.text(), "a\xe4\xbd\xa0\xef\xbf\xbd");
}

}  // namespace
}  // namespace minicpm

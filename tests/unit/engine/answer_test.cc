#include "engine/answer.h"

#include <gtest/gtest.h>

namespace minicpm {
namespace {

/// Ids 0..255 are bytes; 256 is "</think>", 257 " stop", 258 "<tool_call>", 259 "</tool_call>".
class ByteTokenizer : public Tokenizer {
 public:
  std::vector<int32_t> encode(std::string_view, ParseSpecial) const override { return {}; }
  std::vector<int32_t> encode(std::span<const PromptPiece>) const override { return {}; }
  std::string token_bytes(int32_t id) const override {
    if (id == 256) return "</think>";
    if (id == 257) return " stop";
    if (id >= 258) return id == 258 ? "<tool_call>" : "</tool_call>";
    return std::string(1, static_cast<char>(id));
  }
  std::string decode(std::span<const int32_t>, bool) const override { return ""; }
  int32_t vocab_size() const override { return 260; }
  std::optional<int32_t> token_id(std::string_view text) const override {
    for (const int32_t id : {256, 258, 259}) {
      if (token_bytes(id) == text) return id;
    }
    return std::nullopt;
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
  AnswerBuilder answer(kTokenizer, {.stop = {}, .thinking = false}, streamed.sink());
  EXPECT_FALSE(push_text(answer, "\n\n A cat \xc3\xa4 "));
  answer.finish();
  EXPECT_EQ(answer.text(), "A cat \xc3\xa4");
  EXPECT_EQ(streamed.text, "A cat \xc3\xa4 ");
  EXPECT_FALSE(answer.reasoning().has_value());
}

TEST(AnswerBuilder, CutsAtAStopStringAcrossTokens) {
  Streamed streamed;
  AnswerBuilder answer(kTokenizer, {.stop = {"STOP", "\n\n"}, .thinking = false}, streamed.sink());
  EXPECT_TRUE(push_text(answer, "one STO two STOP three"));
  EXPECT_TRUE(answer.push('x'));
  answer.finish();
  EXPECT_EQ(answer.text(), "one STO two");
  EXPECT_EQ(streamed.text, "one STO two ");
}

TEST(AnswerBuilder, TakesTheEarliestOfSeveralStops) {
  AnswerBuilder answer(kTokenizer, {.stop = {"stop", "o w"}, .thinking = false}, {});
  push_text(answer, "hello w");
  answer.finish();
  EXPECT_EQ(answer.text(), "hell");
}

TEST(AnswerBuilder, GivesBackTheBeginningOfAStopStringThatNeverCame) {
  Streamed streamed;
  AnswerBuilder answer(kTokenizer, {.stop = {"<end>"}, .thinking = false}, streamed.sink());
  push_text(answer, "a <en");
  EXPECT_EQ(streamed.text, "a ");
  answer.finish();
  EXPECT_EQ(answer.text(), "a <en");
  EXPECT_EQ(streamed.text, "a <en");
}

TEST(AnswerBuilder, KeepsReasoningApart) {
  Streamed streamed;
  AnswerBuilder answer(kTokenizer, {.stop = {"!"}, .thinking = true}, streamed.sink());
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
  AnswerBuilder answer(kTokenizer, {.stop = {}, .thinking = true}, {});
  push_text(answer, "hmm");
  answer.finish();
  EXPECT_EQ(*answer.reasoning(), "hmm");
  EXPECT_EQ(answer.text(), "");
}

TEST(AnswerBuilder, HoldsHalfACharacterBack) {
  Streamed streamed;
  AnswerBuilder answer(kTokenizer, {.stop = {}, .thinking = false}, streamed.sink());
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

struct StreamedCalls {
  std::vector<std::string> names, arguments;
  std::string text;
  OnDelta sink() {
    return [this](const TextDelta& delta) {
      if (!delta.call) {
        text += delta.text;
        return;
      }
      if (!delta.name.empty()) {
        names.push_back(delta.name);
        arguments.emplace_back();
      }
      EXPECT_EQ(*delta.call, static_cast<int>(names.size()) - 1);
      arguments.back() += delta.text;
    };
  }
};

TEST(AnswerBuilder, CallsAreApartFromTheText) {
  StreamedCalls streamed;
  AnswerBuilder answer(kTokenizer, {.stop = {"}"}, .calls = true}, streamed.sink());
  EXPECT_FALSE(push_text(answer, "Let me see.\n"));
  answer.push(258);
  push_text(answer, "\n{\"name\": \"look\", \"arguments\": {\"at\": \"a }\\n \xe6\xbc\xa2\"}}\n");
  answer.push(259);
  push_text(answer, "\n");
  answer.push(258);
  push_text(answer, "\n{\"name\": \"go\", \"arguments\": {}}\n");
  answer.push(259);
  answer.finish();
  EXPECT_EQ(answer.text(), "Let me see.");
  EXPECT_EQ(streamed.names, (std::vector<std::string>{"look", "go"}));
  EXPECT_EQ(streamed.arguments, (std::vector<std::string>{"{\"at\": \"a }\\n \xe6\xbc\xa2\"}", "{}"}));
  ASSERT_EQ(answer.calls().size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(answer.calls()[i].name, streamed.names[i]);
    EXPECT_EQ(answer.calls()[i].arguments, streamed.arguments[i]);
    EXPECT_TRUE(answer.calls()[i].complete);
  }
}

TEST(AnswerBuilder, ACallThatIsCutOffIsNotComplete) {
  AnswerBuilder answer(kTokenizer, {.calls = true}, {});
  answer.push(258);
  push_text(answer, "\n{\"name\": \"look\", \"arguments\": {\"at\": ");
  answer.finish();
  ASSERT_EQ(answer.calls().size(), 1u);
  EXPECT_EQ(answer.calls()[0].arguments, "{\"at\": ");
  EXPECT_FALSE(answer.calls()[0].complete);
  EXPECT_EQ(answer.text(), "");
}

TEST(AnswerBuilder, MarksOfCallsAreTextWithoutToolsAndWhenSpelled) {
  AnswerBuilder plain(kTokenizer, {}, {});
  plain.push(258);
  push_text(plain, "x");
  EXPECT_EQ(plain.text(), "<tool_call>x");
  AnswerBuilder spelled(kTokenizer, {.calls = true}, {});
  push_text(spelled, "<tool_call>x");
  EXPECT_EQ(spelled.text(), "<tool_call>x");
  EXPECT_TRUE(spelled.calls().empty());
}

TEST(AnswerBuilder, KeepsBlanksWhenAsked) {
  AnswerBuilder answer(kTokenizer, {.keep_blanks = true}, {});
  push_text(answer, "\n  x \n");
  answer.finish();
  EXPECT_EQ(answer.text(), "\n  x \n");
}

}  // namespace
}  // namespace minicpm

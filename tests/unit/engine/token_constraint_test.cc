#include "engine/token_constraint.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "engine/sampler.h"
#include "text/json_schema.h"
#include "text/tool_calls.h"

namespace minicpm {
namespace {

/// Every byte, some longer tokens, two of them alike, and two special ones.
class SmallVocabulary : public Tokenizer {
 public:
  SmallVocabulary() {
    for (int byte = 0; byte < 256; ++byte)
      tokens_.emplace_back(1, static_cast<char>(byte));
    for (const char* text : {"{\"", "\": ", "true", "tr", "ue}", "\"name", "\"name", ", \"", "false}"})
      tokens_.emplace_back(text);
    for (const char* text : {"<end>", "</think>", "<tool_call>", "</tool_call>"}) {
      added_.push_back({text, static_cast<int32_t>(tokens_.size()), true});
      tokens_.emplace_back(text);
    }
  }

  std::vector<int32_t> encode(std::string_view, ParseSpecial) const override { return {}; }
  std::vector<int32_t> encode(std::span<const PromptPiece>) const override { return {}; }
  std::string token_bytes(int32_t id) const override { return tokens_[static_cast<size_t>(id)]; }
  std::string decode(std::span<const int32_t> ids, bool) const override {
    std::string text;
    for (const int32_t id : ids)
      text += token_bytes(id);
    return text;
  }
  int32_t vocab_size() const override { return static_cast<int32_t>(tokens_.size()); }
  std::optional<int32_t> token_id(std::string_view) const override { return std::nullopt; }
  bool is_special(int32_t id) const override { return id >= added_.front().id; }
  const std::vector<AddedToken>& added_tokens() const override { return added_; }
  std::optional<int32_t> bos_id() const override { return std::nullopt; }
  std::optional<int32_t> eos_id() const override { return std::nullopt; }
  std::string description() const override { return "small"; }

  int32_t end() const { return added_[0].id; }
  int32_t think_end() const { return added_[1].id; }
  int32_t call_begin() const { return added_[2].id; }
  int32_t call_end() const { return added_[3].id; }

 private:
  std::vector<std::string> tokens_;
  std::vector<AddedToken> added_;
};

class TokenConstraintTest : public ::testing::Test {
 protected:
  TokenConstraint constraint(const char* schema, std::optional<int32_t> begin_behind = std::nullopt) {
    return {std::make_shared<const Grammar>(json_schema_grammar(parse_json(schema, "test"))),
            std::make_shared<const VocabularyTree>(vocabulary_),
            {.stop_ids = {vocabulary_.end()}, .reasoning_end = begin_behind}};
  }

  TokenConstraint calls(bool only, bool once, std::optional<int32_t> reasoning_end = std::nullopt) {
    const Json tools = parse_json(R"([{"type": "function", "function": {"name": "f"}}])", "test");
    return {std::make_shared<const Grammar>(tool_call_grammar(tools, "")),
            std::make_shared<const VocabularyTree>(vocabulary_),
            {.stop_ids = {vocabulary_.end()},
             .reasoning_end = reasoning_end,
             .calls = ConstrainedPart::Calls{vocabulary_.call_begin(), vocabulary_.call_end(), only, once}}};
  }

  void accept_text(TokenConstraint& constraint, std::string_view text) {
    for (const char c : text)
      constraint.accept(static_cast<uint8_t>(c));
  }

  std::vector<std::string> allowed(TokenConstraint& constraint) {
    std::vector<float> logits(static_cast<size_t>(vocabulary_.vocab_size()), 0.0f);
    constraint.apply(logits);
    std::vector<std::string> texts;
    for (int32_t id = 0; id < vocabulary_.vocab_size(); ++id) {
      if (!std::isinf(logits[static_cast<size_t>(id)])) texts.push_back(vocabulary_.token_bytes(id));
    }
    return texts;
  }

  int32_t id_of(const std::string& text) const {
    for (int32_t id = vocabulary_.vocab_size() - 1; id >= 0; --id) {
      if (vocabulary_.token_bytes(id) == text) return id;
    }
    return -1;
  }

  SmallVocabulary vocabulary_;
};

TEST_F(TokenConstraintTest, OnlyWhatTheSchemaAllows) {
  TokenConstraint c = constraint(R"({"enum": [true, "name"]})");
  EXPECT_EQ(allowed(c), (std::vector<std::string>{"\"", "t", "true", "tr", "\"name", "\"name"}));
  c.accept(id_of("tr"));
  EXPECT_EQ(allowed(c), (std::vector<std::string>{"u"}));
  c.accept(id_of("u"));
  c.accept(id_of("e"));
  EXPECT_EQ(allowed(c), (std::vector<std::string>{"<end>"}));
}

TEST_F(TokenConstraintTest, BeginsBehindTheReasoning) {
  TokenConstraint c = constraint(R"({"const": 1})", vocabulary_.think_end());
  EXPECT_EQ(allowed(c).size(), static_cast<size_t>(vocabulary_.vocab_size()));
  c.accept(id_of("x"));
  c.accept(vocabulary_.think_end());
  EXPECT_EQ(allowed(c), (std::vector<std::string>{"1"}));
}

TEST_F(TokenConstraintTest, CallsHaveTheirFormAndTextIsFree) {
  const size_t all = static_cast<size_t>(vocabulary_.vocab_size());
  TokenConstraint c = calls(false, false);
  EXPECT_EQ(allowed(c).size(), all);
  accept_text(c, "text");
  EXPECT_EQ(allowed(c).size(), all);
  c.accept(vocabulary_.call_begin());
  EXPECT_EQ(allowed(c), (std::vector<std::string>{"\n"}));
  accept_text(c, "\n{\"name\": \"f\", \"arguments\": {}}");
  EXPECT_EQ(allowed(c), (std::vector<std::string>{"\n"}));
  accept_text(c, "\n");
  EXPECT_EQ(allowed(c), (std::vector<std::string>{"</tool_call>"}));
  c.accept(vocabulary_.call_end());
  EXPECT_EQ(allowed(c).size(), all);
}

TEST_F(TokenConstraintTest, ACallMayBeWantedAtOnceAndOnce) {
  TokenConstraint c = calls(true, true, vocabulary_.think_end());
  EXPECT_EQ(allowed(c).size(), static_cast<size_t>(vocabulary_.vocab_size()));
  c.accept(vocabulary_.call_begin());  // in the reasoning it means nothing
  c.accept(vocabulary_.think_end());
  EXPECT_EQ(allowed(c), (std::vector<std::string>{"<tool_call>"}));
  c.accept(vocabulary_.call_begin());
  accept_text(c, "\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n");
  c.accept(vocabulary_.call_end());
  EXPECT_EQ(allowed(c), (std::vector<std::string>{"<end>"}));
}

TEST_F(TokenConstraintTest, AnAnswerMayBeNothingButCalls) {
  TokenConstraint c = calls(true, false);
  EXPECT_EQ(allowed(c), (std::vector<std::string>{"<tool_call>"}));
  c.accept(vocabulary_.call_begin());
  accept_text(c, "\n{\"name\": \"f\", \"arguments\": {}}\n");
  c.accept(vocabulary_.call_end());
  EXPECT_EQ(allowed(c), (std::vector<std::string>{"\n", "<end>", "<tool_call>"}));
  c.accept('\n');
  EXPECT_EQ(allowed(c), (std::vector<std::string>{"<tool_call>"}));
}

// Whatever a model likes best, what is drawn is JSON of the schema.
TEST_F(TokenConstraintTest, RandomLogitsGiveTheSchemasForm) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0.0f, 3.0f);
  for (int round = 0; round < 20; ++round) {
    SamplingParams params;
    params.seed = random();
    Sampler sampler(params, {vocabulary_.end()},
                    std::make_shared<TokenConstraint>(constraint(
                        R"({"type": "object", "properties": {"name": {"type": "string", "maxLength": 5},
                            "ok": {"type": "boolean"}}, "required": ["name", "ok"]})")));
    std::vector<int32_t> ids;
    for (int i = 0; i < 200; ++i) {
      std::vector<float> logits(static_cast<size_t>(vocabulary_.vocab_size()));
      for (float& logit : logits)
        logit = normal(random);
      const int32_t id = sampler.sample_token(logits, ids).id;
      if (id == vocabulary_.end()) break;
      ids.push_back(id);
    }
    const Json json = parse_json(vocabulary_.decode(ids, false), "answer");
    EXPECT_TRUE(json.at("name").is_string());
    EXPECT_TRUE(json.at("ok").is_boolean());
  }
}

}  // namespace
}  // namespace minicpm

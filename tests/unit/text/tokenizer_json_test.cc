// Damaged and unusual tokenizer.json files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "small_vocabularies.h"

namespace minicpm {
namespace {

using testing::error_of;
using ::testing::HasSubstr;
using testing::small_json;

std::pair<ErrorCode, std::string> load_error(std::string_view text) {
  return error_of([text] { make_tokenizer_from_json(text, "dir/tokenizer.json"); });
}

struct Damage {
  const char* name;
  void (*apply)(Json&);
  ErrorCode code;
  const char* message;  // a part of it
};

constexpr ErrorCode kBad = ErrorCode::kBadFile;
constexpr ErrorCode kUnsupported = ErrorCode::kUnsupported;

Json& split(Json& j) {
  return j["pre_tokenizer"]["pretokenizers"][0];
}

const Damage kDamages[] = {
    {"no model", [](Json& j) { j.erase("model"); }, kBad, "\"model\" is missing"},
    {"model a string", [](Json& j) { j["model"] = "x"; }, kBad, "\"model\" must be an object, found string"},
    {"model an array", [](Json& j) { j["model"] = {1}; }, kBad, "\"model\" must be an object"},
    {"no vocab", [](Json& j) { j["model"].erase("vocab"); }, kBad, "\"model.vocab\" must be an object"},
    {"vocab an array",
     [](Json& j) {
       j["model"]["vocab"] = {1, 2};
     },
     kBad, "\"model.vocab\" must be an object"},
    {"vocab empty", [](Json& j) { j["model"]["vocab"] = Json::object(); }, kBad, "for byte 0x00"},
    {"a byte missing", [](Json& j) { j["model"]["vocab"].erase("!"); }, kBad, "no token \"!\" for byte 0x21"},
    {"id a string", [](Json& j) { j["model"]["vocab"]["a"] = "1"; }, kBad, "entry \"a\" must have a whole number"},
    {"id a fraction", [](Json& j) { j["model"]["vocab"]["a"] = 1.5; }, kBad, "entry \"a\" must have a whole number"},
    {"id null", [](Json& j) { j["model"]["vocab"]["a"] = nullptr; }, kBad, "found null"},
    {"id an object", [](Json& j) { j["model"]["vocab"]["a"] = Json::object(); }, kBad, "found an object"},
    {"id an array", [](Json& j) { j["model"]["vocab"]["a"] = Json::array(); }, kBad, "found an array"},
    {"id a boolean", [](Json& j) { j["model"]["vocab"]["a"] = true; }, kBad, "found a boolean"},
    {"id negative", [](Json& j) { j["model"]["vocab"]["a"] = -1; }, kBad, "\"a\" has id -1"},
    {"id 2^31", [](Json& j) { j["model"]["vocab"]["a"] = 2147483648; }, kBad, "\"a\" has id 2147483648"},
    {"id 2^31-1", [](Json& j) { j["model"]["vocab"]["a"] = 2147483647; }, kBad, "\"a\" has id 2147483647"},
    {"id 2^64", [](Json& j) { j["model"]["vocab"]["a"] = 18446744073709551616.0; }, kBad, "whole number"},
    {"id twice", [](Json& j) { j["model"]["vocab"]["hello"] = 5; }, kBad, "two tokens of the vocabulary have id 5"},
    {"wide gap", [](Json& j) { j["model"]["vocab"]["hello"] = 10'000'000; }, kBad, "\"hello\" has id 10000000"},
    {"no merges", [](Json& j) { j["model"].erase("merges"); }, kBad, "\"model.merges\" must be an array"},
    {"merges an object",
     [](Json& j) {
       j["model"]["merges"] = {{"a", 1}};
     },
     kBad, "\"model.merges\" must be an array"},
    {"merge unknown",
     [](Json& j) {
       j["model"]["merges"].push_back({"a", "q"});
     },
     kBad, "names \"aq\""},
    {"merge part unknown",
     [](Json& j) {
       j["model"]["merges"].push_back({"zz", "q"});
     },
     kBad, "names \"zz\""},
    {"merge of three",
     [](Json& j) {
       j["model"]["merges"].push_back({"a", "b", "c"});
     },
     kBad, "more than two"},
    {"merge of one", [](Json& j) { j["model"]["merges"].push_back(Json::array({"a"})); }, kBad, "fewer than two"},
    {"merge a number", [](Json& j) { j["model"]["merges"].push_back(3); }, kBad, "merge 14 must be"},
    {"merge with a number",
     [](Json& j) {
       j["model"]["merges"].push_back({"a", 1});
     },
     kBad, "merge 14 must be"},
    {"merge an object", [](Json& j) { j["model"]["merges"].push_back(Json::object()); }, kBad, "merge 14 must be"},
    {"merge without space", [](Json& j) { j["model"]["merges"].push_back("ab"); }, kBad, "exactly one space"},
    {"merge with spaces", [](Json& j) { j["model"]["merges"].push_back("a b c"); }, kBad, "exactly one space"},
    {"merge half empty", [](Json& j) { j["model"]["merges"].push_back("a "); }, kBad, "an empty string"},
    {"unigram", [](Json& j) { j["model"]["type"] = "Unigram"; }, kUnsupported, "of type \"Unigram\""},
    {"type a number", [](Json& j) { j["model"]["type"] = 1; }, kBad, "\"type\" must be a string"},
    {"dropout", [](Json& j) { j["model"]["dropout"] = 0.1; }, kUnsupported, "\"dropout\""},
    {"suffix", [](Json& j) { j["model"]["end_of_word_suffix"] = "</w>"; }, kUnsupported, "\"end_of_word_suffix\""},
    {"added a string", [](Json& j) { j["added_tokens"] = "x"; }, kBad, "\"added_tokens\" must be an array"},
    {"added member", [](Json& j) { j["added_tokens"][0] = 1; }, kBad, "added_tokens[0]: expected a JSON object"},
    {"added no id", [](Json& j) { j["added_tokens"][0].erase("id"); }, kBad, "added_tokens[0]: \"id\" is missing"},
    {"added id negative", [](Json& j) { j["added_tokens"][0]["id"] = -4; }, kBad, "\"id\" is -4"},
    {"added id 2^31", [](Json& j) { j["added_tokens"][0]["id"] = 2147483648; }, kBad, "\"id\" is 2147483648"},
    {"added id far", [](Json& j) { j["added_tokens"][0]["id"] = 2147483647; }, kBad, "has id 2147483647"},
    {"added id 2^63", [](Json& j) { j["added_tokens"][0]["id"] = 9223372036854775808u; }, kBad, "is too large"},
    {"added no text", [](Json& j) { j["added_tokens"][1].erase("content"); }, kBad, "\"content\" is missing"},
    {"added empty", [](Json& j) { j["added_tokens"][1]["content"] = ""; }, kBad, "added token 301 has 0 bytes"},
    {"added long", [](Json& j) { j["added_tokens"][1]["content"] = std::string(300, 'x'); }, kBad, "has 300 bytes"},
    {"added two ids", [](Json& j) { j["added_tokens"][1]["content"] = "<|im_start|>"; }, kBad, "has two ids"},
    {"added two texts", [](Json& j) { j["added_tokens"][1]["id"] = 300; }, kBad, "has two texts"},
    {"added collides", [](Json& j) { j["added_tokens"][1]["id"] = 65; }, kBad, "which the vocabulary gives to"},
    {"flag a number", [](Json& j) { j["added_tokens"][1]["special"] = 1; }, kBad, "\"special\" must be true or false"},
    {"normalizer odd", [](Json& j) { j["normalizer"]["type"] = "NFKC"; }, kUnsupported, "normalizer \"NFKC\""},
    {"normalizer typeless", [](Json& j) { j["normalizer"] = Json::object(); }, kBad, "\"type\" is missing"},
    {"normalizer a list", [](Json& j) { j["normalizer"] = Json::array(); }, kBad, "\"normalizer\" must be an object"},
    {"sequence empty", [](Json& j) { j["normalizer"]["type"] = "Sequence"; }, kBad, "\"normalizers\" must be an array"},
    {"pre_tokenizer odd", [](Json& j) { split(j)["type"] = "Whitespace"; }, kUnsupported,
     "pre_tokenizer \"Whitespace\""},
    {"no byte level", [](Json& j) { j["pre_tokenizer"] = nullptr; }, kUnsupported, "expected a byte-level"},
    {"prefix space", [](Json& j) { j["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = true; }, kUnsupported,
     "add_prefix_space"},
    {"after byte level", [](Json& j) { j["pre_tokenizer"]["pretokenizers"].push_back(split(j)); }, kUnsupported,
     "\"Split\" after ByteLevel"},
    {"no pattern", [](Json& j) { split(j).erase("pattern"); }, kBad, "\"pattern\" is missing"},
    {"pattern a string", [](Json& j) { split(j)["pattern"] = "x"; }, kBad, "\"pattern\" must be an object"},
    {"pattern of nothing", [](Json& j) { split(j)["pattern"] = Json::object(); }, kBad, "\"Regex\" is missing"},
    {"pattern broken", [](Json& j) { split(j)["pattern"]["Regex"] = "[a"; }, kBad, "\"[a\" is not a valid regular"},
    {"pattern long", [](Json& j) { split(j)["pattern"]["Regex"] = std::string(70'000, 'a'); }, kBad, "not a valid"},
    {"behavior", [](Json& j) { split(j)["behavior"] = "Removed"; }, kUnsupported, "\"Isolated\""},
    {"many steps",
     [](Json& j) {
       const Json one = split(j);
       Json& list = j["pre_tokenizer"]["pretokenizers"];
       list.insert(list.begin(), 20, one);
     },
     kUnsupported, "more than 16 steps"},
};

TEST(TokenizerJsonTest, DamageIsReportedWithFileAndField) {
  for (const Damage& damage : kDamages) {
    SCOPED_TRACE(damage.name);
    Json json = small_json();
    damage.apply(json);
    const auto [code, message] = load_error(json.dump());
    EXPECT_EQ(code, damage.code) << message;
    EXPECT_THAT(message, HasSubstr("dir/tokenizer.json"));
    EXPECT_THAT(message, HasSubstr(damage.message));
  }
}

TEST(TokenizerJsonTest, AFileCutOffAnywhereIsABadFile) {
  const std::string text = small_json().dump();
  ASSERT_EQ(load_error(text).second, "no error");
  for (size_t length = 0; length < text.size(); ++length) {
    const auto [code, message] = load_error(text.substr(0, length));
    ASSERT_EQ(code, ErrorCode::kBadFile) << length;
    ASSERT_THAT(message, HasSubstr("dir/tokenizer.json: not valid JSON at byte")) << length;
  }
}

TEST(TokenizerJsonTest, OtherDocuments) {
  for (const char* text : {"null", "1", "[]", "\"x\"", "true", "[[1]]"}) {
    const auto [code, message] = load_error(text);
    EXPECT_EQ(code, ErrorCode::kBadFile) << text;
    EXPECT_THAT(message, HasSubstr("expected a JSON object")) << text;
  }
  EXPECT_THAT(load_error("{}").second, HasSubstr("\"model\" is missing"));
  EXPECT_THAT(load_error("{\"a\": 1e999}").second, HasSubstr("not valid JSON"));
  EXPECT_THAT(load_error("{\"a\": \"\xFF\"}").second, HasSubstr("not valid JSON"));
}

TEST(TokenizerJsonTest, DeepNestingIsABadFile) {
  for (const std::string& start : {std::string("["), std::string("{\"a\":"), std::string("{\"model\":")}) {
    std::string text;
    for (int i = 0; i < 100'000; ++i)
      text += start;
    EXPECT_THAT(load_error(text).second, HasSubstr("nested deeper than 64 levels"));
  }
  std::string merges = "{\"model\":{\"merges\":" + std::string(100'000, '[');
  EXPECT_THAT(load_error(merges).second, HasSubstr("merge 0 must be"));
}

TEST(TokenizerJsonTest, RepeatedKeys) {
  const std::string vocab = small_json()["model"]["vocab"].dump();
  EXPECT_THAT(load_error("{\"model\":{\"vocab\":" + vocab + ",\"vocab\":" + vocab + "}}").second,
              HasSubstr("\"vocab\" appears twice"));
  EXPECT_THAT(load_error(R"({"model":{"merges":[],"merges":[]}})").second, HasSubstr("\"merges\" appears twice"));
  std::string text = small_json().dump();
  text.insert(text.find("\"vocab\":{") + 9, R"("a":295,)");
  EXPECT_THAT(load_error(text).second, HasSubstr("lists \"a\" twice"));
}

TEST(TokenizerJsonTest, ManyKeysAreReadInLinearTime) {
  std::string text = "{";
  for (int i = 0; i < 200'000; ++i)
    text += fmt::format("\"{}\":0,", i);
  text += "\"end\":0}";
  EXPECT_THAT(load_error(text).second, HasSubstr("\"model\" is missing"));
}

TEST(TokenizerJsonTest, AcceptedForms) {
  const auto plain = testing::small_tokenizer();
  Json strings = small_json();
  strings["model"]["merges"] = Json::array();
  for (const auto& [left, right] : testing::small_merges())
    strings["model"]["merges"].push_back(left + " " + right);
  strings["model"]["dropout"] = nullptr;
  strings["model"]["end_of_word_suffix"] = "";
  strings["truncation"] = nullptr;
  const auto other = make_tokenizer_from_json(strings.dump(2), "x");
  const std::string text = "hello world <|im_end|> 123";
  EXPECT_EQ(other->encode(text, ParseSpecial::kAll), plain->encode(text, ParseSpecial::kAll));

  Json gpt2 = small_json();
  gpt2["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}};
  EXPECT_EQ(make_tokenizer_from_json(gpt2.dump(), "x")->description(), "bpe");

  // The model may come before its parts are used, and keys may stand in any order.
  Json reordered;
  for (const char* key : {"model", "added_tokens", "pre_tokenizer", "normalizer"})
    reordered[key] = small_json()[key];
  EXPECT_EQ(make_tokenizer_from_json(reordered.dump(), "x")->encode(text, ParseSpecial::kAll),
            plain->encode(text, ParseSpecial::kAll));
}

TEST(TokenizerJsonTest, CatastrophicPatternFailsWhenEncoding) {
  Json json = small_json();
  split(json)["pattern"]["Regex"] = "(a+)+b";
  const auto t = make_tokenizer_from_json(json.dump(), "dir/tokenizer.json");
  const auto [code, message] = error_of([&] { t->encode(std::string(3000, 'a') + "cb", ParseSpecial::kNone); });
  EXPECT_EQ(code, ErrorCode::kUnsupported);
  EXPECT_THAT(message, HasSubstr("dir/tokenizer.json"));
}

}  // namespace
}  // namespace minicpm

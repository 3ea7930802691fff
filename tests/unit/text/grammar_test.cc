#include "text/grammar.h"

#include <gtest/gtest.h>

#include <random>

#include "base/error.h"
#include "text/json_schema.h"

namespace minicpm {
namespace {

bool matches(const Grammar& grammar, std::string_view text) {
  GrammarMatcher matcher(grammar);
  const auto state = matcher.next(matcher.start(), text);
  return state != GrammarMatcher::kDead && matcher.accepts(state);
}

TEST(Grammar, Combinations) {
  Grammar g;
  g.set_start(g.sequence({g.literal("a"), g.choice({g.literal("b"), g.literal("bc")}), g.optional(g.literal("d")),
                          g.star(g.literal("ef")), g.repeat(g.literal("g"), 1, 3)}));
  for (const char* good : {"abg", "abcg", "abdg", "abcdefefggg"})
    EXPECT_TRUE(matches(g, good)) << good;
  for (const char* bad : {"", "ab", "abgggg", "abeg", "abddg", "xabg", "abgx"})
    EXPECT_FALSE(matches(g, bad)) << bad;
}

TEST(Grammar, RecursionThatReadsNothingEnds) {
  Grammar g;
  g.set_start(g.sequence({g.star(g.optional(g.literal("x"))), g.literal("!")}));
  EXPECT_TRUE(matches(g, "!"));
  EXPECT_TRUE(matches(g, "xxx!"));
  EXPECT_FALSE(matches(g, "xx"));
}

TEST(Grammar, RepetitionsNeedNoNewStates) {
  Grammar g;
  g.set_start(g.star(g.literal("ab")));
  GrammarMatcher matcher(g);
  auto state = matcher.start();
  for (int i = 0; i < 1000; ++i)
    state = matcher.next(state, "ab");
  EXPECT_TRUE(matcher.accepts(state));
  EXPECT_LE(matcher.num_states(), 3);
}

// ---- schemas -------------------------------------------------------------------------------------------------------

void expect_schema(const char* schema, const std::vector<std::string>& good, const std::vector<std::string>& bad) {
  const Grammar grammar = json_schema_grammar(parse_json(schema, "test"));
  for (const std::string& text : good)
    EXPECT_TRUE(matches(grammar, text)) << schema << " " << text;
  for (const std::string& text : bad)
    EXPECT_FALSE(matches(grammar, text)) << schema << " " << text;
}

TEST(JsonSchema, AnyObject) {
  const Grammar grammar = json_object_grammar();
  for (const char* good : {"{}", R"({"a": [1, 2.5e-3, "x\"\u00e9é", null, true], "b": {"c": []}})", "{\n  \"a\": 1\n}"})
    EXPECT_TRUE(matches(grammar, good)) << good;
  for (const char* bad :
       {"[]", "{", "{'a': 1}", R"({"a": 01})", R"({"a": 1,})", "{\"a\": \"\xff\"}", "{\"a\": \"\n\"}"})
    EXPECT_FALSE(matches(grammar, bad)) << bad;
}

TEST(JsonSchema, Objects) {
  const char* schema = R"({"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"},
                           "tags": {"type": "array", "items": {"enum": ["x", "y"]}, "maxItems": 2}},
                           "required": ["name", "tags"]})";
  expect_schema(schema, {R"({"name": "A", "tags": []})", R"({"name":"A","age":-3,"tags":["x","y"]})"},
                {R"({"name": "A"})", R"({"tags": [], "name": "A"})", R"({"name": "A", "tags": ["z"]})",
                 R"({"name": "A", "tags": ["x","x","x"]})", R"({"name": "A", "more": 1, "tags": []})", R"({})"});
  expect_schema(R"({"properties": {"a": {"const": 1}}})", {"{}", R"({"a": 1})"}, {R"({"a": 2})", R"({"b": 1})"});
  expect_schema(R"({"type": "object", "properties": {"a": {}}, "additionalProperties": {"type": "null"}})",
                {"{}", R"({"a": [3]})", R"({"a": 0, "b": null, "c": null})", R"({"b": null})"}, {R"({"b": 1})"});
}

TEST(JsonSchema, OptionalMembersInEveryMixture) {
  const Grammar grammar = json_schema_grammar(parse_json(
      R"({"type": "object", "properties": {"a": {"const": 1}, "b": {"const": 1}, "c": {"const": 1}}, "required": ["b"]})",
      "test"));
  for (int mask = 0; mask < 8; ++mask) {
    Json object = Json::object();
    for (int i = 0; i < 3; ++i) {
      if (mask >> i & 1) object[std::string(1, static_cast<char>('a' + i))] = 1;
    }
    EXPECT_EQ(matches(grammar, object.dump()), (mask & 2) != 0) << object.dump();
  }
}

TEST(JsonSchema, Integers) {
  for (const auto& [low, high] : {std::pair{0, 0}, {0, 9}, {3, 12}, {95, 1204}, {-7, 13}, {-120, -99}, {-1, 0}}) {
    const Json schema = {{"type", "integer"}, {"minimum", low}, {"maximum", high}};
    const Grammar grammar = json_schema_grammar(schema);
    for (int n = -1300; n <= 1300; ++n)
      ASSERT_EQ(matches(grammar, std::to_string(n)), n >= low && n <= high) << n << " in " << low << " to " << high;
  }
  expect_schema(R"({"type": "integer", "exclusiveMinimum": 0})", {"1", "999999999999999999"}, {"0", "-1", "01"});
  expect_schema(R"({"type": "number"})", {"0", "-1.5", "2e10"}, {"1.", ".5", "+1", "NaN"});
}

TEST(JsonSchema, Strings) {
  expect_schema(R"({"type": "string", "minLength": 2, "maxLength": 3})", {R"("ab")", R"("éß\n")"},
                {R"("a")", R"("abcd")"});
  expect_schema(R"({"type": "string", "format": "date"})", {R"("2024-02-29")"}, {R"("2024-13-01")", R"("24-01-01")"});
  expect_schema(R"({"type": "string", "format": "date-time"})",
                {R"("2024-02-29T23:59:00.5Z")", R"("2024-02-29T00:00:00+01:00")"},
                {R"("2024-02-29T24:00:00Z")", R"("2024-02-29")"});
  expect_schema(R"({"type": "string", "format": "uuid"})", {R"("01234567-89ab-cdef-0123-456789abcdef")"},
                {R"("0123")"});
}

TEST(JsonSchema, AlternativesAndReferences) {
  expect_schema(R"({"anyOf": [{"type": "null"}, {"type": "array", "items": {"type": "boolean"}, "minItems": 1}]})",
                {"null", "[true, false]"}, {"[]", "true"});
  expect_schema(R"({"type": ["string", "null"]})", {R"("x")", "null"}, {"1"});
  expect_schema(R"({"$defs": {"tree": {"type": "object", "properties": {"v": {"type": "integer"},
                    "kids": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}, "required": ["v"]}},
                    "$ref": "#/$defs/tree"})",
                {R"({"v": 1, "kids": [{"v": 2, "kids": [{"v": 3}]}]})"}, {R"({"kids": []})"});
  expect_schema(R"({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": false})",
                {R"([1, "a"])"}, {"[1]", R"([1, "a", 2])"});
}

TEST(JsonSchema, RefusesWhatItCannotKeep) {
  for (const char* schema :
       {R"({"type": "string", "pattern": "a+"})", R"({"type": "number", "minimum": 3})", R"({"type": "thing"})",
        R"({"not": {}})", R"({"$ref": "#/nowhere"})", R"({"$ref": "http://example.com/a.json"})", R"([1])", "false",
        R"({"enum": []})", R"({"type": "integer", "minimum": 5, "maximum": 4})",
        R"({"required": ["a"], "properties": {}})", R"({"type": "array", "minItems": -1})",
        R"({"type": "string", "maxLength": 1e9})"}) {
    EXPECT_THROW(json_schema_grammar(parse_json(schema, "test")), Error) << schema;
  }
  std::string deep = R"({"type": "integer"})";
  for (int i = 0; i < 100; ++i)
    deep = R"({"type": "array", "items": )" + deep + "}";
  EXPECT_THROW(json_schema_grammar(parse_json(deep, "test")), Error);
}

// A reference that leads to itself without reading anything stands for nothing.
TEST(JsonSchema, CirclesEnd) {
  const Grammar grammar =
      json_schema_grammar(parse_json(R"({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"})", "test"));
  EXPECT_EQ(GrammarMatcher(grammar).start(), GrammarMatcher::kDead);
}

// Walks through a grammar at random: what comes out is JSON, and of the schema's form.
TEST(JsonSchema, RandomWalksGiveJson) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  const Grammar grammar = json_schema_grammar(parse_json(
      R"({"type": "object", "properties": {"s": {"type": "string"}, "n": {"type": "number"},
          "o": {"type": "object", "properties": {"d": {"type": "string", "format": "date"}}, "additionalProperties": true},
          "l": {"type": "array", "items": {"type": "integer", "minimum": -20, "maximum": 300}, "minItems": 2}},
          "required": ["s", "l"]})",
      "test"));
  GrammarMatcher matcher(grammar);
  for (int walk = 0; walk < 200; ++walk) {
    auto state = matcher.start();
    std::string text;
    while (!matcher.accepts(state)) {
      std::vector<uint8_t> choices;
      for (int byte = 0; byte < 256; ++byte) {
        if (matcher.next(state, static_cast<uint8_t>(byte)) != GrammarMatcher::kDead)
          choices.push_back(static_cast<uint8_t>(byte));
      }
      ASSERT_FALSE(choices.empty()) << text;
      // Closing soon, so that the walk ends.
      std::vector<uint8_t> closing;
      for (const uint8_t byte : choices) {
        if (byte == '"' || byte == '}' || byte == ']') closing.push_back(byte);
      }
      const auto& from = !closing.empty() && (random() % 4 != 0 || text.size() > 300) ? closing : choices;
      const uint8_t byte = from[random() % from.size()];
      text += static_cast<char>(byte);
      state = matcher.next(state, byte);
    }
    const Json json = parse_json(text, "walk");
    EXPECT_TRUE(json.at("s").is_string());
    EXPECT_GE(json.at("l").size(), 2u);
    for (const Json& number : json.at("l"))
      EXPECT_TRUE(number >= -20 && number <= 300) << text;
  }
}

}  // namespace
}  // namespace minicpm

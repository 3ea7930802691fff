#include "text/tool_calls.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace minicpm {
namespace {

Json tool(const std::string& name, const char* parameters, bool strict = false) {
  return {{"type", "function"},
          {"function", {{"name", name}, {"parameters", parse_json(parameters, "test")}, {"strict", strict}}}};
}

constexpr const char* kCity = R"({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})";

bool accepts(const Grammar& grammar, const std::string& name, const std::string& arguments) {
  GrammarMatcher matcher(grammar);
  const auto state =
      matcher.next(matcher.start(), "\n{\"name\": \"" + name + "\", \"arguments\": " + arguments + "}\n");
  return state != GrammarMatcher::kDead && matcher.accepts(state);
}

std::string error_of(const Json& tools, std::string_view only = "") {
  try {
    tool_call_grammar(tools, only);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidRequest);
    return error.what();
  }
  return "";
}

TEST(ToolCallGrammar, EachToolHasItsOwnArguments) {
  const Json tools = {tool("weather", kCity), tool("add", R"({"properties": {"a": {"type": "integer"}}})"),
                      tool("any", "{}")};
  const Grammar all = tool_call_grammar(tools, "");
  EXPECT_TRUE(accepts(all, "weather", R"({"city": "Paris"})"));
  EXPECT_FALSE(accepts(all, "weather", R"({"city": 5})"));
  EXPECT_FALSE(accepts(all, "weather", "{}"));
  EXPECT_TRUE(accepts(all, "add", R"({"a": 5})"));
  EXPECT_FALSE(accepts(all, "add", R"({"city": "Paris"})"));
  EXPECT_TRUE(accepts(all, "any", R"({"b": [1, {"c": null}]})"));
  EXPECT_FALSE(accepts(all, "any", "[]"));
  EXPECT_FALSE(accepts(all, "other", "{}"));
  const Grammar one = tool_call_grammar(tools, "add");
  EXPECT_TRUE(accepts(one, "add", "{}"));
  EXPECT_FALSE(accepts(one, "any", "{}"));
}

TEST(ToolCallGrammar, ASchemaThatCannotBeKeptIsAnyObjectUnlessStrict) {
  constexpr const char* kPattern = R"({"type": "object", "properties": {"a": {"type": "string", "pattern": "x"}}})";
  EXPECT_TRUE(accepts(tool_call_grammar(Json::array({tool("f", kPattern)}), ""), "f", R"({"b": 1})"));
  EXPECT_NE(error_of(Json::array({tool("f", kPattern, true)})).find("pattern"), std::string::npos);
}

TEST(ToolCallGrammar, BadToolsAreRefused) {
  EXPECT_NE(error_of(Json::array()), "");
  EXPECT_NE(error_of(Json(5)), "");
  EXPECT_NE(error_of(Json::array({1})), "");
  EXPECT_NE(error_of(Json::array({{{"type", "function"}}})), "");
  EXPECT_NE(error_of(Json::array({tool("", "{}")})), "");
  EXPECT_NE(error_of(Json::array({tool("a\"b", "{}")})), "");
  EXPECT_NE(error_of(Json::array({tool(std::string(129, 'a'), "{}")})), "");
  EXPECT_NE(error_of(Json::array({tool("f", "[1]")})), "");
  EXPECT_NE(error_of(Json::array({tool("f", "{}"), tool("f", "{}")})), "");
  EXPECT_NE(error_of(Json::array({tool("f", "{}")}), "g"), "");
}

TEST(ToolCallReader, GivesArgumentsAsTheyComeWithoutTheEnd) {
  const std::string text = "\n{\"name\": \"f\", \"arguments\": {\"a\": \"}\\n }\n\", \"b\": {}}}\n";
  for (const size_t step : {size_t{1}, size_t{2}, size_t{7}, text.size()}) {
    ToolCallReader reader;
    std::string arguments;
    for (size_t at = 0; at < text.size(); at += step) {
      reader.push(std::string_view(text).substr(at, step));
      arguments += reader.take_arguments();
    }
    EXPECT_EQ(reader.name(), "f");
    EXPECT_EQ(arguments, "{\"a\": \"}\\n }\n\", \"b\": {}}") << step;
  }
}

}  // namespace
}  // namespace minicpm

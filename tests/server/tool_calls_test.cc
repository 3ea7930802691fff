// Calls of tools in the words of the three APIs. pico does not know when to call one, but must, when it is told to, and
// then in the form that the tool's schema wants.
#include <gmock/gmock.h>

#include <algorithm>

#include "server/api_support.h"

namespace minicpm::server {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

using ToolCallsTest = ApiTest;

Json parameters() {
  return {{"type", "object"},
          {"properties", {{"color", {{"enum", {"red", "blue"}}}}, {"count", {{"type", "integer"}, {"maximum", 9}}}}},
          {"required", {"color"}}};
}

Json openai_tool(const std::string& name) {
  return {{"type", "function"},
          {"function", {{"name", name}, {"description", "Draws."}, {"parameters", parameters()}}}};
}

Json openai_body() {
  Json body = openai_question("Draw something.");
  body["max_tokens"] = 300;
  body["tools"] = Json::array({openai_tool("draw"), openai_tool("paint")});
  return body;
}

void expect_arguments(const Json& arguments) {
  EXPECT_TRUE(arguments["color"] == "red" || arguments["color"] == "blue") << arguments;
  for (const auto& [key, value] : arguments.items())
    EXPECT_TRUE(key == "color" || (key == "count" && value.is_number_integer() && value <= 9)) << arguments;
}

TEST_F(ToolCallsTest, OpenAiCallsWhenItMust) {
  const int port = start();
  Json body = openai_body();
  body["tool_choice"] = "required";
  body["parallel_tool_calls"] = false;
  const Reply reply = post(port, "/v1/chat/completions", body);
  ASSERT_EQ(reply.status, 200) << reply.body;
  const Json choice = reply.json()["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "tool_calls") << reply.body;
  EXPECT_EQ(choice["message"]["content"], nullptr);
  ASSERT_EQ(choice["message"]["tool_calls"].size(), 1u);
  const Json& call = choice["message"]["tool_calls"][0];
  EXPECT_EQ(call["type"], "function");
  EXPECT_TRUE(call["id"].get<std::string>().starts_with("call_"));
  expect_arguments(parse_json(call["function"]["arguments"].get<std::string>(), "arguments"));
  for (const char* name : {"draw", "paint"}) {
    body["tool_choice"] = {{"type", "function"}, {"function", {{"name", name}}}};
    const Json named = post(port, "/v1/chat/completions", body).json()["choices"][0]["message"]["tool_calls"][0];
    EXPECT_EQ(named["function"]["name"], name);
  }
}

TEST_F(ToolCallsTest, OpenAiStreamsWhatItWouldGiveWhole) {
  const int port = start();
  Json body = openai_body();
  body["tool_choice"] = "required";
  body["parallel_tool_calls"] = false;
  const Json whole = post(port, "/v1/chat/completions", body).json()["choices"][0]["message"]["tool_calls"][0];
  body["stream"] = true;
  const Events events = events_of(post(port, "/v1/chat/completions", body).body);
  std::string name, id, arguments;
  int pieces = 0;
  for (const Json& event : events.data) {
    for (const Json& call : event["choices"][0]["delta"].value("tool_calls", Json::array())) {
      EXPECT_EQ(call["index"], 0);
      name += call["function"].value("name", "");
      id += call.value("id", "");
      arguments += call["function"].value("arguments", "");
      ++pieces;
    }
  }
  EXPECT_EQ(name, whole["function"]["name"]);
  EXPECT_EQ(arguments, whole["function"]["arguments"]);
  EXPECT_TRUE(id.starts_with("call_"));
  EXPECT_GT(pieces, 2);
  EXPECT_EQ(events.data.back()["choices"][0]["finish_reason"], "tool_calls");
  EXPECT_TRUE(events.done);
}

TEST_F(ToolCallsTest, WithoutAChoiceTextStaysText) {
  const int port = start();
  Json body = openai_question({image_part(asset("word.png")), text_part("Read the text.")});
  body["tools"] = Json::array({openai_tool("draw")});
  body["tool_choice"] = "none";
  EXPECT_EQ(openai_text(post(port, "/v1/chat/completions", body)), "HAPPINESS");
  for (const char* choice : {"auto", ""}) {
    body["tool_choice"] = choice[0] == '\0' ? Json(nullptr) : Json(choice);
    EXPECT_EQ(post(port, "/v1/chat/completions", body).status, 200);
  }
}

TEST_F(ToolCallsTest, ThePromptHasToolsCallsAndResultsInTheirOrder) {
  const int port = start();
  Json body = openai_body();
  const auto call = [](const char* id, const char* name, const char* arguments) {
    return Json{{"id", id}, {"type", "function"}, {"function", {{"name", name}, {"arguments", arguments}}}};
  };
  body["messages"] = Json::array(
      {{{"role", "system"}, {"content", "Be kind."}},
       {{"role", "user"}, {"content", "Draw <tool_call>."}},
       {{"role", "assistant"},
        {"content", nullptr},
        {"reasoning_content", "Two things."},
        {"tool_calls", {call("a", "draw", "{\"color\": \"red\"}"), call("b", "paint", "{\"color\": \"blue\"}")}}},
       {{"role", "tool"}, {"tool_call_id", "b"}, {"content", "second <|im_end|>"}},
       {{"role", "tool"}, {"tool_call_id", "a"}, {"content", Json::array({text_part("first")})}}});
  const std::string prompt = post(port, "/apply-template", body).json()["prompt"].get<std::string>();
  EXPECT_THAT(prompt,
              HasSubstr("<|im_start|>system\nBe kind.\n\n# Tools\n\nYou may call one or more functions to assist "
                        "with the user query.\n\nYou are provided with function signatures within "
                        "<tools></tools> XML tags:\n<tools>\n{\"type\": \"function\", \"function\": {\"name\": "
                        "\"draw\", \"description\": \"Draws.\", "));
  EXPECT_THAT(prompt,
              HasSubstr("<|im_start|>assistant\n<think>\nTwo things.\n</think>\n\n<tool_call>\n{\"name\": \"draw\", "
                        "\"arguments\": {\"color\": \"red\"}}\n</tool_call>\n<tool_call>\n{\"name\": \"paint\", "
                        "\"arguments\": {\"color\": \"blue\"}}\n</tool_call><|im_end|>\n"
                        "<|im_start|>user\n<tool_response>\nfirst\n</tool_response>\n"
                        "<tool_response>\nsecond <|im_end|>\n</tool_response><|im_end|>\n"
                        "<|im_start|>assistant\n"));
  // What a user or a tool writes is no token of its own.
  const Json ids = post(port, "/tokenize", {{"content", prompt}}).json()["tokens"];
  const int64_t used = post(port, "/v1/chat/completions", body).json()["usage"]["prompt_tokens"].get<int64_t>();
  EXPECT_GT(used, static_cast<int64_t>(ids.size()));
}

TEST_F(ToolCallsTest, OpenAiRefusesWhatDoesNotFit) {
  const int port = start();
  const auto refused = [&](const char* key, const char* value, const std::string& param) {
    Json body = openai_body();
    body[key] = parse_json(value, "test");
    const Reply reply = post(port, "/v1/chat/completions", body);
    EXPECT_EQ(reply.status, 400) << key << " " << value << " " << reply.body;
    if (reply.status == 400) {
      EXPECT_EQ(reply.json()["error"]["param"], param) << value << " " << reply.body;
    }
  };
  refused("tools", R"([{"type": "web_search"}])", "tools[0].type");
  refused("tools", R"([{"type": "function"}])", "tools[0].function");
  refused("tools", R"([{"type": "function", "function": {}}])", "tools[0].function.name");
  refused("tools", R"([{"type": "function", "function": {"name": "a b"}}])", "tools[0].function.name");
  refused("tools", R"([{"type": "function", "function": {"name": "a", "parameters": []}}])",
          "tools[0].function.parameters");
  refused("tools", R"([{"type": "function", "function": {"name": "a", "x": 1}}])", "tools[0].function.x");
  refused("tool_choice", R"("always")", "tool_choice");
  refused("tool_choice", R"(5)", "tool_choice");
  refused("tool_choice", R"({"type": "function"})", "tool_choice.function");
  refused("tool_choice", R"({"type": "function", "function": {"name": "sing"}})", "tool_choice.function.name");
  refused("parallel_tool_calls", "1", "parallel_tool_calls");
  const auto messages = [](const char* rest) {
    return std::string(R"([{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [{"id": "a", "type":
      "function", "function": {"name": "draw", "arguments": "{}"}}]})") +
           rest + "]";
  };
  refused("messages", messages("").c_str(), "messages[1].tool_calls");
  refused("messages", messages(R"(, {"role": "user", "content": "y"})").c_str(), "messages[1].tool_calls");
  refused("messages", messages(R"(, {"role": "tool", "tool_call_id": "b", "content": "y"})").c_str(),
          "messages[2].tool_call_id");
  refused("messages",
          messages(R"(, {"role": "tool", "tool_call_id": "a", "content": "y"},
                       {"role": "tool", "tool_call_id": "a", "content": "y"})")
              .c_str(),
          "messages[3].tool_call_id");
  Json none = openai_question("x");
  none["tool_choice"] = "required";
  EXPECT_EQ(post(port, "/v1/chat/completions", none).json()["error"]["param"], "tool_choice");
  Json both = openai_body();
  both["response_format"] = {{"type", "json_object"}};
  EXPECT_EQ(post(port, "/v1/chat/completions", both).status, 400);
  Json twice = openai_body();
  twice["tools"] = Json::array({openai_tool("draw"), openai_tool("draw")});
  EXPECT_EQ(post(port, "/v1/chat/completions", twice).status, 400);
}

TEST_F(ToolCallsTest, AnAnswerThatIsCutOffSaysSo) {
  const int port = start();
  Json body = openai_body();
  body["tool_choice"] = "required";
  body["max_tokens"] = 3;
  EXPECT_EQ(post(port, "/v1/chat/completions", body).json()["choices"][0]["finish_reason"], "length");
}

TEST_F(ToolCallsTest, OllamaTakesToolsAndResults) {
  const int port = start();
  Json body = {{"model", "pico"},
               {"stream", false},
               {"options", {{"temperature", 0}, {"num_predict", 8}}},
               {"tools", Json::array({openai_tool("draw")})},
               {"messages", Json::array({{{"role", "user"}, {"content", "Draw."}}})}};
  EXPECT_EQ(post(port, "/api/chat", body).status, 200);
  body["messages"].push_back(
      {{"role", "assistant"},
       {"content", ""},
       {"tool_calls", Json::array({{{"function", {{"name", "draw"}, {"arguments", {{"color", "red"}}}}}}})}});
  body["messages"].push_back({{"role", "tool"}, {"tool_name", "draw"}, {"content", "done"}});
  const Reply reply = post(port, "/api/chat", body);
  EXPECT_EQ(reply.status, 200) << reply.body;
  body["messages"][1]["tool_calls"][0]["function"]["arguments"] = "text";
  EXPECT_THAT(post(port, "/api/chat", body).body, HasSubstr("messages[1].tool_calls[0].function.arguments"));
  body["tools"] = Json::array({5});
  EXPECT_THAT(post(port, "/api/chat", body).body, HasSubstr("tools[0]"));
}

Json anthropic_body() {
  return {{"model", "pico"},
          {"max_tokens", 300},
          {"temperature", 0},
          {"tools", Json::array({{{"name", "draw"}, {"description", "Draws."}, {"input_schema", parameters()}}})},
          {"tool_choice", {{"type", "any"}, {"disable_parallel_tool_use", true}}},
          {"messages", Json::array({{{"role", "user"}, {"content", "Draw."}}})}};
}

TEST_F(ToolCallsTest, AnthropicCallsWholeAndStreamed) {
  const int port = start();
  Json body = anthropic_body();
  const Reply reply = post(port, "/v1/messages", body);
  ASSERT_EQ(reply.status, 200) << reply.body;
  const Json whole = reply.json();
  EXPECT_EQ(whole["stop_reason"], "tool_use");
  ASSERT_EQ(whole["content"].size(), 1u);
  EXPECT_EQ(whole["content"][0]["type"], "tool_use");
  EXPECT_EQ(whole["content"][0]["name"], "draw");
  expect_arguments(whole["content"][0]["input"]);
  body["stream"] = true;
  std::string input;
  Json block, end;
  for (const Json& event : events_of(post(port, "/v1/messages", body).body).data) {
    if (event["type"] == "content_block_start") block = event["content_block"];
    if (event["type"] == "message_delta") end = event;
    if (event["type"] != "content_block_delta") continue;
    EXPECT_EQ(event["delta"]["type"], "input_json_delta");
    input += event["delta"]["partial_json"].get<std::string>();
  }
  EXPECT_EQ(block["type"], "tool_use");
  EXPECT_EQ(parse_json(input, "input"), whole["content"][0]["input"]);
  EXPECT_EQ(end["delta"]["stop_reason"], "tool_use");
  body["tool_choice"] = {{"type", "tool"}, {"name", "draw"}};
  body["stream"] = false;
  EXPECT_EQ(post(port, "/v1/messages", body).json()["content"][0]["name"], "draw");
}

TEST_F(ToolCallsTest, AnthropicTakesResults) {
  const int port = start();
  Json body = anthropic_body();
  body.erase("tool_choice");
  body["messages"].push_back(
      {{"role", "assistant"},
       {"content",
        Json::array({{{"type", "thinking"}, {"thinking", "Hm."}, {"signature", ""}},
                     text_part("Look:"),
                     {{"type", "tool_use"}, {"id", "t1"}, {"name", "draw"}, {"input", {{"color", "red"}}}}})}});
  body["messages"].push_back(
      {{"role", "user"},
       {"content",
        Json::array({{{"type", "tool_result"}, {"tool_use_id", "t1"}, {"content", "done"}}, text_part("And now?")})}});
  EXPECT_EQ(post(port, "/v1/messages", body).status, 200);
  Json counted = body;
  counted.erase("max_tokens");
  counted.erase("temperature");
  EXPECT_GT(post(port, "/v1/messages/count_tokens", counted).json()["input_tokens"], 100);
  const auto refused = [&](const Json& changed, const std::string& text) {
    const Reply reply = post(port, "/v1/messages", changed);
    EXPECT_EQ(reply.status, 400) << reply.body;
    EXPECT_THAT(reply.body, HasSubstr(text));
  };
  Json changed = body;
  changed["messages"][2]["content"][0]["tool_use_id"] = "t2";
  refused(changed, "messages[2].content[0].tool_use_id");
  changed = body;
  changed["messages"][2]["content"].erase(0);
  refused(changed, "has no result");
  changed = body;
  changed["messages"][0]["content"] = changed["messages"][1]["content"];
  refused(changed, "not known here");
  changed = body;
  changed["tools"][0].erase("input_schema");
  refused(changed, "tools[0].input_schema: is missing");
  changed = body;
  changed["tools"][0]["type"] = "web_search_20250305";
  refused(changed, "tools[0].type");
  changed = body;
  changed["tool_choice"] = {{"type", "tool"}, {"name", "sing"}};
  refused(changed, "tool_choice.name");
  changed["tool_choice"] = {{"type", "perhaps"}};
  refused(changed, "tool_choice.type");
}

}  // namespace
}  // namespace minicpm::server

// OpenAI's responses: whole, streamed, with calls, and what is refused.
#include <gmock/gmock.h>

#include "server/api_support.h"

namespace minicpm::server {
namespace {

using ::testing::HasSubstr;

using ResponsesTest = ApiTest;

Json read_text() {
  const Json image = {{"type", "input_image"}, {"image_url", data_url(asset("word.png"), "image/png")}};
  const Json text = {{"type", "input_text"}, {"text", "Read the text."}};
  return {{"model", "pico"},
          {"temperature", 0},
          {"max_output_tokens", 64},
          {"input", Json::array({{{"role", "user"}, {"content", Json::array({image, text})}}})}};
}

Json draw_tool() {
  return {{"type", "function"},
          {"name", "draw"},
          {"parameters",
           {{"type", "object"}, {"properties", {{"color", {{"enum", {"red", "blue"}}}}}}, {"required", {"color"}}}}};
}

TEST_F(ResponsesTest, AnswersWhole) {
  const int port = start();
  Json body = read_text();
  body["instructions"] = "Be short.";
  const Reply reply = post(port, "/v1/responses", read_text());
  ASSERT_EQ(reply.status, 200) << reply.body;
  const Json response = reply.json();
  EXPECT_EQ(response["object"], "response");
  EXPECT_EQ(response["status"], "completed");
  EXPECT_EQ(response["store"], false);
  ASSERT_EQ(response["output"].size(), 1u);
  EXPECT_EQ(response["output"][0]["role"], "assistant");
  EXPECT_EQ(response["output"][0]["content"][0]["text"], "HAPPINESS");
  EXPECT_EQ(response["usage"]["total_tokens"].get<int>(),
            response["usage"]["input_tokens"].get<int>() + response["usage"]["output_tokens"].get<int>());
  EXPECT_EQ(post(port, "/v1/responses", body).json()["instructions"], "Be short.");
  body = read_text();
  body["max_output_tokens"] = 2;
  const Json cut = post(port, "/v1/responses", body).json();
  EXPECT_EQ(cut["status"], "incomplete");
  EXPECT_EQ(cut["incomplete_details"]["reason"], "max_output_tokens");
  EXPECT_EQ(post(port, "/v1/responses", {{"input", "Hello"}, {"max_output_tokens", 3}}).status, 200);
}

TEST_F(ResponsesTest, EventsTellOfTheSameOutput) {
  const int port = start();
  Json body = read_text();
  body["stream"] = true;
  const Events events = events_of(post(port, "/v1/responses", body).body);
  ASSERT_GE(events.data.size(), 8u);
  std::string text;
  for (size_t i = 0; i < events.data.size(); ++i) {
    EXPECT_EQ(events.data[i]["type"], events.names[i]);
    EXPECT_EQ(events.data[i]["sequence_number"], i);
    if (events.names[i] == "response.output_text.delta") text += events.data[i]["delta"].get<std::string>();
  }
  EXPECT_EQ(text, "HAPPINESS");
  EXPECT_EQ(events.names.front(), "response.created");
  EXPECT_EQ(events.names.back(), "response.completed");
  const Json& output = events.data.back()["response"]["output"];
  EXPECT_EQ(output[0]["content"][0]["text"], "HAPPINESS");
  EXPECT_EQ(output[0], events.data[events.data.size() - 2]["item"]);
}

TEST_F(ResponsesTest, CallsAndTheirResults) {
  const int port = start();
  Json body = {{"model", "pico"},           {"temperature", 0},
               {"max_output_tokens", 300},  {"tools", Json::array({draw_tool()})},
               {"tool_choice", "required"}, {"parallel_tool_calls", false},
               {"input", "Draw."}};
  const Json whole = post(port, "/v1/responses", body).json();
  ASSERT_EQ(whole["output"].size(), 1u) << whole;
  const Json call = whole["output"][0];
  EXPECT_EQ(call["type"], "function_call");
  EXPECT_EQ(call["name"], "draw");
  EXPECT_EQ(call["status"], "completed");
  const Json arguments = parse_json(call["arguments"].get<std::string>(), "arguments");
  EXPECT_TRUE(arguments["color"] == "red" || arguments["color"] == "blue");
  body["stream"] = true;
  std::string streamed;
  for (const Json& event : events_of(post(port, "/v1/responses", body).body).data) {
    if (event["type"] == "response.function_call_arguments.delta") streamed += event["delta"].get<std::string>();
  }
  EXPECT_EQ(streamed, call["arguments"]);
  body["stream"] = false;
  body["tool_choice"] = {{"type", "function"}, {"name", "draw"}};
  EXPECT_EQ(post(port, "/v1/responses", body).json()["output"][0]["name"], "draw");
  body["tool_choice"] = "none";
  body["max_output_tokens"] = 4;
  body["input"] = Json::array({{{"role", "user"}, {"content", "Draw."}},
                               {{"type", "reasoning"},
                                {"summary", Json::array()},
                                {"content", Json::array({{{"type", "reasoning_text"}, {"text", "Hm."}}})}},
                               call,
                               {{"type", "function_call_output"}, {"call_id", call["call_id"]}, {"output", "done"}}});
  const Reply reply = post(port, "/v1/responses", body);
  EXPECT_EQ(reply.status, 200) << reply.body;
}

TEST_F(ResponsesTest, AnswersHaveTheFormOfASchema) {
  const int port = start();
  Json body = read_text();
  body["max_output_tokens"] = 200;
  body["text"] = {
      {"format",
       {{"type", "json_schema"},
        {"name", "color"},
        {"schema", {{"type", "object"}, {"properties", {{"ok", {{"type", "boolean"}}}}}, {"required", {"ok"}}}}}}};
  const Json response = post(port, "/v1/responses", body).json();
  EXPECT_TRUE(parse_json(response["output"][0]["content"][0]["text"].get<std::string>(), "answer")["ok"].is_boolean());
}

TEST_F(ResponsesTest, WhatIsWrongIsRefusedByName) {
  const int port = start();
  const auto refused = [&](const char* key, const char* value, const std::string& param) {
    Json body = read_text();
    body[key] = parse_json(value, "test");
    const Reply reply = post(port, "/v1/responses", body);
    EXPECT_EQ(reply.status, 400) << key << " " << value << " " << reply.body;
    if (reply.status == 400) {
      EXPECT_EQ(reply.json()["error"]["param"], param) << value << reply.body;
    }
  };
  refused("previous_response_id", "\"resp_1\"", "previous_response_id");
  refused("conversation", "\"c\"", "conversation");
  refused("store", "true", "store");
  refused("background", "true", "background");
  refused("input", "null", "input");
  refused("input", "5", "input");
  refused("input", "[]", "input");
  refused("input", "[5]", "input[0]");
  refused("input", R"([{"type": "file_search_call"}])", "input[0].type");
  refused("input", R"([{"role": "king", "content": "x"}])", "input[0].role");
  refused("input", R"([{"role": "user", "content": [{"type": "input_file"}]}])", "input[0].content[0].type");
  refused("input", R"([{"role": "user", "content": [{"type": "input_image", "image_url": "http://x/y.png"}]}])",
          "input[0].content[0].image_url");
  refused("input", R"([{"type": "function_call_output", "call_id": "x", "output": "y"}])", "input[0].call_id");
  refused("input", R"([{"type": "function_call", "call_id": "x", "name": "a b", "arguments": "{}"}])", "input[0].name");
  refused("tools", R"([{"type": "web_search"}])", "tools[0].type");
  refused("tools", R"([{"type": "function"}])", "tools[0].name");
  refused("tool_choice", "\"required\"", "tool_choice");
  refused("text", R"({"format": {"type": "xml"}})", "text.format.type");
  refused("text", R"({"format": {"type": "json_schema"}})", "text.format.schema");
  refused("reasoning", R"({"effort": "most"})", "reasoning.effort");
  refused("max_output_tokens", "0", "max_output_tokens");
  refused("messages", "[]", "messages");
}

}  // namespace
}  // namespace minicpm::server

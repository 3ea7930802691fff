// Ollama's and Anthropic's APIs, and llama.cpp's addresses for tokens and prompts.
#include <gmock/gmock.h>

#include <algorithm>

#include "server/api_support.h"

namespace minicpm::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using OllamaTest = ApiTest;
using AnthropicTest = ApiTest;
using ToolsTest = ApiTest;

Json ollama_chat_body() {
  return {{"model", "pico"},
          {"messages", Json::array({{{"role", "user"},
                                     {"content", "Read the text."},
                                     {"images", Json::array({encode_base64(asset("word.png"))})}}})},
          {"options", {{"temperature", 0}, {"num_ctx", 2048}}}};
}

TEST_F(OllamaTest, ChatStreamsLinesUnlessToldNotTo) {
  const int port = start();
  Json body = ollama_chat_body();
  const Reply streamed = post(port, "/api/chat", body);
  EXPECT_EQ(streamed.headers.at("content-type"), "application/x-ndjson");
  std::string text;
  const std::vector<Json> lines = lines_of(streamed.body);
  ASSERT_GE(lines.size(), 2u) << streamed.body;
  for (const Json& line : lines) {
    EXPECT_EQ(line["model"], "pico");
    EXPECT_EQ(line["done"].get<bool>(), &line == &lines.back());
    text += line["message"]["content"].get<std::string>();
  }
  EXPECT_EQ(text, "HAPPINESS");
  EXPECT_EQ(lines.back()["done_reason"], "stop");
  body["stream"] = false;
  const Json whole = post(port, "/api/chat", body).json();
  EXPECT_EQ(whole["message"]["content"], "HAPPINESS");
  EXPECT_EQ(whole["done"], true);
  EXPECT_EQ(whole["prompt_eval_count"], lines.back()["prompt_eval_count"]);
  EXPECT_GT(whole["eval_count"], 0);
  body["options"]["num_predict"] = 2;
  EXPECT_EQ(post(port, "/api/chat", body).json()["done_reason"], "length");
}

TEST_F(OllamaTest, GenerateAnswersAPrompt) {
  const int port = start();
  Json body = {{"model", "pico:latest"},
               {"prompt", "Describe the picture."},
               {"images", Json::array({encode_base64(asset("shapes.png"))})},
               {"stream", false},
               {"options", {{"temperature", 0}}}};
  EXPECT_EQ(post(port, "/api/generate", body).json()["response"], "a yellow cross and a gray circle");
  body["stream"] = true;
  std::string text;
  for (const Json& line : lines_of(post(port, "/api/generate", body).body))
    text += line["response"].get<std::string>();
  EXPECT_EQ(text, "a yellow cross and a gray circle");
  const Json loaded = post(port, "/api/generate", {{"model", "pico"}}).json();
  EXPECT_EQ(loaded["done_reason"], "load");
}

TEST_F(OllamaTest, ThinkingIsApart) {
  const int port = start();
  Json body = ollama_chat_body();
  body["think"] = true;
  body["stream"] = false;
  EXPECT_TRUE(post(port, "/api/chat", body).json()["message"].contains("thinking"));
}

Json yes_or_no() {
  return {{"type", "object"}, {"properties", {{"ok", {{"type", "boolean"}}}}}, {"required", {"ok"}}};
}

TEST_F(OllamaTest, FormatsAndLogProbabilities) {
  const int port = start();
  Json body = ollama_chat_body();
  body["stream"] = false;
  body["format"] = yes_or_no();
  const std::string text = post(port, "/api/chat", body).json()["message"]["content"].get<std::string>();
  EXPECT_TRUE(parse_json(text, "answer")["ok"].is_boolean()) << text;
  body["format"] = "json";
  body["options"]["num_predict"] = 4;
  EXPECT_TRUE(post(port, "/api/chat", body).json()["message"]["content"].get<std::string>().starts_with("{"));
  body = ollama_chat_body();
  body["logprobs"] = true;
  body["top_logprobs"] = 2;
  std::string tokens;
  for (const Json& line : lines_of(post(port, "/api/chat", body).body)) {
    for (const Json& token : line.value("logprobs", Json::array())) {
      tokens += token["token"].get<std::string>();
      EXPECT_EQ(token["top_logprobs"].size(), 2u);
    }
  }
  EXPECT_EQ(tokens, "HAPPINESS");
  body["top_logprobs"] = 21;
  EXPECT_THAT(post(port, "/api/chat", body).body, HasSubstr("top_logprobs"));
}

TEST_F(OllamaTest, TellsOfItsModels) {
  const int port = start();
  EXPECT_EQ(get(port, "/api/version").json()["version"], "1.2.3");
  const Json row = get(port, "/api/tags").json()["models"][0];
  EXPECT_EQ(row["name"], "pico");
  EXPECT_GT(row["size"], 1'000'000);
  EXPECT_EQ(row["digest"].get<std::string>().size(), 64u);
  EXPECT_EQ(get(port, "/api/ps").json()["models"][0]["model"], "pico");
  const Json shown = post(port, "/api/show", {{"model", "pico"}}).json();
  EXPECT_EQ(shown["capabilities"], (Json{"completion", "vision", "tools", "thinking"}));
  EXPECT_GT(shown["model_info"]["v45.block_count"], 0);
}

TEST_F(OllamaTest, ErrorsAreAString) {
  const int port = start();
  const auto refused = [&](const std::string& path, const Json& body, int status) {
    const Reply reply = post(port, path, body);
    EXPECT_EQ(reply.status, status) << reply.body;
    return reply.json()["error"].get<std::string>();
  };
  EXPECT_THAT(refused("/api/chat", {{"model", "llama3"}}, 404), HasSubstr("known: pico"));
  EXPECT_THAT(refused("/api/chat", {{"messages", Json::array()}}, 400), HasSubstr("model: is missing"));
  EXPECT_THAT(refused("/api/nothing", {{"model", "pico"}}, 404), HasSubstr("no such address"));
  Json body = ollama_chat_body();
  body["format"] = "xml";
  EXPECT_THAT(refused("/api/chat", body, 400), HasSubstr("format: must be json or a JSON schema"));
  body["format"] = {{"type", "string"}, {"pattern", "x"}};
  EXPECT_THAT(refused("/api/chat", body, 400), HasSubstr("pattern"));
  body = ollama_chat_body();
  body["messages"][0]["images"] = Json::array({"/etc/passwd"});
  EXPECT_THAT(refused("/api/chat", body, 400), HasSubstr("messages[0].images[0]"));
  body["messages"][0]["images"] = Json::array({"http://127.0.0.1:1/x.png"});
  EXPECT_THAT(refused("/api/chat", body, 400), HasSubstr("fetches no URLs"));
  body = ollama_chat_body();
  body["options"]["mirostat"] = 1;
  EXPECT_THAT(refused("/api/chat", body, 400), HasSubstr("options.mirostat: not supported"));
  body["options"] = {{"temperatur", 1}};
  EXPECT_THAT(refused("/api/chat", body, 400), HasSubstr("options.temperatur: unknown field"));
}

// ---- Anthropic -----------------------------------------------------------------------------------------------------

Json anthropic_body() {
  const Json image = {
      {"type", "image"},
      {"source", {{"type", "base64"}, {"media_type", "image/png"}, {"data", encode_base64(asset("word.png"))}}}};
  return {
      {"model", "pico"},
      {"max_tokens", 64},
      {"temperature", 0},
      {"messages", Json::array({{{"role", "user"}, {"content", Json::array({image, text_part("Read the text.")})}}})}};
}

TEST_F(AnthropicTest, AnswersWhole) {
  const int port = start();
  const Json reply = post(port, "/v1/messages", anthropic_body()).json();
  EXPECT_EQ(reply["type"], "message");
  EXPECT_EQ(reply["role"], "assistant");
  EXPECT_EQ(reply["content"], Json::array({text_part("HAPPINESS")}));
  EXPECT_EQ(reply["stop_reason"], "end_turn");
  EXPECT_EQ(reply["stop_sequence"], nullptr);
  Json counted = anthropic_body();
  counted.erase("max_tokens");
  counted.erase("temperature");
  EXPECT_EQ(post(port, "/v1/messages/count_tokens", counted).json()["input_tokens"], reply["usage"]["input_tokens"]);
}

TEST_F(AnthropicTest, StreamsEventsInTheirOrder) {
  const int port = start();
  Json body = anthropic_body();
  body["stream"] = true;
  const Events events = events_of(post(port, "/v1/messages", body).body);
  ASSERT_GE(events.names.size(), 6u);
  std::string text;
  for (size_t i = 0; i < events.data.size(); ++i) {
    EXPECT_EQ(events.data[i]["type"], events.names[i]);
    if (events.names[i] == "content_block_delta") text += events.data[i]["delta"]["text"].get<std::string>();
  }
  EXPECT_EQ(text, "HAPPINESS");
  std::vector<std::string> names = events.names;
  names.erase(std::unique(names.begin(), names.end()), names.end());
  EXPECT_THAT(names, ElementsAre("message_start", "content_block_start", "content_block_delta", "content_block_stop",
                                 "message_delta", "message_stop"));
  const Json& end = events.data[events.data.size() - 2];
  EXPECT_EQ(end["delta"]["stop_reason"], "end_turn");
  EXPECT_GT(end["usage"]["input_tokens"], 32);
}

TEST_F(AnthropicTest, SaysWhyItStopped) {
  const int port = start();
  Json body = anthropic_body();
  body["max_tokens"] = 2;
  EXPECT_EQ(post(port, "/v1/messages", body).json()["stop_reason"], "max_tokens");
  body = anthropic_body();
  body["stop_sequences"] = Json::array({"zzz", "PIN"});
  const Json reply = post(port, "/v1/messages", body).json();
  EXPECT_EQ(reply["content"][0]["text"], "HAP");
  EXPECT_EQ(reply["stop_reason"], "stop_sequence");
  EXPECT_EQ(reply["stop_sequence"], "PIN");
}

TEST_F(AnthropicTest, ThinkingIsABlockOfItsOwn) {
  const int port = start();
  Json body = anthropic_body();
  body["thinking"] = {{"type", "enabled"}, {"budget_tokens", 1024}};
  const Json content = post(port, "/v1/messages", body).json()["content"];
  EXPECT_EQ(content.back()["type"], "text");
  body["stream"] = true;
  std::string thinking;
  for (const Json& event : events_of(post(port, "/v1/messages", body).body).data) {
    if (event["type"] == "content_block_delta") thinking += event["delta"].value("thinking", "");
  }
  EXPECT_EQ(thinking, content.size() == 2 ? content[0]["thinking"].get<std::string>() : "");
}

TEST_F(AnthropicTest, FormatsAndCachedTokens) {
  const int port = start();
  Json body = anthropic_body();
  const Json first = post(port, "/v1/messages", body).json()["usage"],
             again = post(port, "/v1/messages", body).json()["usage"];
  EXPECT_EQ(first["cache_read_input_tokens"], 0);
  EXPECT_GT(again["cache_read_input_tokens"], 32);
  EXPECT_EQ(first["input_tokens"].get<int>(),
            again["input_tokens"].get<int>() + again["cache_read_input_tokens"].get<int>());
  body["output_config"] = {{"format", {{"type", "json_schema"}, {"schema", yes_or_no()}}}};
  const std::string text = post(port, "/v1/messages", body).json()["content"][0]["text"].get<std::string>();
  EXPECT_TRUE(parse_json(text, "answer")["ok"].is_boolean()) << text;
  body["output_config"] = {{"format", {{"type", "xml"}}}};
  EXPECT_THAT(post(port, "/v1/messages", body).body, HasSubstr("output_config.format.type"));
  body["output_config"] = {{"format", {{"type", "json_schema"}}}};
  EXPECT_THAT(post(port, "/v1/messages", body).body, HasSubstr("output_config.format.schema"));
}

TEST_F(AnthropicTest, ErrorsHaveItsShape) {
  const int port = start();
  const auto refused = [&](const Json& body, int status, const std::string& type) {
    const Reply reply = post(port, "/v1/messages", body);
    EXPECT_EQ(reply.status, status) << reply.body;
    EXPECT_EQ(reply.json()["type"], "error");
    EXPECT_EQ(reply.json()["error"]["type"], type);
    return reply.json()["error"]["message"].get<std::string>();
  };
  Json body = anthropic_body();
  body["model"] = "other";
  refused(body, 404, "not_found_error");
  body = anthropic_body();
  body.erase("max_tokens");
  EXPECT_THAT(refused(body, 400, "invalid_request_error"), HasSubstr("max_tokens: is missing"));
  body = anthropic_body();
  body["tools"] = Json::array({1});
  EXPECT_THAT(refused(body, 400, "invalid_request_error"), HasSubstr("tools[0]: must be an object"));
  body = anthropic_body();
  body["messages"][0]["content"][0]["source"] = {{"type", "url"}, {"url", "http://127.0.0.1:1/"}};
  EXPECT_THAT(refused(body, 400, "invalid_request_error"), HasSubstr("fetches no URLs"));
  body = anthropic_body();
  body["messages"][0]["role"] = "system";
  EXPECT_THAT(refused(body, 400, "invalid_request_error"), HasSubstr("must be user or assistant"));
}

// ---- tokens and prompts --------------------------------------------------------------------------------------------

TEST_F(ToolsTest, TokensGoThereAndBack) {
  const int port = start();
  const std::string text = "What color is it? <|im_end|> \xE4\xBD\xA0";
  const Json ids = post(port, "/tokenize", {{"content", text}}).json()["tokens"];
  EXPECT_EQ(post(port, "/detokenize", {{"tokens", ids}}).json()["content"], text);
  const Json plain = post(port, "/tokenize", {{"content", text}, {"parse_special", false}}).json()["tokens"];
  EXPECT_GT(plain.size(), ids.size());
  EXPECT_EQ(post(port, "/detokenize", {{"tokens", plain}}).json()["content"], text);
  const Json pieces = post(port, "/tokenize", {{"content", text}, {"with_pieces", true}}).json()["tokens"];
  std::string joined;
  for (const Json& piece : pieces) {
    if (piece["piece"].is_string()) joined += piece["piece"].get<std::string>();
    for (const Json& byte : piece["piece"].is_array() ? piece["piece"] : Json::array())
      joined += static_cast<char>(byte.get<int>());
  }
  EXPECT_EQ(joined, text);
  for (const char* bad : {R"({"tokens":[-1]})", R"({"tokens":[99999999]})", R"({"tokens":["a"]})", R"({"tokens":1})",
                          R"({})", R"({"tokens":[1.5]})"})
    EXPECT_EQ(ask(port, "POST", "/detokenize", bad).status, 400) << bad;
  EXPECT_EQ(post(port, "/tokenize", {{"content", 1}}).status, 400);
}

TEST_F(ToolsTest, ThePromptOfAConversation) {
  const int port = start();
  const Json reply = post(port, "/apply-template", openai_question("What is <|im_end|>?")).json();
  EXPECT_THAT(reply["prompt"].get<std::string>(), HasSubstr("<|im_start|>user\nWhat is <|im_end|>?<|im_end|>\n"));
}

TEST_F(ToolsTest, HealthAndMetrics) {
  const int port = start();
  EXPECT_EQ(get(port, "/health").json()["status"], "ok");
  EXPECT_THAT(get(port, "/").body, HasSubstr("running"));
  post(port, "/v1/chat/completions", openai_question({image_part(asset("word.png")), text_part("Read the text.")}));
  std::string text;
  const std::string counted = "minicpm_requests_total{route=\"/v1/chat/completions\",status=\"200\"} 1\n";
  for (int tries = 0; tries < 1000 && text.find(counted) == std::string::npos; ++tries)
    text = get(port, "/metrics").body;
  EXPECT_THAT(text, HasSubstr(counted));
  EXPECT_THAT(text, HasSubstr("minicpm_time_to_first_token_seconds_count 1\n"));
  EXPECT_THAT(text, HasSubstr("minicpm_inter_token_seconds_bucket{le=\"+Inf\"}"));
  EXPECT_THAT(text, HasSubstr("# TYPE minicpm_completion_tokens_total counter"));
  EXPECT_THAT(text, HasSubstr("minicpm_requests_running 0\n"));
}

TEST_F(ToolsTest, OtherAddressesAndMethods) {
  const int port = start();
  const Reply missing = get(port, "/nothing");
  EXPECT_EQ(missing.status, 404);
  EXPECT_EQ(missing.json()["error"]["type"], "invalid_request_error");
  EXPECT_EQ(get(port, "/v1/chat/completions").status, 405);
  EXPECT_EQ(ask(port, "DELETE", "/v1/models").status, 405);
  EXPECT_EQ(ask(port, "HEAD", "/health").status, 200);
}

}  // namespace
}  // namespace minicpm::server

// Texts that go on without a template, and the description of all addresses.
#include <gmock/gmock.h>

#include <algorithm>

#include "server/api_support.h"

namespace minicpm::server {
namespace {

using ::testing::HasSubstr;

using CompletionsTest = ApiTest;

/// The prompt that the chat template makes of a question about no picture.
Json chat_body() {
  return openai_question("What is the capital of France?");
}

Json completion_body(const Json& prompt) {
  return {{"model", "pico"}, {"prompt", prompt}, {"temperature", 0}, {"max_tokens", 12}};
}

TEST_F(CompletionsTest, TheTemplatesPromptGivesTheChatsAnswer) {
  const int port = start();
  Json chat = chat_body();
  chat["max_tokens"] = 12;
  const std::string answer = openai_text(post(port, "/v1/chat/completions", chat));
  ASSERT_NE(answer, "");
  const std::string prompt = post(port, "/apply-template", chat).json()["prompt"].get<std::string>();
  const Json reply = post(port, "/v1/completions", completion_body(prompt)).json();
  EXPECT_EQ(reply["object"], "text_completion");
  EXPECT_THAT(reply["choices"][0]["text"].get<std::string>(), HasSubstr(answer));
  const Json ids = post(port, "/tokenize", {{"content", prompt}}).json()["tokens"];
  EXPECT_EQ(post(port, "/v1/completions", completion_body(ids)).json()["choices"][0]["text"],
            reply["choices"][0]["text"]);
  EXPECT_EQ(reply["usage"]["prompt_tokens"], ids.size());
}

TEST_F(CompletionsTest, SeveralPromptsChoicesEchoAndStream) {
  const int port = start();
  Json body = completion_body({"red green", "one two three"});
  body["n"] = 2;
  const Json whole = post(port, "/v1/completions", body).json()["choices"];
  ASSERT_EQ(whole.size(), 4u);
  for (size_t i = 0; i < 4; ++i)
    EXPECT_EQ(whole[i]["index"], i);
  EXPECT_EQ(whole[0]["text"], whole[1]["text"]);
  body["echo"] = true;
  const Json echoed = post(port, "/v1/completions", body).json()["choices"];
  EXPECT_EQ(echoed[0]["text"], "red green" + whole[0]["text"].get<std::string>());
  EXPECT_EQ(echoed[3]["text"], "one two three" + whole[3]["text"].get<std::string>());
  body["stream"] = true;
  body["stream_options"] = {{"include_usage", true}};
  std::vector<std::string> texts(4);
  const Events events = events_of(post(port, "/v1/completions", body).body);
  for (const Json& event : events.data) {
    for (const Json& choice : event["choices"])
      texts[choice["index"].get<size_t>()] += choice["text"].get<std::string>();
  }
  for (size_t i = 0; i < 4; ++i)
    EXPECT_EQ(texts[i], echoed[i]["text"]);
  EXPECT_GT(events.data.back()["usage"]["completion_tokens"], 0);
  EXPECT_TRUE(events.done);
}

TEST_F(CompletionsTest, LogProbabilitiesAreParallelLists) {
  const int port = start();
  Json body = completion_body("red green");
  body["logprobs"] = 2;
  const Json choice = post(port, "/v1/completions", body).json()["choices"][0];
  const Json& lists = choice["logprobs"];
  std::string text;
  for (size_t i = 0; i < lists["tokens"].size(); ++i) {
    EXPECT_EQ(lists["text_offset"][i], text.size());
    text += lists["tokens"][i].get<std::string>();
    EXPECT_LE(lists["token_logprobs"][i], 0.0);
    EXPECT_LE(lists["top_logprobs"][i].size(), 2u);
  }
  EXPECT_EQ(text, choice["text"]);
}

TEST_F(CompletionsTest, WhatIsWrongIsRefusedByName) {
  const int port = start();
  const auto refused = [&](const char* key, const char* value, const std::string& text) {
    Json body = completion_body("red");
    body[key] = parse_json(value, "test");
    const Reply reply = post(port, "/v1/completions", body);
    EXPECT_EQ(reply.status, 400) << key << " " << value;
    EXPECT_THAT(reply.body, HasSubstr(text)) << value;
  };
  for (const char* prompt : {"null", "5", "{}", "[]", "[[]]", "[-1]", "[1.5]", "[1, \"a\"]", "[99999999]", "[[1], 5]",
                             "\"\"", "[4294967296]"})
    refused("prompt", prompt, "prompt");
  refused("suffix", "\"x\"", "suffix: not supported");
  refused("logprobs", "6", "logprobs");
  refused("logprobs", "true", "logprobs");
  refused("n", "9", "n: must be");
  refused("echo", "1", "echo");
  refused("messages", "[]", "messages: unknown field");
  Json body = completion_body("red");
  body["echo"] = true;
  body["logprobs"] = 1;
  EXPECT_THAT(post(port, "/v1/completions", body).body, HasSubstr("echo: does not go with logprobs"));
}

TEST_F(CompletionsTest, TheDescriptionHasAllAddressesAndNoOthers) {
  const int port = start();
  const Json document = get(port, "/openapi.json").json();
  EXPECT_EQ(document["openapi"], "3.1.0");
  EXPECT_EQ(document["info"]["version"], "1.2.3");
  std::vector<std::string> described, ids;
  for (const auto& [path, methods] : document["paths"].items()) {
    for (const auto& [method, operation] : methods.items()) {
      std::string verb = method;
      std::ranges::transform(verb, verb.begin(), [](char c) { return static_cast<char>(std::toupper(c)); });
      described.push_back(verb + " " + path.substr(0, path.find("{name}")));
      ids.push_back(operation["operationId"].get<std::string>());
      EXPECT_TRUE(operation["responses"].contains(path == "/v1/realtime" ? "101" : "200"));
      EXPECT_EQ(operation.contains("requestBody"),
                (method == "post" && !path.ends_with("/cancel")) || path == "/api/delete")
          << path;
    }
  }
  EXPECT_THAT(described, ::testing::UnorderedElementsAreArray(route_names()));
  std::ranges::sort(ids);
  EXPECT_EQ(std::ranges::adjacent_find(ids), ids.end());
}

// A field that a description names is one that the address takes.
TEST_F(CompletionsTest, DescribedFieldsAreKnown) {
  const int port = start();
  const Json document = get(port, "/openapi.json").json();
  int fields = 0;
  for (const auto& [path, methods] : document["paths"].items()) {
    if (!methods.contains("post") || !methods["post"].contains("requestBody")) continue;
    const Json& content = methods["post"]["requestBody"]["content"];
    if (!content.contains("application/json")) continue;
    const Json& properties = content["application/json"]["schema"]["properties"];
    for (const auto& [name, field] : properties.items()) {
      Json body = Json::object();
      if (properties.contains("model")) body["model"] = "pico";
      if (name != "model") body[name] = Json::array({Json::array({5})});  // of a wrong type almost everywhere
      const Reply reply = post(port, path, body);
      EXPECT_EQ(reply.body.find("unknown field"), std::string::npos) << path << " " << name << ": " << reply.body;
      EXPECT_EQ(reply.body.find("not supported"), std::string::npos) << path << " " << name << ": " << reply.body;
      ++fields;
    }
  }
  EXPECT_GT(fields, 60);
}

}  // namespace
}  // namespace minicpm::server

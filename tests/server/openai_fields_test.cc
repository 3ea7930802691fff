// Answers of a wanted form, penalties, log probabilities, several choices, and what one client may learn of another.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>

#include "server/api_support.h"

namespace minicpm::server {
namespace {

using ::testing::HasSubstr;

using FieldsTest = ApiTest;

Json read_text() {
  return openai_question({image_part(asset("word.png")), text_part("Read the text.")});
}

Json person_schema() {
  return {{"type", "object"},
          {"properties",
           {{"word", {{"type", "string"}, {"maxLength", 12}}}, {"letters", {{"type", "integer"}, {"maximum", 99}}}}},
          {"required", {"word", "letters"}},
          {"additionalProperties", false}};
}

/// Ids of a text, alone.
std::vector<int32_t> ids_of(int port, const std::string& text) {
  return post(port, "/tokenize", {{"content", text}}).json()["tokens"].get<std::vector<int32_t>>();
}

TEST_F(FieldsTest, AnswersHaveTheFormOfASchema) {
  const int port = start();
  Json body = read_text();
  body["response_format"] = {{"type", "json_schema"},
                             {"json_schema", {{"name", "word"}, {"strict", true}, {"schema", person_schema()}}}};
  body["max_tokens"] = 200;
  const std::string whole = openai_text(post(port, "/v1/chat/completions", body));
  const Json json = parse_json(whole, "answer");
  EXPECT_EQ(json.size(), 2u) << whole;
  EXPECT_TRUE(json["word"].is_string() && json["letters"].is_number_integer()) << whole;
  body["stream"] = true;
  EXPECT_EQ(openai_streamed_text(post(port, "/v1/chat/completions", body)), whole);
  body.erase("stream");
  body["response_format"] = {{"type", "json_object"}};
  const Reply object = post(port, "/v1/chat/completions", body);
  const Json choice = object.json()["choices"][0];
  if (choice["finish_reason"] == "stop") {
    EXPECT_TRUE(parse_json(openai_text(object), "answer").is_object());
  }
  EXPECT_TRUE(openai_text(object).starts_with("{"));
  body["response_format"] = {{"type", "text"}};
  EXPECT_EQ(openai_text(post(port, "/v1/chat/completions", body)), "HAPPINESS");
}

TEST_F(FieldsTest, BadFormsAreRefusedByName) {
  const int port = start();
  const auto refused = [&](const char* format, const std::string& param) {
    Json body = read_text();
    body["response_format"] = parse_json(format, "test");
    const Reply reply = post(port, "/v1/chat/completions", body);
    EXPECT_EQ(reply.status, 400) << format;
    EXPECT_EQ(reply.json()["error"]["param"], param) << format << reply.body;
  };
  refused(R"({"type": "xml"})", "response_format.type");
  refused(R"({})", "response_format.type");
  refused(R"({"type": "json_schema"})", "response_format.json_schema");
  refused(R"({"type": "json_schema", "json_schema": {"name": "x"}})", "response_format.json_schema.schema");
  refused(R"({"type": "json_schema", "json_schema": {"schema": 5}})", "response_format.json_schema.schema");
  refused(R"({"type": "json_schema", "json_schema": {"schema": {"type": "string", "pattern": "x"}}})",
          "response_format.json_schema.schema");
  refused(R"({"type": "json_object", "extra": 1})", "response_format.extra");
  Json beams = read_text();
  beams["response_format"] = {{"type", "json_object"}};
  beams.erase("temperature");
  beams["num_beams"] = 2;
  EXPECT_THAT(post(port, "/v1/chat/completions", beams).body, HasSubstr("beam search"));
}

TEST_F(FieldsTest, BiasForcesAndForbidsTokens) {
  const int port = start();
  const int32_t first = ids_of(port, "HAPPINESS").front();
  Json body = read_text();
  body["logit_bias"] = {{std::to_string(first), -100}};
  EXPECT_FALSE(openai_text(post(port, "/v1/chat/completions", body)).starts_with("HAPPINESS"));
  const int32_t wanted = ids_of(port, "7").front();
  body["logit_bias"] = {{std::to_string(wanted), 100}};
  body["max_tokens"] = 4;
  EXPECT_EQ(openai_text(post(port, "/v1/chat/completions", body)), "7777");
  body["frequency_penalty"] = 2;  // each "7" costs two of the hundred
  body["logit_bias"] = {{std::to_string(wanted), 100}};
  EXPECT_EQ(openai_text(post(port, "/v1/chat/completions", body)), "7777");
  for (const char* bad : {R"({"x": 1})", R"({"-1": 1})", R"({"99999999": 1})", R"({"1": 101})", R"({"1": "a"})",
                          R"({"1.5": 1})", "[1]", "5"}) {
    body["logit_bias"] = parse_json(bad, "test");
    const Reply reply = post(port, "/v1/chat/completions", body);
    EXPECT_EQ(reply.status, 400) << bad;
    EXPECT_THAT(reply.body, HasSubstr("logit_bias")) << bad;
  }
}

TEST_F(FieldsTest, PenaltiesDriveRepetitionsOut) {
  const int port = start();
  Json body = openai_question("Tell me.");
  body["max_tokens"] = 48;
  body["min_tokens"] = 48;
  const auto most_frequent = [&] {
    Json asked = body;
    asked["logprobs"] = true;
    std::map<std::string, int> counts;
    const Json reply = post(port, "/v1/chat/completions", asked).json();
    for (const Json& token : reply["choices"][0]["logprobs"]["content"])
      ++counts[token["token"].get<std::string>()];
    int most = 0;
    for (const auto& [token, count] : counts)
      most = std::max(most, count);
    return most;
  };
  const int plain = most_frequent();
  body["frequency_penalty"] = 2;
  body["presence_penalty"] = 2;
  EXPECT_LT(most_frequent(), plain);
}

TEST_F(FieldsTest, LogProbabilitiesAreThoseOfTheText) {
  const int port = start();
  Json body = read_text();
  body["logprobs"] = true;
  body["top_logprobs"] = 3;
  const Json choice = post(port, "/v1/chat/completions", body).json()["choices"][0];
  const Json& whole = choice["logprobs"]["content"];
  std::string text;
  for (const Json& token : whole) {
    for (const Json& byte : token["bytes"])
      text += static_cast<char>(byte.get<int>());
    ASSERT_EQ(token["top_logprobs"].size(), 3u);
    EXPECT_EQ(token["top_logprobs"][0]["token"], token["token"]);  // greedy
    EXPECT_EQ(token["top_logprobs"][0]["logprob"], token["logprob"]);
    EXPECT_LE(token["logprob"], 0.0);
    EXPECT_GE(token["top_logprobs"][1]["logprob"], token["top_logprobs"][2]["logprob"]);
  }
  EXPECT_EQ(text, "HAPPINESS");
  body["stream"] = true;
  Json streamed = Json::array();
  for (const Json& event : events_of(post(port, "/v1/chat/completions", body).body).data) {
    const Json& logprobs = event["choices"][0]["logprobs"];
    if (logprobs.is_null()) continue;
    for (const Json& token : logprobs["content"])
      streamed.push_back(token);
  }
  ASSERT_EQ(streamed.size(), whole.size());
  for (size_t i = 0; i < whole.size(); ++i) {
    EXPECT_EQ(streamed[i]["token"], whole[i]["token"]);
    EXPECT_NEAR(streamed[i]["logprob"].get<double>(), whole[i]["logprob"].get<double>(), 1e-3);
  }
}

TEST_F(FieldsTest, LogProbabilitiesLeaveReasoningOut) {
  const int port = start();
  Json body = read_text();
  body["logprobs"] = true;
  body["enable_thinking"] = true;
  const Json reply = post(port, "/v1/chat/completions", body).json();
  const Json& choice = reply["choices"][0];
  const int64_t reasoning = reply["usage"]["completion_tokens_details"]["reasoning_tokens"].get<int64_t>();
  EXPECT_GT(reasoning, 0);
  std::string text;
  if (choice["logprobs"].is_object()) {
    for (const Json& token : choice["logprobs"]["content"])
      text += token["token"].get<std::string>();
  }
  EXPECT_THAT(text, HasSubstr(choice["message"]["content"].get<std::string>()));
  EXPECT_EQ(text.find("</think>"), std::string::npos);
}

TEST_F(FieldsTest, LogProbabilitiesThatCannotBeAreRefused) {
  const int port = start();
  Json body = read_text();
  body["top_logprobs"] = 2;
  EXPECT_EQ(post(port, "/v1/chat/completions", body).json()["error"]["param"], "top_logprobs");
  body["logprobs"] = true;
  body["top_logprobs"] = 21;
  EXPECT_EQ(post(port, "/v1/chat/completions", body).json()["error"]["param"], "top_logprobs");
  body["top_logprobs"] = 2;
  body["num_beams"] = 2;
  EXPECT_EQ(post(port, "/v1/chat/completions", body).json()["error"]["param"], "logprobs");
}

TEST_F(FieldsTest, ChoicesAreDrawnAtOnceAndStreamedTogether) {
  const int port = start();
  Json body = read_text();
  body["n"] = 4;
  const Json reply = post(port, "/v1/chat/completions", body).json();
  ASSERT_EQ(reply["choices"].size(), 4u);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(reply["choices"][i]["index"], i);
    EXPECT_EQ(reply["choices"][i]["message"]["content"], "HAPPINESS");
  }
  // The prompt was computed once: the others took it over.
  const std::string metrics = get(port, "/metrics").body;
  const std::string name = "minicpm_engine_reused_tokens_total{model=\"pico\"} ";
  const size_t at = metrics.find(name);
  ASSERT_NE(at, std::string::npos) << metrics;
  EXPECT_GE(std::stoll(metrics.substr(at + name.size())), 3 * (reply["usage"]["prompt_tokens"].get<int>() - 1));

  body["stream"] = true;
  const Events events = events_of(post(port, "/v1/chat/completions", body).body);
  EXPECT_TRUE(events.done);
  std::vector<std::string> texts(4);
  int finished = 0;
  for (const Json& event : events.data) {
    const Json& choice = event["choices"][0];
    texts[choice["index"].get<size_t>()] += choice["delta"].value("content", "");
    finished += choice["finish_reason"] == "stop";
  }
  EXPECT_EQ(texts, std::vector<std::string>(4, "HAPPINESS"));
  EXPECT_EQ(finished, 4);
}

TEST_F(FieldsTest, ChoicesHaveTheirOwnSeeds) {
  const int port = start();
  Json body = openai_question("Tell me.");
  body["temperature"] = 3;
  body["max_tokens"] = 12;
  body["seed"] = 7;
  body["n"] = 2;
  const Json choices = post(port, "/v1/chat/completions", body).json()["choices"];
  body.erase("n");
  EXPECT_EQ(openai_text(post(port, "/v1/chat/completions", body)), choices[0]["message"]["content"]);
  EXPECT_NE(choices[0]["message"]["content"], choices[1]["message"]["content"]);
}

TEST_F(FieldsTest, CachedTokensAreOfTheSameKeyOnly) {
  options.access.api_keys = {"first-key", "second-key"};
  const int port = start();
  const auto cached = [&](const std::string& key) {
    const Reply reply =
        ask(port, "POST", "/v1/chat/completions", read_text().dump(), {{"Authorization", "Bearer " + key}});
    EXPECT_EQ(openai_text(reply), "HAPPINESS");
    return reply.json()["usage"]["prompt_tokens_details"]["cached_tokens"].get<int>();
  };
  EXPECT_EQ(cached("first-key"), 0);
  EXPECT_GT(cached("first-key"), 32);
  EXPECT_EQ(cached("second-key"), 0);
  EXPECT_GT(cached("second-key"), 32);
}

TEST_F(FieldsTest, EnginesTellWhatTheyDo) {
  const int port = start();
  openai_text(post(port, "/v1/chat/completions", read_text()));
  openai_text(post(port, "/v1/chat/completions", read_text()));
  const std::string metrics = get(port, "/metrics").body;
  const auto value = [&](const std::string& name) -> int64_t {
    const std::string line = "\nminicpm_engine_" + name + "{model=\"pico\"} ";
    const size_t at = metrics.find(line);
    EXPECT_NE(at, std::string::npos) << name;
    return at == std::string::npos ? -1 : std::stoll(metrics.substr(at + line.size()));
  };
  EXPECT_GT(value("kv_blocks"), value("kv_blocks_free"));
  EXPECT_GT(value("kept_sequences"), 0);
  EXPECT_GT(value("reused_tokens_total"), 0);
  EXPECT_GT(value("rows_total"), value("steps_total"));
  EXPECT_EQ(value("media_cache_misses_total"), 1);
  EXPECT_GE(value("media_cache_hits_total"), 0);
  EXPECT_EQ(value("preemptions_total"), 0);
  EXPECT_EQ(value("answers"), 0);
}

TEST_F(FieldsTest, TenQuestionsAboutAPictureCostOneLook) {
  const int port = start();
  const std::string picture = asset("word.png");
  const auto ask_all = [&](bool picture_first) {
    for (int i = 0; i < 10; ++i) {
      const Json text = text_part("Question " + std::to_string(i) + ": what do you see?");
      Json body = openai_question(picture_first ? Json::array({image_part(picture), text})
                                                : Json::array({text, image_part(picture)}));
      body["max_tokens"] = 1;
      EXPECT_EQ(post(port, "/v1/chat/completions", body).status, 200);
    }
  };
  const auto value = [&](const std::string& name) {
    const std::string text = get(port, "/metrics").body, start = "minicpm_engine_" + name + "{model=\"pico\"} ";
    const size_t at = text.find(start);
    return at == std::string::npos ? -1 : std::atoi(text.c_str() + at + start.size());
  };
  ask_all(true);  // what is in front of the text is not even computed again
  EXPECT_EQ(value("media_cache_misses_total"), 1);
  EXPECT_EQ(value("media_cache_hits_total"), 0);
  ask_all(false);
  EXPECT_EQ(value("media_cache_misses_total"), 1);
  EXPECT_EQ(value("media_cache_hits_total"), 10);
}

}  // namespace
}  // namespace minicpm::server

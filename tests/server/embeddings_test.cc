// Texts to vectors.
#include <gmock/gmock.h>

#include <bit>
#include <cmath>

#include "server/api_support.h"

namespace minicpm::server {
namespace {

using ::testing::HasSubstr;

using EmbeddingsTest = ApiTest;
using Vector = std::vector<double>;

double dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    sum += a[i] * b[i];
  return sum;
}

Vector embedding(const Reply& reply, size_t index = 0) {
  EXPECT_EQ(reply.status, 200) << reply.body;
  return reply.json().at("data").at(index).at("embedding").get<Vector>();
}

TEST_F(EmbeddingsTest, TextsIdsAndNumbersAgree) {
  const int port = start();
  const Json several = {{"model", "pico"}, {"input", {"a red square", "What do you see?"}}};
  const Reply reply = post(port, "/v1/embeddings", several);
  const Vector first = embedding(reply, 0), second = embedding(reply, 1);
  ASSERT_GT(first.size(), 8u);
  EXPECT_EQ(first.size(), second.size());
  EXPECT_NEAR(dot(first, first), 1, 1e-5);
  EXPECT_LT(dot(first, second), 0.9999);
  EXPECT_EQ(reply.json()["data"][1]["index"], 1);

  const auto ids = post(port, "/tokenize", {{"content", "a red square"}}).json()["tokens"];
  EXPECT_EQ(reply.json()["usage"]["prompt_tokens"],
            ids.size() + post(port, "/tokenize", {{"content", "What do you see?"}}).json()["tokens"].size());
  EXPECT_GT(dot(first, embedding(post(port, "/v1/embeddings", {{"input", ids}}))), 0.9999);
  EXPECT_GT(dot(first, embedding(post(port, "/v1/embeddings", {{"input", Json::array({ids})}}))), 0.9999);
  EXPECT_GT(dot(first, embedding(post(port, "/v1/embeddings", {{"input", "a red square"}}))), 0.9999);

  Json body = several;
  body["encoding_format"] = "base64";
  const std::string text = post(port, "/v1/embeddings", body).json()["data"][0]["embedding"];
  const std::string bytes = decode_base64(text).value();
  ASSERT_EQ(bytes.size(), first.size() * 4);
  for (size_t i = 0; i < first.size(); ++i) {
    uint32_t bits = 0;
    for (int k = 3; k >= 0; --k)
      bits = bits << 8 | static_cast<unsigned char>(bytes[i * 4 + static_cast<size_t>(k)]);
    EXPECT_NEAR(std::bit_cast<float>(bits), first[i], 1e-3);
  }
  body = several;
  body["dimensions"] = 8;
  const Vector short_one = embedding(post(port, "/v1/embeddings", body));
  EXPECT_EQ(short_one.size(), 8u);
  EXPECT_NEAR(dot(short_one, short_one), 1, 1e-5);
  EXPECT_GT(dot(short_one, first), 0);
}

TEST_F(EmbeddingsTest, OllamasAddresses) {
  const int port = start();
  const Json both = post(port, "/api/embed", {{"model", "pico"}, {"input", {"a red square", "a"}}}).json();
  ASSERT_EQ(both["embeddings"].size(), 2u);
  EXPECT_GT(both["prompt_eval_count"], 2);
  const Json one = post(port, "/api/embeddings", {{"model", "pico"}, {"prompt", "a red square"}}).json();
  EXPECT_GT(dot(one["embedding"].get<Vector>(), both["embeddings"][0].get<Vector>()), 0.9999);
  std::string long_text;
  for (int i = 0; i < 20'000; ++i)
    long_text += " red";
  EXPECT_EQ(post(port, "/api/embed", {{"model", "pico"}, {"input", long_text}}).status, 200);
  const Reply refused = post(port, "/api/embed", {{"model", "pico"}, {"input", long_text}, {"truncate", false}});
  EXPECT_EQ(refused.status, 400);
  EXPECT_THAT(refused.body, HasSubstr("does not fit the context"));
}

TEST_F(EmbeddingsTest, WhatIsWrongIsRefusedByName) {
  const int port = start();
  const auto refused = [&](const char* key, const char* value, const std::string& text) {
    Json body = {{"input", "x"}};
    body[key] = parse_json(value, "test");
    const Reply reply = post(port, "/v1/embeddings", body);
    EXPECT_EQ(reply.status, 400) << value;
    EXPECT_THAT(reply.body, HasSubstr(text)) << value;
  };
  refused("input", "null", "input: is missing");
  refused("input", "\"\"", "input: is empty");
  refused("input", "[]", "input: is empty");
  refused("input", "[[]]", "input[0]: is empty");
  refused("input", "5", "input");
  refused("input", "[1.5]", "input[0]");
  refused("input", "[-1]", "input[0]");
  refused("input", "[1, \"a\"]", "input[1]");
  refused("input", "[\"a\", 1]", "input[1]");
  refused("input", "[99999999]", "input[0]");
  refused("encoding_format", "\"hex\"", "encoding_format");
  refused("dimensions", "0", "dimensions");
  refused("dimensions", "1000000", "dimensions");
  refused("prompt", "\"x\"", "unknown field");
}

}  // namespace
}  // namespace minicpm::server

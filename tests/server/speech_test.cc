// Texts that are read aloud. The model that speaks has random weights: its sound means nothing, but it is the same
// each time.
#include <gmock/gmock.h>

#include "media/log_mel.h"
#include "media/wav.h"
#include "server/api_support.h"

namespace minicpm::server {
namespace {

using ::testing::HasSubstr;

class SpeechApiTest : public ApiTest {
 protected:
  int start_speaking() {
    EngineOptions engine;
    engine.backend.num_threads = 1;
    models.push_back(load_served_model({std::string(MINICPM_E2E_MODELS) + "/o26-hf", ""}, engine));
    return start();
  }
};

Json speech_body() {
  return {{"input", "Hello."}, {"voice", "default"}, {"response_format", "wav"}, {"seed", 7}};
}

TEST_F(SpeechApiTest, SpeaksIntoFilesAndAsRawSamples) {
  const int port = start_speaking();
  const Reply wav = post(port, "/v1/audio/speech", speech_body());
  ASSERT_EQ(wav.status, 200) << wav.body.substr(0, 300);
  EXPECT_EQ(wav.headers.at("content-type"), "audio/wav");
  EXPECT_TRUE(wav.body.starts_with("RIFF"));
  EXPECT_EQ(post(port, "/v1/audio/speech", speech_body()).body, wav.body);
  Json body = speech_body();
  body["voice"] = {{"data", encode_base64(wav_file(std::vector<float>(kAudioRate, 0.25f), kAudioRate))}};
  EXPECT_NE(post(port, "/v1/audio/speech", body).body, wav.body);
  body["voice"] = "default";
  body["response_format"] = "pcm";
  const Reply raw = post(port, "/v1/audio/speech", body);
  EXPECT_EQ(raw.headers.at("content-type"), "audio/pcm");
  EXPECT_GT(raw.body.size(), 1000u);
  EXPECT_EQ(raw.body.size() % 2, 0u);
}

TEST_F(SpeechApiTest, WhatIsWrongIsRefusedByName) {
  const int port = start_speaking();
  const auto refused = [&](const char* key, const char* value, const std::string& text) {
    Json body = speech_body();
    body[key] = parse_json(value, "test");
    const Reply reply = post(port, "/v1/audio/speech", body);
    EXPECT_EQ(reply.status, 400) << key << " " << value;
    EXPECT_THAT(reply.body, HasSubstr(text)) << value;
  };
  refused("input", "null", "input: is missing");
  refused("input", "\" \"", "input: is empty");
  refused("input", "5", "input: must be a string");
  refused("input", ("\"" + std::string(16'385, 'a') + "\"").c_str(), "longer than");
  refused("voice", "\"alloy\"", "voice: must be");
  refused("voice", "\"male\"", "no such voice");
  refused("voice", "5", "voice: must be");
  refused("voice", "{}", "voice.data: is missing");
  refused("voice", R"({"data": "YWJj"})", "voice.data");
  refused("response_format", "\"xyz\"", "response_format");
  refused("speed", "2", "speed: only 1");
  refused("stream_format", "\"sse\"", "stream_format");
  refused("language", "\"de\"", "language");
  refused("text", "\"x\"", "unknown field");
}

TEST_F(SpeechApiTest, AModelThatDoesNotSpeakSaysSo) {
  const int port = start();
  const Reply reply = post(port, "/v1/audio/speech", speech_body());
  EXPECT_EQ(reply.status, 400);
  EXPECT_THAT(reply.body, HasSubstr("pico does not speak"));
}

}  // namespace
}  // namespace minicpm::server

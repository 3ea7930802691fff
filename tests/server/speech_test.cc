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

Json spoken_question() {
  Json body = openai_question("Hello.");
  body.erase("model");
  body["max_tokens"] = 12;
  body["modalities"] = {"text", "audio"};
  body["audio"] = {{"voice", "default"}, {"format", "wav"}};
  body["seed"] = 7;
  return body;
}

TEST_F(SpeechApiTest, AnswersAreSpokenWholeAndInPieces) {
  const int port = start_speaking();
  Json body = spoken_question();
  const Json whole = post(port, "/v1/chat/completions", body).json();
  const Json& message = whole.at("choices").at(0).at("message");
  EXPECT_TRUE(message.at("content").is_null());
  const Json& audio = message.at("audio");
  EXPECT_TRUE(audio.at("id").get<std::string>().starts_with("audio_"));
  EXPECT_FALSE(audio.at("transcript").get<std::string>().empty());
  const std::string wav = decode_base64(audio.at("data").get<std::string>()).value();
  EXPECT_TRUE(wav.starts_with("RIFF"));
  EXPECT_GT(whole["usage"]["completion_tokens_details"]["audio_tokens"], 0);

  body["audio"]["format"] = "pcm16";
  const Json again = post(port, "/v1/chat/completions", body).json();
  const std::string samples = decode_base64(again["choices"][0]["message"]["audio"]["data"].get<std::string>()).value();
  EXPECT_TRUE(wav.ends_with(samples));
  body["stream"] = true;
  body["stream_options"] = {{"include_usage", true}};
  const Reply reply = post(port, "/v1/chat/completions", body);
  const Events events = events_of(reply.body);
  EXPECT_TRUE(events.done && reply.complete) << reply.body.substr(0, 500);
  std::string text, sound;
  for (const Json& event : events.data) {
    for (const Json& choice : event.at("choices")) {
      const Json part = choice.at("delta").value("audio", Json::object());
      text += part.value("transcript", "");
      sound += decode_base64(part.value("data", "")).value();
    }
  }
  EXPECT_EQ(text, audio["transcript"]);
  EXPECT_EQ(sound, samples);
  EXPECT_EQ(events.data.back()["usage"], again["usage"]);

  // The message goes back as it came.
  body = spoken_question();
  body["messages"].push_back(message);
  body["messages"].push_back({{"role", "user"}, {"content", "And now?"}});
  EXPECT_EQ(post(port, "/v1/chat/completions", body).status, 200);
  body["messages"][1]["audio"].erase("transcript");
  EXPECT_THAT(post(port, "/v1/chat/completions", body).body, HasSubstr("sounds are not kept"));
}

TEST_F(SpeechApiTest, WhatDoesNotGoWithSpokenAnswersIsRefused) {
  const int port = start_speaking();
  const auto refused = [&](const char* key, const char* value, const std::string& text) {
    Json body = spoken_question();
    body[key] = parse_json(value, "test");
    const Reply reply = post(port, "/v1/chat/completions", body);
    EXPECT_EQ(reply.status, 400) << key << " " << value;
    EXPECT_THAT(reply.body, HasSubstr(text)) << value;
  };
  refused("modalities", R"(["video"])", "modalities: must be");
  refused("modalities", R"(["text"])", "audio: goes with");
  refused("audio", R"({"voice": "alloy"})", "audio.voice");
  refused("audio", R"({"format": "pcm"})", "audio.format");
  refused("audio", R"({"language": "de"})", "audio.language");
  refused("audio", R"({"speed": 2})", "audio.speed: unknown field");
  refused("stream", "true", "must be pcm16");
  refused("n", "2", "n: must be 1");
  refused("num_beams", "2", "num_beams: does not go");
  refused("logprobs", "true", "logprobs: does not go");
  refused("response_format", R"({"type": "json_object"})", "response_format: does not go");
}

TEST_F(SpeechApiTest, AModelThatDoesNotSpeakSaysSo) {
  const int port = start();
  const Reply reply = post(port, "/v1/audio/speech", speech_body());
  EXPECT_EQ(reply.status, 400);
  EXPECT_THAT(reply.body, HasSubstr("pico does not speak"));
  const Reply answer = post(port, "/v1/chat/completions", spoken_question());
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(answer.json()["error"]["param"], "modalities");
  EXPECT_THAT(answer.body, HasSubstr("pico does not speak"));
}

}  // namespace
}  // namespace minicpm::server

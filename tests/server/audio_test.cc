// Forms, and transcripts of sound. The model that hears has random weights: its words mean nothing, but they are the
// same through the server and without it.
#include <gmock/gmock.h>

#include <cmath>

#include "media/log_mel.h"
#include "media/wav.h"
#include "server/api_support.h"
#include "server/multipart.h"

namespace minicpm::server {
namespace {

using ::testing::HasSubstr;

constexpr char kType[] = "multipart/form-data; boundary=\"xyz\"";

std::string form(const std::vector<std::pair<std::string, std::string>>& fields) {
  std::string body;
  for (const auto& [name, value] : fields) {
    body += "--xyz\r\nContent-Disposition: form-data; name=\"" + name + "\"";
    if (name == "file") body += "; filename=\"a.wav\"\r\nContent-Type: audio/wav";
    body += "\r\n\r\n" + value + "\r\n";
  }
  return body + "--xyz--\r\n";
}

std::string tone() {
  std::vector<float> samples(kAudioRate * 2);
  for (size_t i = 0; i < samples.size(); ++i)
    samples[i] = 0.5f * std::sin(0.1f * static_cast<float>(i) + 3.0f * std::sin(0.0007f * static_cast<float>(i)));
  return wav_file(samples, kAudioRate);
}

TEST(MultipartTest, FieldsComeAsTheyAre) {
  const std::string value = "a\r\n--xy\r\n\r\nb--xyz";
  const std::string body = form({{"one", value}, {"file", ""}, {"two", "2"}});
  const auto fields = parse_form(kType, body);
  ASSERT_EQ(fields.size(), 3u);
  EXPECT_EQ(fields[0].name, "one");
  EXPECT_EQ(fields[0].value, value);
  EXPECT_EQ(fields[1].name, "file");
  EXPECT_EQ(fields[1].value, "");
  EXPECT_EQ(fields[2].value, "2");
  EXPECT_EQ(parse_form("Multipart/Form-Data;charset=x; Boundary=xyz", body).size(), 3u);
}

TEST(MultipartTest, BrokenFormsAreRefused) {
  const std::string body = form({{"one", "1"}, {"two", "2"}});
  for (size_t cut = 0; cut + 4 < body.size(); ++cut)
    EXPECT_THROW(parse_form(kType, body.substr(0, cut)), ApiError) << cut;
  for (const char* type : {"", "application/json", "multipart/form-data", "multipart/form-data; boundary=",
                           "multipart/form-data; boundary=\"xyz", "multipart/form-data; boundary=other"})
    EXPECT_THROW(parse_form(type, body), ApiError) << type;
  EXPECT_THROW(parse_form(kType, "--xyz\r\nContent-Type: a\r\n\r\n1\r\n--xyz--"), ApiError);
  std::vector<std::pair<std::string, std::string>> many(65, {"x", "1"});
  EXPECT_THROW(parse_form(kType, form(many)), ApiError);
}

class TranscriptionTest : public ApiTest {
 protected:
  Reply ask_for(int port, const std::vector<std::pair<std::string, std::string>>& fields) {
    return ask(port, "POST", "/v1/audio/transcriptions", form(fields), {{"Content-Type", kType}});
  }
  void load_hearing_model() {
    EngineOptions engine;
    engine.backend.num_threads = 1;
    models.push_back(load_served_model({std::string(MINICPM_E2E_MODELS) + "/o26-hf", ""}, engine));
  }
};

TEST_F(TranscriptionTest, EveryFormatHasTheSameText) {
  load_hearing_model();
  const int port = start();
  const Json json = ask_for(port, {{"model", "o26-hf"}, {"file", tone()}}).json();
  const std::string text = json.at("text").get<std::string>();
  EXPECT_EQ(ask_for(port, {{"file", tone()}, {"response_format", "text"}, {"language", "en"}}).body,
            text.empty() ? "" : text + "\n");
  const Json verbose = ask_for(port, {{"file", tone()}, {"response_format", "verbose_json"}}).json();
  EXPECT_EQ(verbose["text"], text);
  EXPECT_EQ(verbose["duration"], 2.0);
  EXPECT_EQ(verbose["segments"].size(), 1u);
  const Reply subtitles = ask_for(port, {{"file", tone()}, {"response_format", "vtt"}});
  EXPECT_THAT(subtitles.body, HasSubstr("WEBVTT"));
}

TEST_F(TranscriptionTest, ChatHearsToo) {
  load_hearing_model();
  const int port = start();
  const Json sound = {{"type", "input_audio"}, {"input_audio", {{"data", encode_base64(tone())}, {"format", "wav"}}}};
  Json body = openai_question({text_part("What is it?"), sound});
  body["model"] = "o26-hf";
  body["max_tokens"] = 4;
  const Reply reply = post(port, "/v1/chat/completions", body);
  ASSERT_EQ(reply.status, 200) << reply.body;
  EXPECT_GT(reply.json()["usage"]["prompt_tokens_details"]["audio_tokens"], 0);
}

TEST_F(TranscriptionTest, WrongRequestsAreToldWhy) {
  const int port = start();
  const auto refused = [&](const std::vector<std::pair<std::string, std::string>>& fields, const std::string& text) {
    const Reply reply = ask_for(port, fields);
    EXPECT_EQ(reply.status, 400) << reply.body;
    EXPECT_THAT(reply.body, HasSubstr(text));
  };
  refused({{"model", "pico"}, {"file", tone()}}, "pico cannot hear");
  refused({{"model", "pico"}}, "file: is missing");
  refused({{"file", tone()}, {"response_format", "doc"}}, "response_format");
  refused({{"file", tone()}, {"language", "fr"}}, "language");
  refused({{"file", tone()}, {"stream", "true"}}, "stream");
  refused({{"file", tone()}, {"mood", "good"}}, "mood: unknown field");
  EXPECT_EQ(post(port, "/v1/audio/transcriptions", {{"file", "x"}}).status, 400);
}

}  // namespace
}  // namespace minicpm::server

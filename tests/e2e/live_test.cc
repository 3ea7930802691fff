// `live` with files in place of microphone, camera and loudspeaker, on a checkpoint in MiniCPM-o 2.6's layout.
#include <algorithm>
#include <cmath>

#include "base/json.h"
#include "e2e/support.h"
#include "engine/omni_parts.h"
#include "models/loaded_model.h"
#include "support/video_writer.h"
#include "text/stream_decoder.h"

namespace minicpm::e2e {
namespace {

using ::testing::HasSubstr;

class LiveTest : public ModelTest {
 protected:
  void SetUp() override {
    ModelTest::SetUp();
    model_ = std::string(MINICPM_E2E_MODELS) + "/o26-hf";
  }

  /// Tones and silences one after another: {seconds, loud}.
  std::string write_sound(const std::string& name, std::initializer_list<std::pair<double, bool>> parts) const {
    std::string data;
    for (const auto& [seconds, loud] : parts) {
      for (int i = 0; i < static_cast<int>(std::lround(seconds * 16000)); ++i) {
        const auto value = static_cast<int16_t>(loud ? 9000 * std::sin(0.17 * i) : 0);
        data += static_cast<char>(value & 255);
        data += static_cast<char>(value >> 8);
      }
    }
    const auto u32 = [](size_t value) {
      std::string bytes;
      for (int shift = 0; shift < 32; shift += 8)
        bytes += static_cast<char>(value >> shift);
      return bytes;
    };
    const std::string format =
        std::string("\x01\0\x01\0", 4) + u32(16000) + u32(32000) + std::string("\x02\0\x10\0", 4);
    return write(name,
                 "RIFF" + u32(36 + data.size()) + "WAVEfmt " + u32(16) + format + "data" + u32(data.size()) + data);
  }

  Outcome live(std::vector<std::string> arguments, const Setting& setting = {}) {
    std::vector<std::string> words = {"live", model_, "-n", "12", "--seed", "3"};
    if (std::ranges::find(arguments, "--vad") == arguments.end()) words.insert(words.end(), {"--vad", "energy"});
    words.insert(words.end(), arguments.begin(), arguments.end());
    return minicpm(words, setting);
  }
  /// Its events.
  static std::vector<Json> events(const Outcome& outcome) {
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    std::vector<Json> result;
    for (size_t at = 0, end; (end = outcome.out.find('\n', at)) != std::string::npos; at = end + 1)
      result.push_back(parse_json(outcome.out.substr(at, end - at), "an event"));
    return result;
  }
  static std::vector<Json> of_kind(const std::vector<Json>& events, const std::string& kind) {
    std::vector<Json> result;
    for (const Json& event : events) {
      if (event.at("event") == kind) result.push_back(event);
    }
    return result;
  }

  std::string model_;
};

TEST_F(LiveTest, AnswersEachTurn) {
  const std::string sound = write_sound("talk.wav", {{0.5, false}, {1.5, true}, {2, false}, {1.2, true}, {2, false}});
  const std::string answer = path("answer.wav");
  const auto all = events(live({"--audio-in", sound, "--audio-out", answer, "--json"}));
  EXPECT_EQ(all.front().at("event"), "ready");
  EXPECT_EQ(all.back().at("text"), "finished");
  EXPECT_EQ(of_kind(all, "turn_begins").size(), 2u);
  const auto ends = of_kind(all, "answer_ends");
  ASSERT_EQ(ends.size(), 2u);
  size_t samples = 0;
  for (const Json& event : of_kind(all, "audio"))
    samples += event.at("samples").get<size_t>();
  for (const Json& end : ends) {
    const Json& timings = end.at("timings");
    EXPECT_GE(timings.at("units"), 2);
    EXPECT_GT(timings.at("prefill_ms"), 0);
  }
  EXPECT_EQ(read_all(answer).size(), 44 + 2 * samples);
  // The same seed gives the same conversation.
  const auto again = events(live({"--audio-in", sound, "--audio-out", path("again.wav"), "--json"}));
  EXPECT_EQ(of_kind(again, "answer_ends")[1].value("text", ""), ends[1].value("text", ""));
  EXPECT_EQ(read_all(path("again.wav")), read_all(answer));
}

/// A second is heard alike as a whole and in a stream, so a session of one turn is a chat of two messages.
TEST_F(LiveTest, IsTheChatWithTheSameWords) {
  EngineOptions options;
  options.precision = Precision::kExact;
  options.kv_type = DType::kF32;
  const auto engine = Engine::load({.model = model_}, options);
  const Tokenizer& tokenizer = *engine->model().tokenizer();
  std::vector<float> sound(16000);
  for (size_t i = 0; i < sound.size(); ++i)
    sound[i] = 0.4f * std::sin(0.17f * static_cast<float>(i));

  OmniConfig config;
  config.sampling = engine->default_sampling(false, true);
  config.sampling.do_sample = false;
  config.sampling.max_tokens = 24;
  ChatRequest request;
  ContentPart role =
      ContentPart::from_text("Use the <reserved_53> voice.You are a helpful assistant with the above voice style.");
  role.control = true;
  request.messages = {{"user", {role}}, {"user", {ContentPart::from_sound(sound)}}};
  request.sampling = config.sampling;
  request.speech = true;
  std::string expected;
  StreamDecoder decoder(tokenizer);
  for (const int32_t id : engine->chat(request).tokens) {
    if (id == tokenizer.token_id("<|tts_eos|>")) break;
    if (!tokenizer.is_special(id)) expected += decoder.push(id);
  }
  expected += decoder.finish();

  const Processor processor(engine->model().config(), tokenizer);
  OmniPartsOptions parts;
  parts.precision = Precision::kExact;
  parts.detector = "off";
  const auto session = OmniSession::open(make_omni_parts(*engine, processor, nullptr, parts), config);
  session->push_audio(sound);
  session->finish();
  std::string text;
  for (bool closed = false; !closed;) {
    const auto event = session->next_event(std::chrono::milliseconds(1000));
    if (!event) continue;
    ASSERT_NE(event->kind, OmniEvent::Kind::kError) << event->text;
    text += event->kind == OmniEvent::Kind::kText ? event->text : "";
    closed = event->kind == OmniEvent::Kind::kClosed;
  }
  EXPECT_FALSE(text.empty());
  EXPECT_EQ(text, expected);
}

TEST_F(LiveTest, TextGoesToStandardOutput) {
  const std::string sound = write_sound("talk.wav", {{2, true}});
  const Outcome outcome = live({"--audio-in", sound, "--verbose", "--vad", "off"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, ::testing::EndsWith("\n"));
  EXPECT_THAT(outcome.err, HasSubstr("first text"));
  EXPECT_THAT(outcome.err, HasSubstr("2.0 s heard in 2 units"));
}

TEST_F(LiveTest, SeesAndHears) {
  const std::string video =
      write("clip.mkv", minicpm::testing::make_video({.width = 64, .height = 48, .fps = 10, .frames = 30}));
  const auto silent = events(live({"--video-in", video, "--json", "--vad", "off"}));
  ASSERT_EQ(of_kind(silent, "answer_ends").size(), 1u);
  const Json seen = of_kind(silent, "answer_ends")[0].at("timings");
  EXPECT_EQ(seen.at("units"), 3);
  const std::string sound = write_sound("talk.wav", {{3, true}});
  const auto both = events(live({"--video-in", video, "--audio-in", sound, "--json", "--hd", "--vad", "off"}));
  const auto heard = events(live({"--audio-in", sound, "--json", "--mode", "omni", "--vad", "off"}));
  const auto tokens = [&](const std::vector<Json>& all) {
    return of_kind(all, "answer_ends").at(0).at("timings").at("context_tokens").get<int>();
  };
  EXPECT_GT(tokens(both), tokens(heard) + 3 * 16);
}

TEST_F(LiveTest, LongSessionsForget) {
  const std::string sound = write_sound("talk.wav", {{30, true}});
  const auto slid = events(live({"--audio-in", sound, "--json", "--vad", "off", "-c", "400"}));
  EXPECT_FALSE(of_kind(slid, "forgotten").empty());
  EXPECT_LE(of_kind(slid, "answer_ends").at(0).at("timings").at("context_tokens"), 400);
  EXPECT_FALSE(
      of_kind(events(live({"--audio-in", sound, "--json", "--vad", "off", "-c", "400", "--when-full", "reset"})),
              "forgotten")
          .empty());
}

TEST_F(LiveTest, VoicesAndRoles) {
  const std::string sound = write_sound("talk.wav", {{1, true}}), voice = write_sound("voice.wav", {{3, true}});
  const auto ready = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--audio-in", sound, "--json", "--vad", "off"});
    return of_kind(events(live(arguments)), "ready").at(0).at("tokens").get<int>();
  };
  const int own = ready({});
  EXPECT_GT(ready({"--voice", voice}), own + 75);
  EXPECT_NE(ready({"--mode", "roleplay", "--language", "zh"}), own);
  EXPECT_GT(ready({"--system", std::string(200, 'a')}), own);
}

TEST_F(LiveTest, Refuses) {
  const std::string sound = write_sound("talk.wav", {{1, true}});
  expect_error(live({"--audio-in", path("none.wav")}), 3, "none.wav");
  expect_error(live({"--audio-in", write("text.wav", "no sound")}), 4, "text.wav");
  expect_error(live({"--audio-in", sound, "--audio-out", path("a.xyz")}), 2, ".wav");
  expect_error(live({"--audio-in", sound, "--mode", "opera"}), 2, "--mode");
  expect_error(live({"--audio-in", sound, "--vad-threshold", "3"}), 2, "threshold");
  expect_error(minicpm({"live", hf_, "--audio-in", sound}), 2, "cannot hear");
}

TEST_F(LiveTest, CtrlCEndsASession) {
  const std::string sound = write_sound("talk.wav", {{0.5, true}, {60, false}});
  const Outcome outcome = live({"--audio-in", sound, "--realtime", "--json"}, {.interrupts = 2});
  EXPECT_EQ(outcome.exit_code, 130) << outcome.err;
  EXPECT_LT(outcome.seconds, 20);
}

}  // namespace
}  // namespace minicpm::e2e

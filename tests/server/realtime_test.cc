// /v1/realtime on a checkpoint in MiniCPM-o 2.6's layout. Its weights are random, so that its answers mean nothing.
#include <gmock/gmock.h>

#include <chrono>
#include <cmath>
#include <future>

#include "server/api_support.h"
#include "server/socket_client.h"

namespace minicpm::server {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kPath[] = "/v1/realtime?model=o26-hf";
const HeaderList kBeta = {{"OpenAI-Beta", "realtime=v1"}};

/// Base64 of pcm16: a tone, or silence.
std::string sound(double seconds, bool loud, int rate = 24000) {
  std::string bytes;
  for (int i = 0; i < static_cast<int>(seconds * rate); ++i) {
    const auto value = static_cast<int16_t>(loud ? 9000 * std::sin(2700.0 * i / rate) : 0);
    bytes += static_cast<char>(value & 255);
    bytes += static_cast<char>(value >> 8);
  }
  return encode_base64(bytes);
}

Json append(double seconds, bool loud, int rate = 24000) {
  return {{"type", "input_audio_buffer.append"}, {"audio", sound(seconds, loud, rate)}};
}

/// What one answer gave, up to response.done.
struct Answer {
  std::vector<std::string> types;  // without repetitions of deltas
  std::string text, transcript;    // of the deltas; of the event that ends them
  size_t sound_bytes = 0;
  Json done, error;
};

Answer answer_of(SocketClient& client) {
  Answer answer;
  while (const auto frame = client.receive()) {
    if (frame->opcode != kText) continue;
    const Json event = parse_json(frame->data, "event");
    const std::string type = event.at("type");
    EXPECT_TRUE(event.at("event_id").get<std::string>().starts_with("event_"));
    if (type == "error") answer.error = event["error"];
    if (answer.types.empty() || answer.types.back() != type || !type.ends_with(".delta")) answer.types.push_back(type);
    if (type.ends_with("audio.delta"))
      answer.sound_bytes += decode_base64(event.at("delta").get<std::string>())->size();
    if (type.ends_with("transcript.delta") || type.ends_with("text.delta")) answer.text += event.at("delta");
    if (type.ends_with("transcript.done")) answer.transcript = event.at("transcript");
    if (type.ends_with("text.done")) answer.transcript = event.at("text");
    if (type != "response.done") continue;
    answer.done = event.at("response");
    break;
  }
  return answer;
}

class RealtimeTest : public ApiTest {
 protected:
  RealtimeTest() {
    EngineOptions engine;
    engine.backend.num_threads = 1;
    options.live.detector = "energy";
    const ModelSpec spec{std::string(MINICPM_E2E_MODELS) + "/o26-hf", ""};
    add_session_room(spec, options.live, engine);
    models.push_back(load_served_model(spec, engine));
  }
  /// A session that is greeted and answers briefly, in turns that the client ends.
  SocketClient open(int port, Json session = {}, const HeaderList& headers = {}) {
    SocketClient client(port, kPath, headers);
    EXPECT_EQ(client.reply().status, 101) << client.reply().body;
    EXPECT_EQ(client.wait_for("session.created").value("type", ""), "session.created");
    Json settings = {{"max_output_tokens", 8}, {"turn_detection", nullptr}};
    if (!session.is_null()) settings.update(session);
    client.tell(Json{{"type", "session.update"}, {"session", settings}});
    EXPECT_EQ(client.wait_for("session.updated").value("type", ""), "session.updated");
    return client;
  }
};

TEST_F(RealtimeTest, AConversationInTurnsThatTheClientEnds) {
  SocketClient client(start(), kPath);
  ASSERT_EQ(client.reply().status, 101) << client.reply().body;
  const Json session = client.wait_for("session.created").at("session");
  EXPECT_EQ(session.at("type"), "realtime");
  EXPECT_EQ(session.at("model"), "o26-hf");
  EXPECT_EQ(session.at("output_modalities"), Json::array({"audio"}));
  EXPECT_EQ(session.at("audio").at("input").at("format"), (Json{{"type", "audio/pcm"}, {"rate", 24000}}));
  EXPECT_EQ(session.at("audio").at("input").at("turn_detection").at("type"), "server_vad");

  client.tell(Json{{"type", "session.update"},
                   {"session",
                    {{"type", "realtime"},
                     {"max_output_tokens", 8},
                     {"temperature", 0},
                     {"instructions", "Be brief."},
                     {"audio", {{"input", {{"turn_detection", nullptr}}}}}}}});
  const Json updated = client.wait_for("session.updated").at("session");
  EXPECT_EQ(updated.at("instructions"), "Be brief.");
  EXPECT_EQ(updated.at("audio").at("input").at("turn_detection"), nullptr);
  for (int i = 0; i < 10; ++i)
    client.tell(append(0.2, true));
  client.tell(Json{{"type", "input_audio_buffer.commit"}});
  const Json committed = client.wait_for("input_audio_buffer.committed");
  EXPECT_EQ(committed.at("previous_item_id"), nullptr);
  const Json item = client.wait_for("conversation.item.done").at("item");
  EXPECT_EQ(item.at("id"), committed.at("item_id"));
  EXPECT_EQ(item.at("role"), "user");

  client.tell(Json{{"type", "response.create"}});
  const Answer answer = answer_of(client);
  EXPECT_THAT(answer.types,
              ::testing::IsSupersetOf({"response.created", "response.output_item.added", "conversation.item.added",
                                       "response.content_part.added", "response.output_audio_transcript.delta",
                                       "response.output_audio.done", "response.output_audio_transcript.done",
                                       "response.content_part.done", "response.output_item.done", "response.done"}));
  EXPECT_EQ(answer.types.front(), "response.created");
  EXPECT_EQ(answer.types.back(), "response.done");
  EXPECT_EQ(answer.text, answer.transcript);
  EXPECT_GT(answer.sound_bytes, 0u);
  EXPECT_EQ(answer.sound_bytes % 2, 0u);
  EXPECT_THAT(answer.done.at("status"), ::testing::AnyOf("completed", "incomplete"));
  EXPECT_GT(answer.done.at("usage").at("input_tokens"), 50);  // two seconds are 50 positions
  EXPECT_EQ(answer.done.at("usage").at("total_tokens"), answer.done.at("usage").at("input_tokens").get<int>() +
                                                            answer.done.at("usage").at("output_tokens").get<int>());
  EXPECT_EQ(answer.done.at("output")[0].at("content")[0].at("type"), "output_audio");
  EXPECT_EQ(answer.done.at("output")[0].at("content")[0].at("transcript"), answer.text);
  client.send({.opcode = kClose, .data = "\x03\xE8"});
  EXPECT_EQ(client.close_code(), 1000);
}

TEST_F(RealtimeTest, FindsTurnsByItself) {
  SocketClient client = open(start(), {{"turn_detection", {{"type", "server_vad"}}}});
  for (const auto& [seconds, loud] : {std::pair(1.0, false), {1.5, true}, {2.0, false}}) {
    for (double at = 0; at < seconds; at += 0.25)
      client.tell(append(0.25, loud));
  }
  const Json started = client.wait_for("input_audio_buffer.speech_started");
  EXPECT_NEAR(started.at("audio_start_ms").get<int>(), 1000, 250);
  const Json stopped = client.wait_for("input_audio_buffer.speech_stopped");
  EXPECT_EQ(stopped.at("item_id"), started.at("item_id"));
  EXPECT_NEAR(stopped.at("audio_end_ms").get<int>(), 3300, 300);
  EXPECT_EQ(client.wait_for("input_audio_buffer.committed").at("item_id"), started.at("item_id"));
  EXPECT_NE(answer_of(client).done.at("status"), "failed");
}

TEST_F(RealtimeTest, AnswersOfTurnsCanWaitForTheClient) {
  SocketClient client = open(start(), {{"turn_detection", {{"type", "server_vad"}, {"create_response", false}}}});
  for (const auto& [seconds, loud] : {std::pair(0.5, false), {1.5, true}, {2.0, false}})
    client.tell(append(seconds, loud));
  client.wait_for("input_audio_buffer.committed");
  client.tell(Json{{"type", "response.create"}, {"response", {{"output_modalities", Json::array({"text"})}}}});
  const Answer answer = answer_of(client);
  EXPECT_EQ(answer.sound_bytes, 0u);
  EXPECT_EQ(answer.done.at("output_modalities"), Json::array({"text"}));
  EXPECT_GT(answer.done.at("usage").at("input_tokens"), 50);
}

TEST_F(RealtimeTest, SpeaksTheEventsOfTheTimeBefore) {
  SocketClient client(start(), kPath, kBeta);
  const Json session = client.wait_for("session.created").at("session");
  EXPECT_EQ(session.at("input_audio_format"), "pcm16");
  EXPECT_EQ(session.at("modalities"), Json::array({"text", "audio"}));
  client.tell(Json{{"type", "session.update"},
                   {"session",
                    {{"modalities", Json::array({"text"})},
                     {"input_audio_format", "pcm16"},
                     {"input_audio_rate", 16000},
                     {"turn_detection", nullptr},
                     {"voice", "alloy"},
                     {"input_audio_transcription", {{"model", "whisper-1"}}},
                     {"tools", Json::array()},
                     {"tool_choice", "auto"},
                     {"max_response_output_tokens", 6}}}});
  EXPECT_EQ(client.wait_for("session.updated").at("session").at("max_response_output_tokens"), 6);
  client.tell(append(1, true, 16000));
  client.tell(Json{{"type", "input_audio_buffer.commit"}});
  EXPECT_EQ(client.wait_for("conversation.item.created").at("item").at("role"), "user");
  client.tell(Json{{"type", "response.create"}, {"response", {{"instructions", "Say hello."}}}});
  const Answer answer = answer_of(client);
  EXPECT_THAT(answer.types, ::testing::IsSupersetOf({"response.text.delta", "response.text.done"}));
  EXPECT_EQ(answer.text, answer.transcript);
  EXPECT_EQ(answer.done.at("output")[0].at("content")[0].at("type"), "text");
}

TEST_F(RealtimeTest, ItemsHoldTextPicturesAndSound) {
  SocketClient client = open(start(), {{"output_modalities", Json::array({"text"})}});
  const auto tokens = [&](std::vector<Json> content) {
    client.tell(Json{{"type", "conversation.item.create"},
                     {"item", {{"type", "message"}, {"id", "mine"}, {"role", "user"}, {"content", content}}}});
    const Json item = client.wait_for("conversation.item.done");
    EXPECT_EQ(item.value("item", Json::object()).value("id", ""), "mine");
    client.tell(Json{{"type", "response.create"}});
    const Answer answer = answer_of(client);
    EXPECT_TRUE(answer.error.is_null()) << answer.error;
    return answer.done.at("usage").at("total_tokens").get<int>();
  };
  const int text = tokens({Json{{"type", "input_text"}, {"text", "What is this?"}}});
  const int second = tokens({Json{{"type", "input_audio"}, {"audio", sound(2, true)}}});
  EXPECT_GT(second, text + 50);
  const Json url = {{"type", "input_image"}, {"image_url", data_url(asset("word.png"), "image/png")}};
  EXPECT_GT(tokens({url, Json{{"type", "input_text"}, {"text", "Read it."}}}), second + 16);
}

TEST_F(RealtimeTest, SeesFramesWithSoundAndWithout) {
  SocketClient client = open(start(), {{"mode", "omni"}, {"output_modalities", Json::array({"text"})}});
  const Json frame = {{"type", "input_video_frame.append"}, {"image", data_url(asset("word.png"), "image/png")}};
  const auto used = [&] {
    client.tell(Json{{"type", "response.create"}});
    return answer_of(client).done.at("usage").at("total_tokens").get<int>();
  };
  const int empty = used();
  client.tell(frame);
  const int seen = used();
  EXPECT_GT(seen, empty + 16);
  client.tell(frame);
  client.tell(append(1, true));
  EXPECT_GT(used(), seen + 16 + 25);
}

TEST_F(RealtimeTest, BadEventsDoNotEndTheSession) {
  SocketClient client = open(start(), {{"output_modalities", Json::array({"text"})}});
  const auto error = [&](const std::string& text) {
    client.send(ClientFrame{.data = text});
    return client.wait_for("error").value("error", Json::object());
  };
  const auto code = [&](Json event) {
    event["event_id"] = "mine";
    const Json found = error(event.dump());
    EXPECT_EQ(found.at("event_id"), "mine");
    EXPECT_EQ(found.at("type"), "invalid_request_error");
    return found.at("code").is_string() ? found.at("code").get<std::string>() : found.at("param").get<std::string>();
  };
  EXPECT_THAT(error("no JSON").at("message").get<std::string>(), HasSubstr("JSON"));
  EXPECT_EQ(error("[]").at("event_id"), nullptr);
  EXPECT_EQ(error("{}").at("param"), "type");
  EXPECT_EQ(error(R"({"type": "x", "type": "y"})").at("param"), "type");
  EXPECT_EQ(code({{"type", "session.explode"}}), "unknown_event");
  EXPECT_EQ(code({{"type", "conversation.item.delete"}, {"item_id", "x"}}), "unsupported_event");
  EXPECT_EQ(code({{"type", "input_audio_buffer.append"}}), "audio");
  EXPECT_EQ(code({{"type", "input_audio_buffer.append"}, {"audio", "???"}}), "audio");
  EXPECT_EQ(code({{"type", "input_audio_buffer.append"}, {"audio", "QUJD"}}), "audio");  // three bytes
  EXPECT_EQ(code({{"type", "input_audio_buffer.append"}, {"audio", 7}}), "audio");
  EXPECT_EQ(code({{"type", "input_audio_buffer.commit"}}), "input_audio_buffer_commit_empty");
  EXPECT_EQ(code({{"type", "input_video_frame.append"}, {"image", "https://example.org/x.jpg"}}), "image");
  EXPECT_EQ(code({{"type", "input_video_frame.append"}, {"image", data_url("no picture", "image/jpeg")}}),
            "invalid_media");
  EXPECT_EQ(code({{"type", "response.cancel"}}), "response_cancel_not_active");
  EXPECT_EQ(code({{"type", "conversation.item.truncate"}, {"item_id", "x"}, {"audio_end_ms", 0}}), "item_not_found");
  EXPECT_EQ(code({{"type", "session.update"}}), "session");
  EXPECT_EQ(code({{"type", "session.update"}, {"session", {{"tempo", 1}}}}), "unknown_field");
  EXPECT_EQ(code({{"type", "session.update"}, {"session", {{"tools", {{{"name", "x"}}}}}}}), "unsupported_field");
  EXPECT_EQ(code({{"type", "session.update"}, {"session", {{"input_audio_format", "g711_ulaw"}}}}),
            "session.input_audio_format");
  EXPECT_EQ(code({{"type", "session.update"}, {"session", {{"turn_detection", {{"threshold", 2}}}}}}),
            "session.turn_detection.threshold");
  EXPECT_EQ(code({{"type", "session.update"}, {"session", {{"voice_clip", "AAAA"}}}}), "invalid_media");
  EXPECT_EQ(code({{"type", "session.update"}, {"session", {{"instructions", std::string(60'000, '?')}}}}),
            "session.instructions");
  EXPECT_EQ(code({{"type", "conversation.item.create"},
                  {"item", {{"type", "message"}, {"role", "assistant"}, {"content", Json::array()}}}}),
            "item.role");
  client.send(ClientFrame{.opcode = kBinary, .data = "bytes"});
  EXPECT_EQ(client.wait_for("error").at("error").at("code"), "invalid_message");
  client.tell(append(1, true));
  client.tell(Json{{"type", "response.create"}});
  EXPECT_NE(answer_of(client).done.at("status"), "failed");
}

TEST_F(RealtimeTest, AnswersCanBeCancelledAndTruncated) {
  SocketClient client = open(start(), {{"max_output_tokens", 400}});
  client.tell(append(1, true));
  client.tell(Json{{"type", "response.create"}});
  const Json created = client.wait_for("response.created").at("response");
  client.tell(Json{{"type", "response.create"}});
  EXPECT_EQ(client.wait_for("error").at("error").at("code"), "conversation_already_has_active_response");
  client.wait_for("response.output_audio.delta");
  client.tell(Json{{"type", "response.cancel"}, {"response_id", created.at("id")}});
  const Json done = client.wait_for("response.done").at("response");
  EXPECT_EQ(done.at("id"), created.at("id"));
  EXPECT_EQ(done.at("status"), "cancelled");
  EXPECT_EQ(done.at("status_details").at("reason"), "client_cancelled");
  client.tell(Json{{"type", "conversation.item.truncate"},
                   {"item_id", done.at("output")[0].at("id")},
                   {"content_index", 0},
                   {"audio_end_ms", 40}});
  EXPECT_EQ(client.wait_for("conversation.item.truncated").at("audio_end_ms"), 40);
  // The session goes on.
  client.tell(Json{{"type", "session.update"}, {"session", {{"max_output_tokens", 4}}}});
  client.tell(append(1, true));
  client.tell(Json{{"type", "response.create"}});
  EXPECT_THAT(answer_of(client).done.at("status"), ::testing::AnyOf("completed", "incomplete"));
}

TEST_F(RealtimeTest, SpeechInterruptsAnAnswer) {
  SocketClient client = open(start(), {{"turn_detection", {{"type", "server_vad"}}}, {"max_output_tokens", 2000}});
  client.tell(append(0.5, false));
  client.tell(append(1.5, true));
  client.tell(append(1, false));
  client.wait_for("response.output_audio_transcript.delta");
  client.tell(append(1.5, true));
  EXPECT_EQ(client.wait_for("response.done").at("response").at("status_details").at("reason"), "turn_detected");
  client.wait_for("input_audio_buffer.speech_started");
}

TEST_F(RealtimeTest, ClearedSoundIsForgotten) {
  SocketClient client = open(start(), {{"output_modalities", Json::array({"text"})}});
  const auto input = [&] {
    client.tell(Json{{"type", "response.create"}});
    return answer_of(client).done.at("usage").at("input_tokens").get<int>();
  };
  client.tell(append(1, true));
  const int before = input();
  client.tell(append(4, true));
  client.tell(Json{{"type", "input_audio_buffer.clear"}});
  client.wait_for("input_audio_buffer.cleared");
  client.tell(append(1, true));
  EXPECT_LT(input(), before + 100);  // four seconds are 108
}

TEST_F(RealtimeTest, PlacesAreLimitedAndFreedAtOnce) {
  options.live.sessions = 1;
  const int port = start();
  auto first = std::make_unique<SocketClient>(open(port));
  const SocketClient second(port, kPath);
  EXPECT_EQ(second.reply().status, 503);
  EXPECT_EQ(second.reply().json()["error"]["code"], "too_many_sessions");
  EXPECT_EQ(second.reply().headers.at("retry-after"), "1");
  first->tell(append(1, true));
  first->tell(Json{{"type", "response.create"}});
  first->wait_for("response.created");
  first->connection().reset();
  const auto gone = Clock::now();
  int status = 503;
  while (status == 503 && Clock::now() - gone < std::chrono::seconds(10))
    status = SocketClient(port, kPath).reply().status;
  EXPECT_EQ(status, 101);
}

TEST_F(RealtimeTest, SessionsAndChatsHaveRoomBesideEachOther) {
  const int port = start();
  std::vector<SocketClient> clients;
  for (int i = 0; i < options.live.sessions; ++i) {
    clients.push_back(open(port, {{"output_modalities", Json::array({"text"})}}));
    clients.back().tell(append(25, true));
  }
  for (SocketClient& client : clients)
    client.tell(Json{{"type", "response.create"}});
  for (SocketClient& client : clients) {
    const Answer answer = answer_of(client);
    EXPECT_NE(answer.done.at("status"), "failed");
    EXPECT_GT(answer.done.at("usage").at("input_tokens"), 25 * 27);
  }
  Json chat = openai_question("Hello");
  chat["model"] = "o26-hf";
  EXPECT_EQ(post(port, "/v1/chat/completions", chat).status, 200);
}

TEST_F(RealtimeTest, TheEndOfTheServerEndsSessions) {
  SocketClient client = open(start(), {{"max_output_tokens", 2000}});
  client.tell(append(1, true));
  client.tell(Json{{"type", "response.create"}});
  client.wait_for("response.created");
  auto stopped = std::async(std::launch::async, [&] { return server->stop(); });
  EXPECT_EQ(client.close_code(), 1001);
  EXPECT_TRUE(stopped.get());
}

TEST_F(RealtimeTest, AnIdleSessionIsClosed) {
  options.live.idle_seconds = 0.2;
  SocketClient client(start(), kPath);
  EXPECT_EQ(client.close_code(), 1000);
}

TEST_F(RealtimeTest, KeysComeAsAProtocolToo) {
  options.access.api_keys = {"a-secret-key"};
  const int port = start();
  EXPECT_EQ(SocketClient(port, kPath).reply().status, 401);
  const auto with = [&](const std::string& protocols) {
    return SocketClient(port, kPath, {{"Sec-WebSocket-Protocol", protocols}}).reply();
  };
  EXPECT_EQ(with("realtime, openai-insecure-api-key.another-key").status, 401);
  const Reply reply = with("realtime, openai-insecure-api-key.a-secret-key");
  EXPECT_EQ(reply.status, 101);
  EXPECT_EQ(reply.headers.at("sec-websocket-protocol"), "realtime");
  EXPECT_EQ(SocketClient(port, kPath, {{"Authorization", "Bearer a-secret-key"}}).reply().status, 101);
  server->stop();
  EXPECT_THAT(log(), HasSubstr("GET /v1/realtime"));
  EXPECT_THAT(log(), ::testing::Not(HasSubstr("a-secret-key")));
}

TEST_F(RealtimeTest, PagesOfOtherSitesAndStrangersAreRefused) {
  const int port = start();
  EXPECT_EQ(SocketClient(port, kPath, {{"Origin", "https://example.org"}}).reply().status, 403);
  EXPECT_EQ(SocketClient(port, kPath, {{"Host", "example.org"}}).reply().status, 421);
  EXPECT_EQ(SocketClient(port, kPath, {{"Origin", "http://localhost"}}).reply().status, 101);
  EXPECT_EQ(SocketClient(port, "/v1/realtime?model=other").reply().status, 404);
  const Reply plain = get(port, kPath);
  EXPECT_EQ(plain.status, 426);
  EXPECT_EQ(plain.headers.at("upgrade"), "websocket");
}

using DeafModelTest = ApiTest;

TEST_F(DeafModelTest, SaysThatItCannotHear) {
  SocketClient client(start(), "/v1/realtime");
  EXPECT_EQ(client.reply().status, 400);
  EXPECT_EQ(client.reply().json()["error"]["code"], "model_cannot_hear");
  EXPECT_THAT(client.reply().json()["error"]["message"].get<std::string>(), HasSubstr("pico cannot hear"));
}

}  // namespace
}  // namespace minicpm::server

// The program under everything at once: clients with their own right answers, clients that leave, slow ones, malformed
// HTTP and JSON, live sessions that break the rules, hostile files, URLs and paths. MINICPM_SOAK_SECONDS (15) says how
// long; `make soak` half an hour.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>
#include <random>
#include <thread>

#include "server/api_support.h"
#include "server/program.h"
#include "server/socket_client.h"
#include "support/fake_hub.h"

namespace minicpm::server {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kCanary[] = "canary7f3a";
constexpr char kKey[] = "canary7f3a-key";

double soak_seconds() {
  const char* text = std::getenv("MINICPM_SOAK_SECONDS");
  return text != nullptr ? std::atof(text) : 15;
}

/// Waits until `done` or for so many seconds; whether it was done.
bool wait_until(const std::function<bool()>& done, double seconds) {
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  while (!done()) {
    if (Clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

class SoakTest : public ::testing::Test {
 protected:
  SoakTest()
      : trap_([](const minicpm::testing::FakeRequest&) {
          return minicpm::testing::FakeReply{minicpm::testing::http_reply(200, asset("word.png"))};
        }) {
    fs::create_directories(folder_ / "media");
    std::ofstream(folder_ / "media/word.png", std::ios::binary) << asset("word.png");
    std::ofstream(folder_ / "keys") << kKey << "\n";
    fs::permissions(folder_ / "keys", fs::perms::owner_read | fs::perms::owner_write);
    program_.emplace(std::vector<std::string>{"pico", MINICPM_E2E_MODELS "/o26-hf", "--vad", "energy", "-t", "1",
                                              "--log", "json", "--api-key-file", folder_ / "keys", "--media-path",
                                              folder_ / "media", "--allow-url", "--url-port",
                                              std::to_string(trap_.port()), "--sandbox", "on"});
  }
  ~SoakTest() override {
    program_.reset();
    fs::remove_all(folder_);
  }

  int port() const { return program_->port(); }
  static HeaderList headers() { return {{"Authorization", std::string("Bearer ") + kKey}}; }
  Reply send(const std::string& path, const std::string& body) const {
    return ask(port(), "POST", path, body, headers());
  }
  Reply chat(const Json& body) const { return send("/v1/chat/completions", body.dump()); }

  /// Says once for each kind of failure what went wrong first.
  void expect(bool good, const std::string& kind, const std::string& what) {
    ++checks_;
    if (good) return;
    const std::scoped_lock lock(mutex_);
    if (failures_[kind]++ == 0) ADD_FAILURE() << kind << ": " << what.substr(0, 2000);
  }

  void right_answer(std::mt19937& random);
  void leave(std::mt19937& random);
  void bad_http(std::mt19937& random);
  void bad_numbers(std::mt19937& random);
  void bad_media(std::mt19937& random);
  void inside_urls(std::mt19937& random);
  void outside_paths(std::mt19937& random);
  void bad_sockets(std::mt19937& random);
  void expect_alive(SocketClient& client, const std::string& kind);
  void fragments(SocketClient& client, std::mt19937& random);
  void broken_rules(SocketClient& client, std::mt19937& random);
  void pings(SocketClient& client, std::mt19937& random);
  void bad_events(SocketClient& client, std::mt19937& random);
  void hang_up(SocketClient& client, std::mt19937& random);
  void slow_clients();
  std::string wait_idle() const;
  void round(std::mt19937& random, size_t kind);

  const fs::path folder_ = fs::temp_directory_path() / ("minicpm-soak-" + std::to_string(getpid()));
  minicpm::testing::FakeServer trap_;
  std::optional<ServedProgram> program_;
  const std::vector<KnownPicture> pictures_ = known_pictures();
  std::atomic<bool> end_{false};
  std::atomic<int64_t> checks_{0}, answers_{0}, sessions_{0};
  std::mutex mutex_;
  std::map<std::string, int> failures_;
};

/// Each client knows what its picture shows: an answer that belongs to another is noticed.
void SoakTest::right_answer(std::mt19937& random) {
  const KnownPicture& picture = pictures_[random() % pictures_.size()];
  Json body = openai_question({image_part(picture.bytes), text_part("What do you see?")});
  body["stream"] = random() % 2 == 0;
  if (random() % 4 == 0) body["user"] = kCanary;
  const Reply reply = chat(body);
  if (reply.status != 200 || !reply.complete) return expect(false, "answers", reply.body);
  ++answers_;
  const std::string text = body["stream"].get<bool>() ? openai_streamed_text(reply) : openai_text(reply);
  expect(text == picture.answer, "own answers", "expected " + picture.answer + ", got " + text);
}

void SoakTest::leave(std::mt19937& random) {
  Json body = openai_question(std::string(kCanary) + " " + std::string(random() % 500, 'x'));
  body["stream"] = true;
  body["min_tokens"] = body["max_tokens"] = 100'000;
  Client client(port());
  const std::string request = request_text("POST", "/v1/chat/completions", body.dump(), headers());
  const bool whole = random() % 3 != 0;
  client.send(std::string_view(request).substr(0, whole ? request.size() : random() % request.size()));
  if (whole && random() % 2 == 0) client.wait_for("data: ");
  client.reset();
}

void SoakTest::bad_http(std::mt19937& random) {
  const std::string key = std::string("Authorization: Bearer ") + kKey + "\r\n";
  const std::string host = "Host: localhost\r\n" + key;
  const std::string cases[] = {
      "GET / HTTP/9.9\r\n" + host + "\r\n",
      "nonsense\r\n\r\n",
      "GET\r\n\r\n",
      "POST /v1/chat/completions HTTP/1.1\r\n" + host +
          "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "POST /v1/chat/completions HTTP/1.1\r\n" + host + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
      "POST /v1/chat/completions HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n",
      "POST /v1/chat/completions HTTP/1.1\r\n" + host + "Content-Length: 99999999999999999999\r\n\r\n",
      "POST /v1/chat/completions HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
      "POST /v1/chat/completions HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc",
      "GET /%zz HTTP/1.1\r\n" + host + "\r\n",
      "GET / HTTP/1.1\r\nBad Header: x\r\n" + host + "\r\n",
      "GET / HTTP/1.1\r\n" + host + "X: " + std::string(20'000, 'a') + "\r\n\r\n",
      "GET /missing HTTP/1.1\r\n" + host + "\r\n",
      "DELETE /health HTTP/1.1\r\n" + host + "\r\n",
      std::string("\0\x01\x02\xff\r\n\r\n", 8),
  };
  const std::string& text = cases[random() % std::size(cases)];
  Client client(port());
  client.send(text);
  const Reply reply = client.receive();
  expect(reply.status >= 400 && reply.status != 500, "malformed HTTP",
         text.substr(0, 200) + " -> " + std::to_string(reply.status));
}

void SoakTest::bad_numbers(std::mt19937& random) {
  constexpr const char* kFields[] = {
      "max_tokens",       "temperature",       "top_p", "top_k",    "min_p",        "repetition_penalty",
      "presence_penalty", "frequency_penalty", "seed",  "n",        "top_logprobs", "num_beams",
      "min_tokens",       "max_slices",        "stop",  "messages", "logit_bias",   "response_format"};
  constexpr const char* kValues[] = {"-1",
                                     "0",
                                     "1",
                                     "2147483648",
                                     "9223372036854775808",
                                     "-9223372036854775809",
                                     "1e308",
                                     "1e400",
                                     "0.5",
                                     "NaN",
                                     "\"1\"",
                                     "null",
                                     "true",
                                     "[]",
                                     "{}",
                                     "[[[[]]]]",
                                     "\"\\ud800\"",
                                     "01",
                                     "-",
                                     "{\"a\":1,\"a\":2}"};
  const char* field = kFields[random() % std::size(kFields)];
  const char* value = kValues[random() % std::size(kValues)];
  Json rest = openai_question(kCanary);
  rest["max_tokens"] = 2;
  rest.erase(field);
  const std::string body = rest.dump();
  const Reply reply = send("/v1/chat/completions", "{\"" + std::string(field) + "\":" + value + "," + body.substr(1));
  const bool shaped = reply.status == 200 || (reply.status == 400 && reply.json().contains("error"));
  expect(shaped, "malformed JSON",
         std::string(field) + ": " + value + " -> " + std::to_string(reply.status) + reply.body);
}

void SoakTest::bad_media(std::mt19937& random) {
  std::string bytes = asset(random() % 2 == 0 ? "word.png" : "motion.mp4");
  bytes.resize(bytes.size() - random() % bytes.size());
  for (unsigned i = random() % 20; i > 0 && !bytes.empty(); --i)
    bytes[random() % bytes.size()] = static_cast<char>(random());
  const Json part = random() % 2 == 0
                        ? image_part(bytes)
                        : Json{{"type", "video_url"}, {"video_url", {{"url", data_url(bytes, "video/mp4")}}}};
  Json body = openai_question(Json::array({part, text_part("What do you see?")}));
  body["max_tokens"] = 2;
  const Reply reply = chat(body);
  expect(reply.status == 200 || reply.status == 400, "hostile media", std::to_string(reply.status) + reply.body);
}

void SoakTest::inside_urls(std::mt19937& random) {
  const std::string end = ":" + std::to_string(trap_.port()) + "/x.png";
  const std::string urls[] = {"http://127.0.0.1" + end,
                              "http://127.1" + end,
                              "http://0x7f000001" + end,
                              "http://2130706433" + end,
                              "http://localhost" + end,
                              "http://[::1]" + end,
                              "http://[::ffff:127.0.0.1]" + end,
                              "http://0.0.0.0" + end,
                              "http://169.254.169.254/latest",
                              "http://user@127.0.0.1" + end,
                              "http://example.org\\@127.0.0.1" + end,
                              "gopher://127.0.0.1" + end,
                              "file:///etc/passwd",
                              "http://127.0.0.1:22/"};
  const std::string& url = urls[random() % std::size(urls)];
  const Json part = {{"type", "image_url"}, {"image_url", {{"url", url}}}};
  const Reply reply = chat(openai_question(Json::array({part, text_part("Read the text.")})));
  expect(reply.status == 400, "inside URLs", url + " -> " + std::to_string(reply.status) + reply.body);
}

void SoakTest::outside_paths(std::mt19937& random) {
  const auto question = [](const std::string& url) {
    const Json part = {{"type", "image_url"}, {"image_url", {{"url", url}}}};
    return openai_question(Json::array({part, text_part("Read the text.")}));
  };
  const std::string paths[] = {
      "file://../keys",     "../keys",          "file:///etc/passwd", "file:///proc/self/environ",
      "file://%2e%2e/keys", "file:///dev/zero", "/dev/zero",          "./../keys"};
  const Reply reply = chat(question(paths[random() % std::size(paths)]));
  expect(reply.status == 400 && reply.body.find(kCanary) == std::string::npos, "outside paths", reply.body);
  const Reply good = chat(question("file://word.png"));
  expect(good.status == 200 && good.body.find("HAPPINESS") != std::string::npos, "files of the folder", good.body);
}

/// A live session whose client does not behave. Others may have taken all places.
void SoakTest::bad_sockets(std::mt19937& random) {
  // pico holds no live sessions: handshakes are refused, and what follows them does not matter.
  const bool refused = random() % 6 == 0;
  SocketClient client(port(), refused ? "/v1/realtime?model=pico" : "/v1/realtime?model=o26-hf", headers(),
                      refused ? "\xff\xff\xff\xff" : "");
  const int status = client.reply().status;
  if (refused) return expect(status >= 400 && status < 500, "refused WebSockets", std::to_string(status));
  expect(status == 101 || status == 503, "WebSockets", std::to_string(status) + client.reply().body);
  if (status != 101) return;
  ++sessions_;
  constexpr void (SoakTest::*kKinds[])(SocketClient&, std::mt19937&) = {
      &SoakTest::fragments, &SoakTest::broken_rules, &SoakTest::pings, &SoakTest::bad_events, &SoakTest::hang_up};
  (this->*kKinds[random() % std::size(kKinds)])(client, random);
}

void SoakTest::expect_alive(SocketClient& client, const std::string& kind) {
  client.tell(Json{{"type", "session.update"}, {"session", Json::object()}});
  expect(!client.wait_for("session.updated").empty(), kind, "the session does not answer any more");
}

/// An event in pieces of any size, some empty, with pings between them.
void SoakTest::fragments(SocketClient& client, std::mt19937& random) {
  const std::string event =
      Json{{"type", "session.update"}, {"session", {{"instructions", std::string(random() % 500, 'x')}}}}.dump();
  const size_t most = 8 + random() % 100;
  bool first = true;
  for (size_t at = 0; at < event.size();) {
    const size_t size = std::max<size_t>(random() % most, first ? 0 : 4);
    client.send({.opcode = first ? kText : kMore, .data = event.substr(at, size), .final = at + size >= event.size()});
    if (random() % 4 == 0) client.send({.opcode = kPing, .data = "between"});
    at += size;
    first = false;
  }
  expect(!client.wait_for("session.updated").empty(), "fragments", "the event was not understood");
  expect_alive(client, "fragments");
}

void SoakTest::broken_rules(SocketClient& client, std::mt19937& random) {
  std::string noise;  // enough to make a header whole, for which the server would wait
  for (size_t i = 4 + random() % 200; i > 0; --i)
    noise += static_cast<char>(random());
  const std::pair<std::string, int> cases[] = {
      {"\xff\x80" + noise, 1002},                                 // extensions that nobody agreed on
      {std::string("\x81\x04like", 6), 1002},                     // not masked
      {std::string("\x81\xff\x7f\0\0\0\0\0\0\0mask", 14), 1009},  // 2^62 bytes
      {std::string("\x82\xff\0\0\0\0\x01\0\0\x01mask", 14), 1009},
      {frame_bytes({.opcode = kPing, .data = std::string(126, 'x')}), 1002},
      {frame_bytes({.opcode = kMore, .data = "x"}), 1002},
      {frame_bytes({.data = "\xff" + noise}), 1007},
      {frame_bytes({.opcode = kClose, .data = "\x03"}), 1002},
      {frame_bytes({.opcode = kClose, .data = "\x03\xe8"}), 1000},
  };
  const auto& [bytes, code] = cases[random() % std::size(cases)];
  client.send_bytes(bytes);
  const int found = client.close_code();
  expect(found == code, "broken rules of WebSockets", std::to_string(found) + " instead of " + std::to_string(code));
}

void SoakTest::pings(SocketClient& client, std::mt19937& random) {
  const std::string ping = frame_bytes({.opcode = kPing, .data = std::string(125, 'p')});
  std::string flood;
  for (size_t i = 1 + random() % 400; i > 0; --i)
    flood += ping;
  client.send_bytes(flood);
  expect_alive(client, "pings");
}

void SoakTest::bad_events(SocketClient& client, std::mt19937& random) {
  constexpr const char* kEvents[] = {
      "",
      "null",
      "[[[[",
      "{\"type\":1}",
      "{\"type\":\"nonsense\"}",
      "{\"type\":\"input_audio_buffer.append\",\"audio\":\"%%%%\"}",
      "{\"type\":\"input_audio_buffer.append\",\"audio\":1e400}",
      "{\"type\":\"session.update\",\"session\":{\"max_output_tokens\":-1}}",
      "{\"type\":\"session.update\",\"session\":{\"instructions\":\"\\ud800\"}}",
      "{\"type\":\"conversation.item.delete\",\"item_id\":\"none\"}",
      "{\"type\":\"response.cancel\",\"response_id\":\"none\"}",
  };
  const std::string event = kEvents[random() % std::size(kEvents)];
  client.send({.data = event});
  if (random() % 2 == 0) client.send({.opcode = kBinary, .data = event});
  expect(!client.wait_for("error").empty(), "bad events", event);
  expect_alive(client, "bad events");
}

/// Leaves without a word: in the middle of a frame, of sound, or of an answer.
void SoakTest::hang_up(SocketClient& client, std::mt19937& random) {
  const std::string sound = encode_base64(std::string(9600 * (1 + random() % 10), '\x11'));
  client.tell(Json{{"type", "input_audio_buffer.append"}, {"audio", sound}});
  const std::string event =
      frame_bytes({.data = Json{{"type", random() % 2 == 0 ? "input_audio_buffer.commit" : "response.create"}}.dump()});
  client.send_bytes(std::string_view(event).substr(0, random() % 2 == 0 ? event.size() : random() % event.size()));
  if (random() % 2 == 0) client.receive();
  client.connection().reset();
}

/// Heads that never end; the server's limit is ten seconds.
void SoakTest::slow_clients() {
  while (!end_) {
    std::vector<Client> clients;
    for (int i = 0; i < 20; ++i) {
      clients.emplace_back(port());
      clients.back().send("GET /health HTTP/1.1\r\nHost: local");
    }
    const auto begin = Clock::now();
    for (Client& client : clients)
      expect(client.closes(), "slow clients", "still open");
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    expect(seconds < 15, "slow clients", "closed after " + std::to_string(seconds) + " s");
  }
}

/// Waits until the server has nothing to do and no client but the one that asks; what it says otherwise.
std::string SoakTest::wait_idle() const {
  constexpr const char* kLines[] = {"minicpm_requests_running 0\n", "minicpm_requests_waiting 0\n",
                                    "minicpm_connections 1\n"};
  Client client(port());
  Reply reply;
  const bool idle = wait_until(
      [&] {
        client.send(request_text("GET", "/metrics", {}, headers()));
        reply = client.receive();
        return std::ranges::all_of(kLines,
                                   [&](const char* line) { return reply.body.find(line) != std::string::npos; });
      },
      20);
  return idle ? "" : reply.body;
}

void SoakTest::round(std::mt19937& random, size_t kind) {
  constexpr void (SoakTest::*kKinds[])(std::mt19937&) = {
      &SoakTest::right_answer, &SoakTest::right_answer,  &SoakTest::leave,
      &SoakTest::bad_http,     &SoakTest::bad_numbers,   &SoakTest::bad_media,
      &SoakTest::inside_urls,  &SoakTest::outside_paths, &SoakTest::bad_sockets};
  (this->*kKinds[kind % std::size(kKinds)])(random);
}

TEST_F(SoakTest, EverythingAtOnce) {
  const double seconds = soak_seconds();
  const unsigned seed = std::random_device{}();
  std::printf("seed %u, %.0f seconds\n", seed, seconds);
  const auto work = [&](double time) {
    const auto until = Clock::now() + std::chrono::duration<double>(time);
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < 9; ++i) {
      threads.emplace_back([&, i] {
        std::mt19937 random(seed + i);
        for (size_t kind = i; Clock::now() < until; ++kind)
          round(random, i < 3 ? i : kind);  // some do one thing all the time
      });
    }
  };
  work(seconds / 3);
  ASSERT_EQ(wait_idle(), "");
  const int64_t memory = program_->resident_bytes();
  const int descriptors = program_->descriptors();
  {
    const std::jthread slow([&] { slow_clients(); });
    work(seconds * 2 / 3);
    end_ = true;
  }
  ASSERT_EQ(wait_idle(), "");
  EXPECT_TRUE(wait_until([&] { return program_->descriptors() <= descriptors; }, 10))
      << program_->descriptors() << " descriptors, were " << descriptors;
  const int64_t growth = program_->resident_bytes() - memory;
  std::printf("%ld checks, %ld right answers, %ld live sessions, %d descriptors, memory %ld MiB, growth %ld KiB\n",
              long(checks_), long(answers_), long(sessions_), descriptors, long(memory >> 20), long(growth >> 10));
  // Caches are still filled in a short run: after 40 seconds nothing much comes any more.
  const int64_t filling = int64_t{seconds < 60 ? 48 : 16} << 20;
  EXPECT_LT(growth, memory / 100 + filling);
  EXPECT_GT(answers_, 0);
  EXPECT_GT(sessions_, 0);
  EXPECT_TRUE(trap_.requests().empty()) << "an inside address was reached";
  EXPECT_EQ(openai_text(chat(openai_question({image_part(pictures_[0].bytes), text_part("What do you see?")}))),
            pictures_[0].answer);
  program_->signal(SIGTERM);
  EXPECT_EQ(program_->wait_exit(7), 0);
  EXPECT_THAT(program_->log(), Not(HasSubstr(kCanary)));
  EXPECT_THAT(program_->log(), HasSubstr("\"status\":200"));
}

TEST_F(SoakTest, SigtermLetsAnAnswerEnd) {
  Client client(port());
  Json body = openai_question({image_part(pictures_[0].bytes), text_part("What do you see?")});
  body["stream"] = true;
  client.send(request_text("POST", "/v1/chat/completions", body.dump(), headers()));
  ASSERT_TRUE(client.wait_for("data: ")) << client.pending();
  program_->signal(SIGTERM);
  EXPECT_EQ(openai_streamed_text(client.receive()), pictures_[0].answer);
  EXPECT_EQ(program_->wait_exit(7), 0) << program_->log();
}

}  // namespace
}  // namespace minicpm::server

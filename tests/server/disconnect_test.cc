// A client that goes away frees its place at every stage of its request.
#include <gmock/gmock.h>

#include <chrono>
#include <thread>

#include "media/sandbox/sandbox.h"
#include "server/api_support.h"
#include "support/fake_hub.h"

namespace minicpm::server {
namespace {

using Clock = std::chrono::steady_clock;
using minicpm::testing::FakeReply;
using minicpm::testing::FakeRequest;
using minicpm::testing::FakeServer;

class DisconnectTest : public ApiTest {
 protected:
  DisconnectTest()
      : silent_(
            [](const FakeRequest&) {
              return FakeReply{"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", true};
            },
            INADDR_LOOPBACK + 1) {}
  ~DisconnectTest() override { server.reset(); }

  bool metric(const std::string& line) { return get(server->port(), "/metrics").body.find(line) != std::string::npos; }

  bool wait_for(const std::string& line) {
    const auto end = Clock::now() + std::chrono::seconds(20);
    while (!metric(line)) {
      if (Clock::now() > end) return false;
    }
    return true;
  }

  /// Milliseconds from the client's end to the end of its request.
  double leave(Client& client) {
    client.reset();
    const auto begin = Clock::now();
    EXPECT_TRUE(wait_for("minicpm_requests_running 0\n"));
    return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
  }

  FakeServer silent_;  // never sends the whole of anything
};

// 100 ms is what docs/server.md says of small models; tests run beside others on busy machines.
constexpr double kMilliseconds = 1000;

TEST_F(DisconnectTest, WhileItsPictureIsDecoded) {
  const std::shared_ptr<MediaSandbox> decoder = MediaSandbox::start({.program = MINICPM_MEDIA_WORKER});
  options.decoder = decoder;
  Client client(start());
  client.send(request_text("POST", "/v1/chat/completions",
                           openai_question(Json::array({image_part("loop"), text_part("x")})).dump()));
  ASSERT_TRUE(wait_for("minicpm_requests_running 1\n"));
  EXPECT_LT(leave(client), kMilliseconds);
}

TEST_F(DisconnectTest, WhileAUrlIsFetched) {
  hub::FetchOptions fetching;
  fetching.ports = {silent_.port()};
  fetching.allowed = [](std::span<const uint8_t> address) { return address.size() == 4 && address[3] == 2; };
  options.sources.urls = fetching;
  Client client(start());
  const Json part = {{"type", "image_url"},
                     {"image_url", {{"url", "http://127.0.0.2:" + std::to_string(silent_.port()) + "/x"}}}};
  client.send(
      request_text("POST", "/v1/chat/completions", openai_question(Json::array({part, text_part("x")})).dump()));
  const auto end = Clock::now() + std::chrono::seconds(10);
  while (silent_.requests().empty() && Clock::now() < end)
    std::this_thread::yield();
  ASSERT_FALSE(silent_.requests().empty());
  EXPECT_LT(leave(client), kMilliseconds);
}

TEST_F(DisconnectTest, WhileItsPromptIsComputed) {
  Client client(start());
  std::string text;
  for (int i = 0; i < 700; ++i)
    text += std::to_string(i) + " ";
  client.send(request_text("POST", "/v1/chat/completions", openai_question(text).dump()));
  ASSERT_TRUE(wait_for("minicpm_engine_answers{model=\"pico\"} 1\n"));
  EXPECT_LT(leave(client), kMilliseconds);
  EXPECT_TRUE(wait_for("minicpm_engine_answers{model=\"pico\"} 0\n"));
}

TEST_F(DisconnectTest, WhileItIsAnswered) {
  Client client(start());
  Json body = openai_question("Hello");
  body["stream"] = true;
  body["min_tokens"] = body["max_tokens"] = 100'000;
  client.send(request_text("POST", "/v1/chat/completions", body.dump()));
  ASSERT_TRUE(client.wait_for("data: "));
  EXPECT_LT(leave(client), kMilliseconds);
  EXPECT_TRUE(wait_for("minicpm_engine_answers{model=\"pico\"} 0\n"));
}

}  // namespace
}  // namespace minicpm::server

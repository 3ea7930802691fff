// WebSockets by themselves: handshake, frames, limits, silence, slow clients, disconnects, the end of the server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <map>
#include <mutex>
#include <random>

#include "server/http.h"
#include "server/socket_client.h"
#include "server/websocket_frames.h"

namespace minicpm::server {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;
using ::testing::HasSubstr;

constexpr milliseconds kPatience{30'000};

class SocketApp : public HttpApp {
 public:
  std::map<std::string, std::function<void(WebSocket&)>> handlers;

  Admission admit(const HttpRequest& head) override { return {.refusal = {}, .route = head.path}; }
  void handle(Exchange& exchange) override {
    const HttpRequest& request = exchange.request();
    if (const auto problem = check_upgrade(request)) {
      return exchange.send(error(request, problem->status, problem->message));
    }
    const auto protocols = request.list("sec-websocket-protocol");
    handlers.at(request.path)(exchange.upgrade(protocols.empty() ? "" : protocols.back()));
  }
  HttpResponse error(const HttpRequest&, int status, std::string_view message) override {
    return {.status = status, .content_type = "text/plain", .body = std::string(message)};
  }
  void finished(const ExchangeSummary& summary) override {
    const std::scoped_lock lock(mutex_);
    statuses_.push_back(summary.status);
    changed_.notify_all();
  }
  int status() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kPatience, [&] { return !statuses_.empty(); });
    return statuses_.empty() ? 0 : statuses_.back();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<int> statuses_;
};

class WebSocketTest : public ::testing::Test {
 protected:
  WebSocketTest() {
    options.port = 0;
    options.workers = 4;
    app.handlers["/echo"] = [](WebSocket& socket) {
      while (!socket.closed()) {
        if (const auto message = socket.receive(kPatience)) {
          socket.send((message->text ? "text " : "binary ") + message->data);
        }
      }
    };
    app.handlers["/hold"] = [this](WebSocket& socket) {
      started.set_value();
      while (!socket.closed())
        socket.receive(kPatience);
      noticed.set_value(Clock::now());
    };
    app.handlers["/flood"] = [this](WebSocket& socket) {
      while (socket.send(std::string(10'000, 'x'))) {
      }
      noticed.set_value(Clock::now());
    };
  }
  ~WebSocketTest() override { server.reset(); }

  int start() {
    server = std::make_unique<HttpServer>(options, app);
    server->start();
    return server->port();
  }

  HttpOptions options;
  SocketApp app;
  std::promise<void> started;
  std::promise<Clock::time_point> noticed;
  std::unique_ptr<HttpServer> server;
};

// ---- handshake -----------------------------------------------------------------------------------------------------

TEST_F(WebSocketTest, ShakesHandsAsTheStandardHasIt) {
  SocketClient client(start(), "/echo", {{"Sec-WebSocket-Protocol", "other, realtime"}});
  EXPECT_EQ(client.reply().status, 101);
  EXPECT_EQ(client.reply().headers.at("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");  // RFC 6455, 1.3
  EXPECT_EQ(client.reply().headers.at("upgrade"), "websocket");
  EXPECT_EQ(client.reply().headers.at("connection"), "Upgrade");
  EXPECT_EQ(client.reply().headers.at("sec-websocket-protocol"), "realtime");
  EXPECT_EQ(client.reply().headers.count("sec-websocket-extensions"), 0u);
}

TEST_F(WebSocketTest, RefusesOtherHandshakes) {
  const int port = start();
  const auto status = [&](const char* name, const char* value, const char* method = "GET") {
    HeaderList headers = SocketClient::handshake_headers();
    for (auto& [header, text] : headers) {
      if (header == name) text = value;
    }
    return ask(port, method, "/echo", {}, headers).status;
  };
  EXPECT_EQ(get(port, "/echo").status, 426);
  EXPECT_EQ(status("Upgrade", "h2c"), 426);
  EXPECT_EQ(status("Connection", "keep-alive"), 426);
  EXPECT_EQ(status("Sec-WebSocket-Version", "8"), 426);
  EXPECT_EQ(status("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j"), 400);
  EXPECT_EQ(status("Sec-WebSocket-Key", "no base64 no base64 no!!"), 400);
  EXPECT_EQ(status("", "", "POST"), 400);
  Client old(port);
  std::string request = request_text("GET", "/echo", {}, SocketClient::handshake_headers());
  request.replace(request.find("HTTP/1.1"), 8, "HTTP/1.0");
  old.send(request);
  EXPECT_EQ(old.receive().status, 426);
}

TEST_F(WebSocketTest, TakesWhatComesAheadOfTheAnswer) {
  SocketClient client(start(), "/echo", {}, frame_bytes({.data = "early"}));
  EXPECT_EQ(client.receive()->data, "text early");
}

// ---- messages ------------------------------------------------------------------------------------------------------

TEST_F(WebSocketTest, EchoesMessagesOfAllSizes) {
  SocketClient client(start(), "/echo");
  for (const size_t size : {0, 1, 120, 125, 126, 65530, 65535, 65536, 1 << 20}) {
    const std::string data(size, 'a');
    client.send({.data = data});
    const auto text = client.receive();
    ASSERT_TRUE(text);
    EXPECT_EQ(text->opcode, kText);
    EXPECT_TRUE(text->data == "text " + data) << size;
    client.send({.opcode = kBinary, .data = data});
    EXPECT_TRUE(client.receive()->data == "binary " + data) << size;
  }
}

TEST_F(WebSocketTest, JoinsFragmentsWithPingsBetweenThem) {
  SocketClient client(start(), "/echo");
  // A character of three bytes in three fragments, and a control frame inside the message.
  client.send({.data = "1\xE2", .final = false});
  client.send({.opcode = kPing, .data = "still there?"});
  client.send({.opcode = kMore, .data = "\x82", .final = false});
  client.send({.opcode = kMore, .data = "", .final = false});
  client.send({.opcode = kMore, .data = "\xAC"});
  const auto pong = client.receive();
  EXPECT_EQ(pong->opcode, kPong);
  EXPECT_EQ(pong->data, "still there?");
  EXPECT_EQ(client.receive()->data, "text 1\xE2\x82\xAC");
  // Byte by byte.
  for (const char c : frame_bytes({.data = "slowly"}))
    client.send_bytes(std::string(1, c));
  EXPECT_EQ(client.receive()->data, "text slowly");
}

TEST_F(WebSocketTest, WhoBreaksTheRulesIsToldWhich) {
  options.limits.message_bytes = 1000;
  options.limits.fragments = 4;
  const int port = start();
  const auto code = [&](const std::vector<ClientFrame>& frames) {
    SocketClient client(port, "/echo");
    for (const ClientFrame& frame : frames)
      client.send(frame);
    const int found = client.close_code();
    EXPECT_TRUE(client.connection().closes());
    return found;
  };
  EXPECT_EQ(code({{.data = "x", .masked = false}}), 1002);
  EXPECT_EQ(code({{.data = "x", .reserved = 4}}), 1002);  // compressed
  EXPECT_EQ(code({{.data = "x", .reserved = 1}}), 1002);
  for (const int opcode : {3, 7, 11, 15})
    EXPECT_EQ(code({{.opcode = opcode}}), 1002) << opcode;
  EXPECT_EQ(code({{.opcode = kMore, .data = "x"}}), 1002);
  EXPECT_EQ(code({{.data = "x", .final = false}, {.data = "y"}}), 1002);
  EXPECT_EQ(code({{.opcode = kPing, .data = std::string(126, 'x')}}), 1002);
  EXPECT_EQ(code({{.opcode = kPing, .final = false}}), 1002);
  EXPECT_EQ(code({{.data = "x", .length_form = 126}}), 1002);
  EXPECT_EQ(code({{.data = std::string(200, 'x'), .length_form = 127}}), 1002);
  EXPECT_EQ(code({{.data = std::string(1001, 'x')}}), 1009);
  EXPECT_EQ(code({{.data = std::string(600, 'x'), .final = false}, {.opcode = kMore, .data = std::string(401, 'x')}}),
            1009);
  EXPECT_EQ(code({{.final = false},
                  {.opcode = kMore, .final = false},
                  {.opcode = kMore, .final = false},
                  {.opcode = kMore, .final = false},
                  {.opcode = kMore}}),
            1008);
}

TEST_F(WebSocketTest, TextIsUtf8) {
  const int port = start();
  const auto code = [&](const std::string& text, bool final = true) {
    SocketClient client(port, "/echo");
    client.send({.data = text, .final = final});
    return client.close_code();
  };
  EXPECT_EQ(code("\xFF"), 1007);
  EXPECT_EQ(code("a\xC0\xAF"), 1007);           // longer than it has to be
  EXPECT_EQ(code("\xED\xA0\x80"), 1007);        // a surrogate
  EXPECT_EQ(code("\xF4\x90\x80\x80"), 1007);    // beyond U+10FFFF
  EXPECT_EQ(code("\xE2\x82"), 1007);            // ends inside a character
  EXPECT_EQ(code("so far\xFFx", false), 1007);  // before the message is complete
  SocketClient client(port, "/echo");
  client.send({.opcode = kBinary, .data = "\xFF\xFE"});
  EXPECT_EQ(client.receive()->data, "binary \xFF\xFE");
}

TEST_F(WebSocketTest, MessagesWaitInTheNetworkWhereNobodyTakesThem) {
  options.limits.inbox_bytes = 1000;
  std::promise<void> go;
  std::future<void> may_go = go.get_future();
  app.handlers["/late"] = [&](WebSocket& socket) {
    may_go.wait();
    for (int i = 0; i < 2000; ++i) {
      const auto message = socket.receive(kPatience);
      if (!message || message->data != std::to_string(i) + std::string(500, 'x')) return socket.close(4000, "wrong");
    }
    socket.close(4001, "all");
  };
  SocketClient client(start(), "/late");
  for (int i = 0; i < 2000; ++i) {
    client.send({.data = std::to_string(i) + std::string(500, 'x')});
    if (i == 100) go.set_value();
  }
  EXPECT_EQ(client.close_code(), 4001);
}

// ---- ends ----------------------------------------------------------------------------------------------------------

TEST_F(WebSocketTest, ClosesAsTheClientDoes) {
  const int port = start();
  const auto answer = [&](const std::string& data) {
    SocketClient client(port, "/echo");
    client.send({.opcode = kClose, .data = data});
    const int code = client.close_code();
    EXPECT_TRUE(client.connection().closes());
    return code;
  };
  EXPECT_EQ(answer(""), 1005);
  EXPECT_EQ(answer("\x03\xE8"), 1000);
  EXPECT_EQ(answer("\x0B\xB8 bye"), 3000);
  EXPECT_EQ(answer("\x03"), 1002);
  EXPECT_EQ(answer("\x03\xED"), 1002);      // 1005 must not be sent
  EXPECT_EQ(answer("\x03\xE7"), 1002);      // 999
  EXPECT_EQ(answer("\x03\xE8\xFF"), 1007);  // a reason that is not UTF-8
  EXPECT_EQ(app.status(), 101);
}

TEST_F(WebSocketTest, AHandlerThatReturnsClosesNormally) {
  app.handlers["/brief"] = [](WebSocket& socket) { socket.send("only this"); };
  SocketClient client(start(), "/brief");
  EXPECT_EQ(client.receive()->data, "only this");
  EXPECT_EQ(client.close_code(), 1000);
  EXPECT_TRUE(client.connection().closes());
}

TEST_F(WebSocketTest, ADisconnectIsNoticedAtOnce) {
  SocketClient client(start(), "/hold");
  started.get_future().wait();
  const auto gone = Clock::now();
  client.connection().reset();
  EXPECT_LT(noticed.get_future().get() - gone, milliseconds(100));
  EXPECT_EQ(app.status(), 499);
}

TEST_F(WebSocketTest, ADisconnectEndsAFlood) {
  SocketClient client(start(), "/flood");
  ASSERT_TRUE(client.receive());
  const auto gone = Clock::now();
  client.connection().reset();
  EXPECT_LT(noticed.get_future().get() - gone, milliseconds(100));
}

TEST_F(WebSocketTest, SilentClientsArePingedAndThenClosed) {
  options.limits.ping_every = milliseconds(10);
  options.limits.socket_idle = milliseconds(200);
  SocketClient client(start(), "/echo");
  const auto begin = Clock::now();
  // As long as pings are answered nothing happens.
  while (Clock::now() - begin < milliseconds(300)) {
    const auto ping = client.receive();
    ASSERT_TRUE(ping);
    ASSERT_EQ(ping->opcode, kPing);
    client.send({.opcode = kPong, .data = ping->data});
  }
  EXPECT_EQ(client.close_code(), 1008);
}

TEST_F(WebSocketTest, AClientThatTakesNothingIsGivenUp) {
  options.limits.write_idle = milliseconds(100);
  SocketClient client(start(), "/flood");
  noticed.get_future().wait();  // send() returned false
  EXPECT_EQ(client.close_code(), 1008);
  EXPECT_TRUE(client.connection().closes());
}

TEST_F(WebSocketTest, TheEndOfTheServerIsSaid) {
  SocketClient client(start(), "/hold");
  started.get_future().wait();
  const auto stopped = std::async(std::launch::async, [&] { return server->stop(); });
  EXPECT_EQ(client.close_code(), 1001);
}

// ---- frames --------------------------------------------------------------------------------------------------------

TEST(FrameReaderTest, HoldsNoMoreThanIsAllowedWhateverAHeaderSays) {
  FrameReader reader({.message_bytes = 1000});
  const std::string bytes = "\x82\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF" + std::string("mask");
  std::string_view rest = bytes;
  const SocketEvent event = reader.next(rest);
  EXPECT_EQ(event.kind, SocketEvent::Kind::kFailed);
  EXPECT_EQ(event.code, close_code::kTooBig);
  EXPECT_EQ(reader.held(), 0u);
}

TEST(FrameReaderTest, TakesAnyBytes) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 2000; ++round) {
    FrameReader reader({.message_bytes = 200, .fragments = 5});
    std::string bytes;
    for (int i = 0; i < 6; ++i) {
      bytes += frame_bytes({.opcode = static_cast<int>(random() % 11),
                            .data = std::string(random() % 130, 'x'),
                            .final = random() % 3 > 0,
                            .masked = random() % 20 > 0});
    }
    for (int i = 0; i < 2; ++i)
      bytes[random() % bytes.size()] = static_cast<char>(random());
    bool failed = false;
    for (std::string_view rest = bytes; !rest.empty();) {
      std::string_view piece = rest.substr(0, random() % 50 + 1);
      rest.remove_prefix(piece.size());
      while (!piece.empty()) {
        const SocketEvent event = reader.next(piece);
        ASSERT_TRUE(!failed || event.kind == SocketEvent::Kind::kNone);
        failed |= event.kind == SocketEvent::Kind::kFailed || event.kind == SocketEvent::Kind::kClose;
        ASSERT_LE(event.data.size(), 200u);
        ASSERT_LE(reader.held(), 200u + 125u);
      }
    }
  }
}

TEST(FrameTest, ReasonsFitIntoTheirFrame) {
  std::string long_reason;
  for (int i = 0; i < 100; ++i)
    long_reason += "\xE2\x82\xAC";
  const std::string bytes = close_frame(1000, long_reason);
  EXPECT_LE(bytes.size(), 2u + 125u);
  EXPECT_EQ((bytes.size() - 4) % 3, 0u);  // whole characters
}

}  // namespace
}  // namespace minicpm::server

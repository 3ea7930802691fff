// The HTTP layer by itself: framing, limits, disconnects, back-pressure, the end of the server. The handlers are
// simple.
#include "server/http.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <condition_variable>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "server/client.h"

namespace minicpm::server {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;
using ::testing::HasSubstr;

/// Set once, waited for by others.
class Flag {
 public:
  void set() {
    {
      const std::scoped_lock lock(mutex_);
      set_ = true;
    }
    changed_.notify_all();
  }
  void clear() {
    const std::scoped_lock lock(mutex_);
    set_ = false;
  }
  bool wait(milliseconds limit = milliseconds(30'000)) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, limit, [this] { return set_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool set_ = false;
};

/// Paths and what answers them; "/light" is answered on the network thread.
class TestApp : public HttpApp {
 public:
  std::map<std::string, std::function<void(Exchange&)>> handlers;

  Admission admit(const HttpRequest& head) override {
    Admission admission{.refusal = {}, .route = head.path, .light = head.path == "/light"};
    if (handlers.count(head.path) == 0) admission.refusal = error(head, 404, "nothing here");
    return admission;
  }
  void handle(Exchange& exchange) override { handlers.at(exchange.request().path)(exchange); }
  HttpResponse error(const HttpRequest&, int status, std::string_view message) override {
    return {.status = status,
            .content_type = "text/plain",
            .body = std::string(message),
            .headers = {{"Retry-After", "1"}}};
  }
  void finished(const ExchangeSummary& summary) override {
    const std::scoped_lock lock(mutex_);
    statuses_.push_back(summary.status);
    changed_.notify_all();
  }
  /// The statuses of the first `count` exchanges, once they have ended.
  std::vector<int> statuses(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(30), [&] { return statuses_.size() >= count; });
    return statuses_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<int> statuses_;
};

class HttpTest : public ::testing::Test {
 protected:
  HttpTest() {
    options.port = 0;
    options.workers = 4;
    app.handlers["/echo"] = [](Exchange& exchange) {
      exchange.send({.content_type = "text/plain", .body = exchange.request().method + " " + exchange.request().body});
    };
    app.handlers["/light"] = [](Exchange& exchange) { exchange.send({.body = "light"}); };
    app.handlers["/pieces"] = [](Exchange& exchange) {
      exchange.begin({.content_type = "text/plain", .body = "one "});
      exchange.write("two ");
      exchange.write("three");
      exchange.end();
    };
    app.handlers["/wait"] = [this](Exchange& exchange) {
      started.set();
      while (!exchange.cancelled() && !release.wait(milliseconds(1))) {
      }
      noticed = Clock::now();
      exchange.send({.body = exchange.cancelled() ? "cancelled" : "released"});
      ended.set();
    };
  }
  ~HttpTest() override {
    release.set();
    server.reset();
  }

  int start() {
    server = std::make_unique<HttpServer>(options, app);
    server->start();
    return server->port();
  }

  HttpOptions options;
  TestApp app;
  std::unique_ptr<HttpServer> server;
  Flag started, release, ended;
  Clock::time_point noticed;
};

TEST_F(HttpTest, AnswersOneRequestAfterAnotherOnOneConnection) {
  Client client(start());
  for (int i = 0; i < 3; ++i) {
    client.send(request_text("POST", "/echo", "body " + std::to_string(i)));
    const Reply reply = client.receive();
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.body, "POST body " + std::to_string(i));
    EXPECT_TRUE(reply.headers.at("x-request-id").starts_with("req_"));
  }
}

TEST_F(HttpTest, AnswersPipelinedRequestsInOrder) {
  Client client(start());
  client.send(request_text("POST", "/echo", "a") + request_text("GET", "/light") + request_text("POST", "/echo", "b"));
  EXPECT_EQ(client.receive().body, "POST a");
  EXPECT_EQ(client.receive().body, "light");
  EXPECT_EQ(client.receive().body, "POST b");
}

TEST_F(HttpTest, RequestsMayComeByteByByte) {
  Client client(start());
  for (const char c : request_text("POST", "/echo", "slow"))
    client.send({&c, 1});
  EXPECT_EQ(client.receive().body, "POST slow");
}

TEST_F(HttpTest, StreamsInChunksAndToOldClientsUntilTheEnd) {
  const int port = start();
  const Reply chunked = ask(port, "GET", "/pieces");
  EXPECT_EQ(chunked.headers.at("transfer-encoding"), "chunked");
  EXPECT_EQ(chunked.body, "one two three");
  EXPECT_TRUE(chunked.complete);
  Client old(port);
  old.send("GET /pieces HTTP/1.0\r\n\r\n");
  const Reply plain = old.receive();
  EXPECT_EQ(plain.body, "one two three");
  EXPECT_EQ(plain.headers.count("transfer-encoding"), 0u);
  EXPECT_EQ(plain.headers.at("connection"), "close");
}

TEST_F(HttpTest, HeadHasTheLengthWithoutTheBody) {
  Client client(start());
  client.send(request_text("HEAD", "/light") + request_text("GET", "/light"));
  EXPECT_EQ(client.receive(true).headers.at("content-length"), "5");
  EXPECT_EQ(client.receive().body, "light");
}

TEST_F(HttpTest, ReadsChunkedBodiesAndSaysContinue) {
  const int port = start();
  Client chunked(port);
  chunked.send(
      "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n");
  EXPECT_EQ(chunked.receive().body, "POST abcde");
  Client careful(port);
  careful.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  ASSERT_TRUE(careful.wait_for("HTTP/1.1 100 Continue\r\n\r\n"));
  careful.send("abc");
  EXPECT_EQ(careful.receive().body, "POST abc");
}

TEST_F(HttpTest, TargetsAreDecoded) {
  app.handlers["/a b/ü"] = [](Exchange& exchange) { exchange.send({.body = "found"}); };
  const int port = start();
  for (const char* target : {"/a%20b/%C3%BC", "/a%20b/%c3%bc?x=%zz", "http://localhost/a%20b/%C3%BC"})
    EXPECT_EQ(ask(port, "GET", target).body, "found") << target;
}

TEST_F(HttpTest, MalformedRequestsAreRefusedAndTheConnectionClosed) {
  const int port = start();
  const std::vector<std::string> bad = {
      "hello\r\n\r\n",
      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS\r\n\r\n",
      "GET /echo\r\n\r\n",
      "GET /echo HTTP/2.0\r\nHost: x\r\n\r\n",
      "GET /echo HTTP/0.9\r\nHost: x\r\n\r\n",
      "GET /echo HTTP/1.1\nHost: x\n\n",                   // line ends without CR
      "GET /echo HTTP/1.1\r\n\r\n",                        // no Host
      "GET /echo HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",  // two
      "GET echo HTTP/1.1\r\nHost: x\r\n\r\n",              // no path
      "GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",              // broken escapes
      "GET /a%2 HTTP/1.1\r\nHost: x\r\n\r\n",
      "GET /a%00b HTTP/1.1\r\nHost: x\r\n\r\n",  // control characters
      "GET /a%0d%0aX:1 HTTP/1.1\r\nHost: x\r\n\r\n",
      "GET /echo HTTP/1.1\r\nHost: x\r\n folded: y\r\nNo colon\r\n\r\n",
      "GET /echo HTTP/1.1\r\nHost: x\r\nBad name: y\r\n\r\n",
      "GET /echo HTTP/1.1\r\nHost : x\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1x\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
      "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcde\r\n0\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc\r\n0\r\n\r\n",
  };
  for (const std::string& text : bad) {
    Client client(port);
    client.send(text);
    const Reply reply = client.receive();
    EXPECT_EQ(reply.status, 400) << text << "\n" << reply.body;
    EXPECT_TRUE(client.closes()) << text;
  }
  EXPECT_EQ(get(port, "/light").body, "light");
}

TEST_F(HttpTest, WhatFollowsARefusedRequestIsNotTakenForAnother) {
  Client client(start());
  client.send("POST /missing HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\n" + request_text("GET", "/light"));
  EXPECT_EQ(client.receive().status, 404);
  EXPECT_TRUE(client.closes());
}

TEST_F(HttpTest, LargeHeadsAndBodiesAreRefused) {
  options.limits.body_bytes = 1000;
  const int port = start();
  EXPECT_EQ(ask(port, "GET", "/light", {}, {{"X-Large", std::string(options.limits.header_bytes, 'x')}}).status, 431);
  EXPECT_EQ(ask(port, "GET", "/" + std::string(options.limits.header_bytes, 'x')).status, 431);
  EXPECT_EQ(ask(port, "POST", "/echo", std::string(1000, 'x')).status, 200);
  EXPECT_EQ(ask(port, "POST", "/echo", std::string(1001, 'x')).status, 413);
  Client chunked(port);
  chunked.send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + std::string(1001, 'x') +
               "\r\n0\r\n\r\n");
  EXPECT_EQ(chunked.receive().status, 413);
}

TEST_F(HttpTest, BodiesThatAreTooManyTogetherAreRefused) {
  options.limits.bodies_bytes = 1000;
  const int port = start();
  Client first(port);
  first.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\nExpect: 100-continue\r\n\r\n");
  ASSERT_TRUE(first.wait_for("100 Continue"));
  EXPECT_EQ(ask(port, "POST", "/echo", std::string(200, 'x')).status, 503);
  first.send(std::string(900, 'y'));
  EXPECT_EQ(first.receive().status, 200);
  EXPECT_EQ(ask(port, "POST", "/echo", std::string(200, 'x')).status, 200);
}

TEST_F(HttpTest, SlowClientsAreClosed) {
  options.limits.header_time = options.limits.body_idle = options.limits.keep_alive = milliseconds(50);
  const int port = start();
  Client head(port);
  head.send("GET /light HT");
  EXPECT_EQ(head.receive().status, 408);
  EXPECT_TRUE(head.closes());
  Client body(port);
  body.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
  EXPECT_EQ(body.receive().status, 408);
  EXPECT_TRUE(body.closes());
  Client idle(port);
  EXPECT_TRUE(idle.closes());
  Client again(port);
  again.send(request_text("GET", "/light"));
  EXPECT_EQ(again.receive().status, 200);
  EXPECT_TRUE(again.closes());
}

TEST_F(HttpTest, ABodyThatTricklesForEverIsRefused) {
  options.limits.body_time = milliseconds(30);
  Client client(start());
  client.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
  const auto begin = Clock::now();
  while (Clock::now() - begin < milliseconds(100))
    client.send("x");
  EXPECT_EQ(client.receive().status, 408);
}

TEST_F(HttpTest, ADisconnectCancelsWithin100Milliseconds) {
  const int port = start();
  for (const bool reset : {true, false}) {
    started.clear();
    ended.clear();
    auto client = std::make_unique<Client>(port);
    client->send(request_text("GET", "/wait"));
    ASSERT_TRUE(started.wait());
    const auto gone = Clock::now();
    if (reset) client->reset();
    client.reset();
    ASSERT_TRUE(ended.wait());
    EXPECT_LT(noticed - gone, milliseconds(100)) << "reset: " << reset;
  }
  EXPECT_EQ(app.statuses(2), (std::vector<int>{499, 499}));
}

TEST_F(HttpTest, AHandlerWaitsForASlowReaderAndStopsWhenItGoes) {
  options.limits.output_bytes = 100'000;
  std::atomic<int64_t> written{0};
  app.handlers["/endless"] = [&](Exchange& exchange) {
    const std::string piece(10'000, 'x');
    exchange.begin({.content_type = "text/plain"});
    while (exchange.write(piece))
      written += static_cast<int64_t>(piece.size());
    ended.set();
  };
  auto client = std::make_unique<Client>(start());
  client->send(request_text("GET", "/endless"));
  ASSERT_TRUE(client->wait_for("xxxx"));
  // The system's buffers take some megabytes; then the handler stands still.
  for (int64_t before = -1; before != written;) {
    before = written;
    EXPECT_FALSE(ended.wait(milliseconds(200)));
  }
  EXPECT_LT(written, 64 << 20);
  client.reset();
  EXPECT_TRUE(ended.wait());
}

TEST_F(HttpTest, AReaderThatStandsStillIsClosed) {
  options.limits.write_idle = milliseconds(50);
  app.handlers["/endless"] = [&](Exchange& exchange) {
    const std::string piece(100'000, 'x');
    exchange.begin({.content_type = "text/plain"});
    while (exchange.write(piece)) {
    }
    ended.set();
  };
  Client client(start());
  client.send(request_text("GET", "/endless"));
  EXPECT_TRUE(ended.wait());
  EXPECT_EQ(app.statuses(1), std::vector<int>{499});
}

TEST_F(HttpTest, TooManyRequestsAreToldToComeBack) {
  options.workers = 1;
  options.limits.waiting = 1;
  const int port = start();
  Client running(port), waiting(port);
  running.send(request_text("GET", "/wait"));
  ASSERT_TRUE(started.wait());
  waiting.send(request_text("GET", "/wait"));
  while (server->waiting() == 0)
    std::this_thread::yield();
  const Reply refused = get(port, "/echo");
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.headers.at("retry-after"), "1");
  EXPECT_EQ(get(port, "/light").status, 200);
  release.set();
  EXPECT_EQ(running.receive().body, "released");
  EXPECT_EQ(waiting.receive().body, "released");
}

TEST_F(HttpTest, AClientThatLeavesTheQueueIsNotServed) {
  options.workers = 1;
  const int port = start();
  std::atomic<int> served{0};
  app.handlers["/count"] = [&](Exchange& exchange) {
    ++served;
    exchange.send({});
  };
  Client running(port);
  running.send(request_text("GET", "/wait"));
  ASSERT_TRUE(started.wait());
  {
    Client leaving(port);
    leaving.send(request_text("GET", "/count"));
    while (server->waiting() == 0)
      std::this_thread::yield();
  }
  while (server->connections() > 1)
    std::this_thread::yield();
  release.set();
  EXPECT_EQ(running.receive().body, "released");
  app.statuses(2);
  EXPECT_EQ(served, 0);
}

TEST_F(HttpTest, ConnectionsAreLimitedInAllAndByAddress) {
  options.limits.connections = 8;
  options.limits.connections_per_address = 3;
  for (const bool by_address : {false, true}) {
    options.limits.limit_loopback = by_address;
    const int port = start();
    const size_t most = by_address ? 3 : 8;
    std::vector<Client> clients;
    for (size_t i = 0; i < most; ++i) {
      clients.emplace_back(port);
      clients.back().send(request_text("GET", "/light"));
      EXPECT_EQ(clients.back().receive().status, 200);
    }
    Client late(port);
    EXPECT_EQ(late.receive().status, 503);
    EXPECT_TRUE(late.closes());
    clients.pop_back();
    while (server->connections() >= most)
      std::this_thread::yield();
    EXPECT_EQ(get(port, "/light").status, 200);
  }
}

/// Bytes that this process has in memory.
int64_t resident_bytes() {
  int64_t all = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> all >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

TEST_F(HttpTest, ThousandsOfIdleConnectionsTakeLittle) {
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit most = {before.rlim_max, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &most), 0);
  // Both ends are in this process.
  const auto count = static_cast<int>(std::min<rlim_t>(10'000, before.rlim_max / 2 - 200));
  options.limits.connections = count + 200;
  const int port = start();
  const int64_t memory = resident_bytes();
  std::vector<Client> clients;
  for (int i = 0; i < count; ++i) {
    clients.emplace_back(port);
    clients.back().send(request_text("GET", "/light"));
    ASSERT_EQ(clients.back().receive().status, 200) << i;
  }
  EXPECT_EQ(server->connections(), static_cast<size_t>(count));
  const int64_t each = (resident_bytes() - memory) / count;
  std::printf("%d connections, %ld bytes each\n", count, long(each));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_LT(each, 20'000);
#endif
  const auto begin = Clock::now();
  for (int i = 0; i < 100; ++i)
    EXPECT_EQ(get(port, "/light").status, 200);
  EXPECT_LT(Clock::now() - begin, milliseconds(100 * 50));
  clients.clear();
  while (server->connections() > 0)
    std::this_thread::yield();
  EXPECT_EQ(get(port, "/light").status, 200);
  setrlimit(RLIMIT_NOFILE, &before);
}

TEST_F(HttpTest, TheEndLetsAnswersFinish) {
  const int port = start();
  Client client(port), idle(port);
  client.send(request_text("GET", "/wait"));
  ASSERT_TRUE(started.wait());
  std::thread stopping([&] { EXPECT_TRUE(server->stop()); });
  EXPECT_TRUE(idle.closes());
  release.set();
  EXPECT_EQ(client.receive().body, "released");
  stopping.join();
  EXPECT_THROW(Client{port}, std::runtime_error);
}

TEST_F(HttpTest, TheEndCancelsAnswersThatTakeTooLong) {
  options.limits.drain = milliseconds(20);
  const int port = start();
  Client client(port);
  client.send(request_text("GET", "/wait"));
  ASSERT_TRUE(started.wait());
  const auto begin = Clock::now();
  EXPECT_TRUE(server->stop());
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(5));
  EXPECT_EQ(client.receive().body, "cancelled");
}

TEST_F(HttpTest, AddressesThatCannotBeHad) {
  const int port = start();
  const auto message = [&](HttpOptions wrong) -> std::string {
    try {
      HttpServer second(wrong, app);
    } catch (const std::exception& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(message({.host = "127.0.0.1", .port = port}), HasSubstr("cannot listen there"));
  EXPECT_THAT(message({.host = "example.org", .port = 0}), HasSubstr("no address to listen on"));
  EXPECT_THAT(message({.host = "", .port = 0}), HasSubstr("no address to listen on"));
  EXPECT_THAT(message({.port = 0, .tls_certificate = "x"}), HasSubstr("both a certificate and its key"));
  EXPECT_THAT(message({.port = 0, .tls_certificate = "/missing", .tls_key = "/missing"}), HasSubstr("/missing"));
}

}  // namespace
}  // namespace minicpm::server

// One client's connection: reads requests, hands them over, writes answers. Internal to the HTTP layer.
#pragma once

#include <array>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "server/http.h"
#include "server/transport.h"
#include "server/websocket_frames.h"
#include "server/worker_pool.h"

namespace minicpm::server {

/// What all connections share.
struct ConnectionShared {
  const HttpLimits& limits;
  HttpApp& app;
  WorkerPool& workers;
  std::atomic<bool> draining{false};
  std::atomic<size_t> body_bytes{0};  // held by requests, against limits.bodies_bytes
};

class ExchangeImpl;
class WebSocketImpl;

/// Its members run on the strand of its transport, but for those that say otherwise. A read is always under way, so
/// that a client that goes is noticed at any time.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::unique_ptr<Transport> transport, ConnectionShared& shared, std::string peer,
             std::function<void()> on_closed);
  ~Connection();

  /// From any thread.
  void start();
  void drain();   // closes when nothing is being answered
  void cancel();  // what is being answered
  void abort();   // the same, and closes
  /// Answers with an error at once, without reading anything.
  void refuse_at_once(int status, const std::string& message);
  /// For an exchange's handler: `last` marks the end of its answer.
  void post_output(std::shared_ptr<ExchangeImpl> exchange, std::string bytes, bool last);
  /// The exchange's request becomes a WebSocket; `head` is the answer to its handshake.
  void post_socket(std::shared_ptr<ExchangeImpl> exchange, std::string head);
  void post_close(int code, std::string reason);
  /// Messages were taken: reading may go on.
  void resume();

 private:
  enum class State { kHandshake, kIdle, kHeader, kBody, kAnswering, kLinger, kClosed };
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;

  void read();
  void on_read(error_code ec, size_t count);
  void process();
  void begin_request();
  bool feed();
  bool on_header();
  const char* read_head();
  bool reserve_body(size_t bytes);
  void release_body();
  void parse_failed(error_code ec);
  void dispatch();
  void run(const std::shared_ptr<ExchangeImpl>& exchange);
  void answer_directly(HttpResponse response, bool keep_alive);
  void refuse(int status, std::string_view message);
  enum class Handled { kNo, kYes };
  void make_exchange(Handled handled, bool keep_alive);

  void queue_output(const std::shared_ptr<ExchangeImpl>& exchange, std::string bytes, bool last);
  void write_next();
  void on_written(error_code ec, size_t count);
  void answer_complete();
  void linger();
  void close();

  // websocket.cc
  WebSocketImpl* socket() const;
  void read_socket();
  void on_socket_event(SocketEvent event);
  void close_socket(int code, std::string_view reason);
  void give_up_socket();
  void ping_later();

  void arm(std::chrono::milliseconds time);
  void disarm();
  void on_timeout();

  std::unique_ptr<Transport> transport_;
  const asio::any_io_executor strand_;
  ConnectionShared& shared_;
  const std::string peer_;
  std::function<void()> on_closed_;
  asio::steady_timer timer_, ping_timer_;
  uint64_t timer_generation_ = 0;

  State state_ = State::kHandshake;
  std::array<char, 16384> chunk_;
  bool reading_ = false;
  bool client_gone_ = false;
  std::string input_;  // received, not yet parsed
  std::optional<Parser> parser_;
  HttpRequest request_;
  Admission admission_;
  std::chrono::steady_clock::time_point body_start_;
  size_t reserved_ = 0;  // of shared_.body_bytes

  std::shared_ptr<ExchangeImpl> exchange_;  // being answered
  std::string output_;                      // to be written
  std::string writing_;                     // being written
  size_t written_ = 0;                      // of writing_
  bool write_pending_ = false;
  bool last_queued_ = false;  // output_ ends the answer

  std::optional<FrameReader> frames_;  // of the WebSocket that the connection has become
  std::chrono::steady_clock::time_point last_heard_;
  bool close_queued_ = false;  // a close frame is the last that goes out
};

/// A request that is being answered.
class ExchangeImpl : public Exchange, public std::enable_shared_from_this<ExchangeImpl> {
 public:
  struct Manner {
    bool chunked;     // the client understands chunks
    bool keep_alive;  // the connection stays
  };
  ExchangeImpl(std::shared_ptr<Connection> connection, HttpRequest request, const HttpLimits& limits, Manner manner);
  ~ExchangeImpl() override;

  const HttpRequest& request() const override { return request_; }
  const std::atomic<bool>& cancelled() const override { return cancelled_; }
  void send(HttpResponse response) override;
  void begin(HttpResponse head) override;
  bool write(std::string_view piece) override;
  void end() override;
  WebSocket& upgrade(std::string_view protocol) override;
  bool answered() const override { return status_ != 0; }

  /// For the connection.
  void taken(size_t bytes);  // the client took so much
  void cancel();
  bool keep_alive() const { return manner_.keep_alive && !upgraded_; }
  WebSocketImpl* socket() const { return upgraded_ ? socket_.get() : nullptr; }
  bool complete() const { return complete_; }
  /// An exchange is reported to the app when both its connection and its handler, if it has one, are done with it.
  void expect_handler() { parts_ = 2; }
  void handler_done(HttpApp& app) { part_done(app); }
  void connection_done(HttpApp& app, bool whole);

 private:
  void part_done(HttpApp& app);
  std::string head_of(const HttpResponse& response, bool known_length) const;
  void post(std::string bytes, bool last);

  std::shared_ptr<Connection> connection_;
  HttpRequest request_;
  const HttpLimits& limits_;
  const Manner manner_;
  std::unique_ptr<WebSocketImpl> socket_;
  std::atomic<bool> upgraded_{false};  // socket_ is there
  std::atomic<bool> cancelled_{false};
  std::atomic<int> status_{0};
  std::atomic<bool> complete_{false};
  std::atomic<bool> whole_{false};  // the client has got all of the answer
  std::atomic<int> parts_{1};
  std::atomic<uint64_t> bytes_out_{0};
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t untaken_ = 0;  // bytes written but not yet taken by the client
};

}  // namespace minicpm::server

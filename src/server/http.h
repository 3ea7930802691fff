// HTTP/1.1 as the rest of the server sees it: a request comes in whole, its answer goes out whole or piece by piece.
// Nothing here knows of models.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace minicpm::server {

struct Header {
  std::string name, value;
};

struct HttpRequest {
  std::string method;           // "GET"
  std::string path;             // percent-decoded, without the query; no control characters
  std::string query;            // what stands behind "?", as it came
  std::vector<Header> headers;  // names in lower case
  std::string body;
  std::string id;    // names the request in logs and in the header X-Request-Id
  std::string peer;  // the client's address
  /// Of work that was left with the server: the scope (as Access has it) of whoever left it.
  std::optional<std::string> left_by = {};

  /// Value of the first header of that (lower-case) name; empty if there is none.
  std::string_view header(std::string_view name) const;
  /// The elements of all headers of that name, which are lists with commas; without white space around them.
  std::vector<std::string_view> list(std::string_view name) const;
  /// A field of the query, percent-decoded; nothing if it is not there.
  std::optional<std::string> query_field(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<Header> headers = {};
};

/// What the access log says of a request besides its own lines. A handler fills in what it knows.
struct ExchangeNote {
  std::string route;  // the route's pattern; empty: none matched
  std::string model;
  int64_t prompt_tokens = 0, completion_tokens = 0;
};

/// What a connection is after a handshake: messages in both directions (RFC 6455). Pings are answered, and sent, beside
/// it. Used by several threads at once.
class WebSocket {
 public:
  struct Message {
    bool text = true;  // UTF-8; else any bytes
    std::string data;
  };
  virtual ~WebSocket() = default;
  /// The next whole message; nothing after `wait`, or when it is closed and all were taken.
  virtual std::optional<Message> receive(std::chrono::milliseconds wait) = 0;
  /// Blocks while the client is slow to read; false once it is closed.
  virtual bool send(std::string_view text) = 0;
  /// Ends it with a close frame; only the first call counts.
  virtual void close(int code, std::string_view reason) = 0;
  /// By either side, or by the end of the connection.
  virtual bool closed() const = 0;
};

/// One request and its answer, as a handler sees them: used by one thread, which may block.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual const HttpRequest& request() const = 0;
  /// True once the client has gone or the server ends. Set within milliseconds of a disconnect.
  virtual const std::atomic<bool>& cancelled() const = 0;

  /// The whole answer, once.
  virtual void send(HttpResponse response) = 0;
  /// Starts an answer of unknown length; `head.body` is its first piece.
  virtual void begin(HttpResponse head) = 0;
  /// The next piece. Blocks while the client is slow to read; false once it has gone.
  virtual bool write(std::string_view piece) = 0;
  virtual void end() = 0;
  /// Accepts the client's handshake, which check_upgrade() let pass, with one of its protocols or none. The socket ends
  /// with the handler at the latest. Throws Error unsupported for exchanges that are no connections.
  virtual WebSocket& upgrade(std::string_view protocol);
  /// Whether send() or begin() was called.
  virtual bool answered() const = 0;

  ExchangeNote note;
  std::vector<Header> common_headers;  // of the answer, whatever it is; set before it begins
};

/// A finished exchange, for logs and counters.
struct ExchangeSummary {
  std::string_view id, peer, method, path;
  const ExchangeNote& note;
  int status = 0;  // 499: the client went before the answer was complete
  uint64_t bytes_out = 0;
  double milliseconds = 0;
};

/// What to do with a request whose head has come but whose body has not.
struct Admission {
  std::optional<HttpResponse> refusal;  // answered at once; the body is not read
  std::string route;                    // for the note
  bool light = false;                   // handled on the network thread: must be quick and must not block
};

/// What answers the requests.
class HttpApp {
 public:
  virtual ~HttpApp() = default;
  virtual Admission admit(const HttpRequest& head) = 0;
  /// Must answer, and must not throw.
  virtual void handle(Exchange& exchange) = 0;
  /// What the HTTP layer itself answers when something is wrong. `request` may be incomplete.
  virtual HttpResponse error(const HttpRequest& request, int status, std::string_view message) = 0;
  virtual void finished(const ExchangeSummary& summary) = 0;
};

/// What is wrong with a request for a WebSocket, with the status of the answer: 400, or 426 (and the headers of
/// `upgrade_headers`).
struct UpgradeProblem {
  int status;
  std::string_view message;
};
std::optional<UpgradeProblem> check_upgrade(const HttpRequest& request);
std::vector<Header> upgrade_headers();

struct HttpLimits {
  size_t body_bytes = 64u << 20;
  size_t bodies_bytes = 1u << 30;  // of all requests that are being read or answered
  size_t header_bytes = 16u << 10;
  std::chrono::milliseconds header_time{10'000};  // from its first byte to its last
  std::chrono::milliseconds body_idle{30'000};    // between two pieces of a body
  std::chrono::milliseconds body_time{600'000};   // for the whole body
  std::chrono::milliseconds keep_alive{75'000};   // between two requests
  std::chrono::milliseconds write_idle{30'000};   // for 64 KiB of an answer
  std::chrono::milliseconds drain{5'000};         // for running answers when the server ends
  int connections = 1024;
  int connections_per_address = 64;  // loopback is free of this limit: a proxy may stand there
  size_t waiting = 256;              // requests without a worker
  size_t output_bytes = 256u << 10;  // written but not yet taken by the client, before write() blocks
  bool limit_loopback = false;
  // WebSockets
  size_t message_bytes = 16u << 20;
  size_t fragments = 1024;         // of a message
  size_t inbox_bytes = 16u << 20;  // of messages that no handler took, before nothing more is read
  std::chrono::milliseconds ping_every{20'000};
  std::chrono::milliseconds socket_idle{60'000};  // without anything, even an answer to pings
};

struct HttpOptions {
  std::string host = "127.0.0.1";        // an address, or "localhost"
  int port = 8080;                       // 0: any free one
  int workers = 64;                      // requests that are handled at once
  std::string tls_certificate, tls_key;  // PEM files; both or neither
  HttpLimits limits;
};

class HttpServer {
 public:
  /// Listens; requests are answered from start() on. Throws Error invalid_request for an address that is none, io when
  /// it cannot be bound, not_found and bad_file for TLS files.
  HttpServer(const HttpOptions& options, HttpApp& app);
  /// As stop(), then waits for handlers.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  void start();
  int port() const;
  /// Takes no more requests, lets running answers end within the limit of `drain`, then cancels them. Returns whether
  /// all handlers have returned; they have a second more after being cancelled.
  bool stop();

  size_t running() const;  // handlers at work
  size_t waiting() const;  // requests without a worker
  size_t connections() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// What the system asks of a server, from construction on. SIGINT and SIGTERM: to end; the next one ends the program as
/// usual. SIGHUP: to read its settings again, or to end if it comes because the terminal is gone.
class ServerSignals {
 public:
  enum class Wish { kReload, kEnd };

  ServerSignals();
  ~ServerSignals();
  ServerSignals(const ServerSignals&) = delete;
  ServerSignals& operator=(const ServerSignals&) = delete;
  /// One that came since the last call counts. Not after kEnd.
  Wish wait();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// "OK" for 200.
std::string_view reason_phrase(int status);

/// Nothing for a broken escape or a control character.
std::optional<std::string> percent_decoded(std::string_view text);

}  // namespace minicpm::server

#include "server/connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/error.hpp>
#include <exception>
#include <utility>

#include "server/random_id.h"
#include "server/websocket.h"

namespace minicpm::server {
namespace {

namespace http = boost::beast::http;

constexpr size_t kMaxAhead = 64u << 10;    // bytes of later requests kept while one is answered
constexpr size_t kWriteBytes = 64u << 10;  // of one write, which has limits.write_idle
constexpr std::chrono::milliseconds kLingerTime{2000};

/// Path and query of a request target, which may be a whole URL or "*". False if it is none.
bool read_target(std::string_view target, HttpRequest& request) {
  if (target.starts_with("http://") || target.starts_with("https://")) {
    target.remove_prefix(target.find("//") + 2);
    target.remove_prefix(std::min(target.find('/'), target.size()));
    if (target.empty()) target = "/";
  }
  target = target.substr(0, target.find('#'));
  const size_t question = target.find('?');
  if (question != std::string_view::npos) request.query = target.substr(question + 1);
  target = target.substr(0, question);
  if (!target.starts_with('/') && target != "*") return false;
  auto path = percent_decoded(target);
  if (path) request.path = std::move(*path);
  return path.has_value();
}

std::string lower_case(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

}  // namespace

Connection::Connection(std::unique_ptr<Transport> transport, ConnectionShared& shared, std::string peer,
                       std::function<void()> on_closed)
    : transport_(std::move(transport)),
      strand_(transport_->socket().get_executor()),
      shared_(shared),
      peer_(std::move(peer)),
      on_closed_(std::move(on_closed)),
      timer_(strand_),
      ping_timer_(strand_) {}

Connection::~Connection() {
  release_body();
}

void Connection::start() {
  asio::post(strand_, [self = shared_from_this()] {
    self->arm(self->shared_.limits.header_time);
    self->transport_->handshake([self](error_code ec) {
      if (self->state_ != State::kHandshake) return;
      if (ec) return self->close();
      self->state_ = State::kIdle;
      self->arm(self->shared_.limits.keep_alive);
      self->read();
    });
  });
}

void Connection::drain() {
  asio::post(strand_, [self = shared_from_this()] {
    if (self->state_ == State::kIdle || self->state_ == State::kHandshake) return self->close();
    if (self->socket() != nullptr) self->close_socket(close_code::kGoingAway, "the server is shutting down");
  });
}

void Connection::cancel() {
  asio::post(strand_, [self = shared_from_this()] {
    if (self->exchange_) self->exchange_->cancel();
  });
}

void Connection::abort() {
  asio::post(strand_, [self = shared_from_this()] { self->close(); });
}

void Connection::refuse_at_once(int status, const std::string& message) {
  asio::post(strand_, [self = shared_from_this(), status, message] {
    self->begin_request();
    self->refuse(status, message);
  });
}

// ---- reading -------------------------------------------------------------------------------------------------------

void Connection::read() {
  if (reading_ || state_ == State::kClosed) return;
  if (state_ == State::kAnswering && input_.size() >= kMaxAhead) return;
  if (socket() != nullptr && socket()->full()) return;
  reading_ = true;
  transport_->read_some(asio::buffer(chunk_), [self = shared_from_this()](error_code ec, size_t count) {
    self->reading_ = false;
    self->on_read(ec, count);
  });
}

void Connection::on_read(error_code ec, size_t count) {
  if (state_ == State::kClosed) return;
  // A client may go as soon as it has all: whether it has is known when the write is done. The end is told only once.
  if (ec == asio::error::eof && state_ == State::kAnswering && last_queued_ && write_pending_) {
    client_gone_ = true;
    return;
  }
  if (ec) return close();
  if (state_ != State::kLinger) input_.append(chunk_.data(), count);
  if (state_ == State::kBody) arm(shared_.limits.body_idle);
  if (socket() != nullptr) read_socket();
  process();
  read();
}

void Connection::process() {
  while (state_ == State::kIdle || state_ == State::kHeader || state_ == State::kBody) {
    if (state_ == State::kIdle) {
      if (input_.empty()) return;
      begin_request();
      arm(shared_.limits.header_time);
    }
    if (!feed()) return;
    dispatch();
  }
}

void Connection::begin_request() {
  state_ = State::kHeader;
  parser_.emplace();
  parser_->header_limit(static_cast<uint32_t>(shared_.limits.header_bytes));
  parser_->body_limit(shared_.limits.body_bytes);
  request_ = {};
  request_.id = random_id("req_");
  request_.peer = peer_;
  admission_ = {};
}

/// Gives the parser what has come. True when the request is complete; false when more is needed or it was refused.
bool Connection::feed() {
  while (!parser_->is_done()) {
    if (input_.empty()) return false;
    error_code ec;
    const size_t used = parser_->put(asio::buffer(input_), ec);
    input_.erase(0, used);
    if (ec == http::error::need_more) return false;
    if (ec) {
      parse_failed(ec);
      return false;
    }
    if (state_ == State::kHeader && parser_->is_header_done() && !on_header()) return false;
    if (state_ == State::kBody && parser_->chunked() && !reserve_body(used)) return false;
    if (state_ == State::kBody && std::chrono::steady_clock::now() - body_start_ > shared_.limits.body_time) {
      refuse(408, "the body of the request took too long to come");
      return false;
    }
    if (used == 0) return false;
  }
  return true;
}

void Connection::parse_failed(error_code ec) {
  if (ec == http::error::header_limit) {
    return refuse(431, fmt::format("the head of the request is larger than {} bytes", shared_.limits.header_bytes));
  }
  if (ec == http::error::body_limit) {
    return refuse(413, fmt::format("the body is larger than {} bytes", shared_.limits.body_bytes));
  }
  refuse(400, "the request is no valid HTTP: " + ec.message());
}

/// Judges the head of a request. False if it was refused.
bool Connection::on_header() {
  state_ = State::kBody;
  body_start_ = std::chrono::steady_clock::now();
  if (const char* wrong = read_head()) {
    refuse(400, wrong);
    return false;
  }
  admission_ = shared_.app.admit(request_);
  if (admission_.refusal) {
    // A body that was not read would be taken for the next request.
    answer_directly(std::move(*admission_.refusal), parser_->is_done() && parser_->keep_alive());
    return false;
  }
  if (const auto length = parser_->content_length(); length && !reserve_body(*length)) return false;
  const std::string_view expect = request_.header("expect");
  if (boost::beast::iequals(expect, "100-continue")) {
    output_ += "HTTP/1.1 100 Continue\r\n\r\n";
    write_next();
  } else if (!expect.empty()) {
    refuse(417, "the header Expect knows only 100-continue");
    return false;
  }
  arm(shared_.limits.body_idle);
  return true;
}

/// Fills request_. What is wrong with it, or null.
const char* Connection::read_head() {
  const auto& message = parser_->get();
  request_.method = std::string(message.method_string());
  int hosts = 0;
  bool chunked_only = true;
  for (const auto& field : message) {
    Header header{lower_case(field.name_string()), std::string(field.value())};
    hosts += header.name == "host" ? 1 : 0;
    if (header.name == "upgrade" && message.version() < 11) continue;  // has no meaning there
    if (header.name == "transfer-encoding") chunked_only &= boost::beast::iequals(header.value, "chunked");
    request_.headers.push_back(std::move(header));
  }
  if (!read_target(message.target(), request_)) return "the request target is no path";
  if (message.version() != 11 && message.version() != 10) return "the server speaks HTTP/1.1 and HTTP/1.0";
  if (hosts > 1 || (hosts == 0 && message.version() == 11)) return "a request needs exactly one header Host";
  if (!chunked_only) return "the header Transfer-Encoding knows only chunked";
  return nullptr;
}

/// False, and the request refused, if the server holds too much already.
bool Connection::reserve_body(size_t bytes) {
  const size_t before = shared_.body_bytes.fetch_add(bytes);
  reserved_ += bytes;
  if (before + bytes <= shared_.limits.bodies_bytes) return true;
  refuse(503, "the server holds too many large requests; try again soon");
  return false;
}

void Connection::release_body() {
  shared_.body_bytes -= std::exchange(reserved_, 0);
}

// ---- answering -----------------------------------------------------------------------------------------------------

void Connection::make_exchange(Handled handled, bool keep_alive) {
  const bool chunked = !parser_->is_header_done() || parser_->get().version() == 11;
  exchange_ = std::make_shared<ExchangeImpl>(
      shared_from_this(), std::move(request_), shared_.limits,
      ExchangeImpl::Manner{.chunked = chunked, .keep_alive = keep_alive && chunked && !shared_.draining});
  exchange_->note.route = admission_.route;
  if (handled == Handled::kYes) exchange_->expect_handler();
  state_ = State::kAnswering;
  last_queued_ = false;
  disarm();
}

void Connection::dispatch() {
  request_.body = std::move(parser_->get().body());
  make_exchange(Handled::kYes, parser_->keep_alive());
  if (admission_.light) return run(exchange_);
  const auto task = [self = shared_from_this(), exchange = exchange_] { self->run(exchange); };
  if (!shared_.draining && shared_.workers.submit(task)) return;
  HttpResponse response = shared_.app.error(
      exchange_->request(), 503,
      shared_.draining ? "the server is shutting down" : "the server is busy: too many requests are waiting");
  exchange_->send(std::move(response));
  exchange_->handler_done(shared_.app);
}

/// On a worker's thread, or for light requests on the strand.
void Connection::run(const std::shared_ptr<ExchangeImpl>& exchange) {
  if (exchange->cancelled()) {
    exchange->send(shared_.app.error(exchange->request(), 503, "the server is shutting down"));
  } else {
    shared_.app.handle(*exchange);
  }
  if (!exchange->answered()) {
    exchange->send(shared_.app.error(exchange->request(), 500, "internal error"));
  } else if (!exchange->complete()) {
    exchange->end();
  }
  exchange->handler_done(shared_.app);
}

void Connection::answer_directly(HttpResponse response, bool keep_alive) {
  make_exchange(Handled::kNo, keep_alive);
  exchange_->send(std::move(response));
}

void Connection::refuse(int status, std::string_view message) {
  HttpResponse response = shared_.app.error(request_, status, message);
  answer_directly(std::move(response), false);
}

void Connection::post_output(std::shared_ptr<ExchangeImpl> exchange, std::string bytes, bool last) {
  asio::post(strand_, [self = shared_from_this(), exchange = std::move(exchange), bytes = std::move(bytes), last] {
    self->queue_output(exchange, bytes, last);
  });
}

void Connection::queue_output(const std::shared_ptr<ExchangeImpl>& exchange, std::string bytes, bool last) {
  if (state_ != State::kAnswering || exchange != exchange_) return;
  if (close_queued_) {  // nothing may follow
    exchange->taken(bytes.size());
    bytes.clear();
  }
  output_ += bytes;
  last_queued_ |= last;
  if (last) release_body();  // before the client can know, who may send the next one at once
  if (output_.empty() && last && !write_pending_) return answer_complete();
  write_next();
}

void Connection::write_next() {
  if (write_pending_) return;
  if (written_ == writing_.size()) {
    writing_ = std::exchange(output_, {});
    written_ = 0;
  }
  if (writing_.empty()) return;
  const size_t count = std::min(writing_.size() - written_, kWriteBytes);
  if (state_ == State::kAnswering) arm(shared_.limits.write_idle);
  write_pending_ = true;
  transport_->write(asio::buffer(writing_.data() + written_, count),
                    [self = shared_from_this()](error_code ec, size_t written) {
                      self->write_pending_ = false;
                      self->on_written(ec, written);
                    });
}

void Connection::on_written(error_code ec, size_t count) {
  if (state_ == State::kClosed) return;
  if (ec) return close();
  written_ += count;
  if (exchange_) exchange_->taken(count);
  if (written_ < writing_.size() || !output_.empty()) return write_next();
  if (state_ != State::kAnswering) return;
  disarm();
  if (last_queued_) answer_complete();
}

void Connection::answer_complete() {
  const std::shared_ptr<ExchangeImpl> exchange = std::move(exchange_);
  exchange_.reset();
  ping_timer_.cancel();
  exchange->connection_done(shared_.app, true);
  release_body();
  if (client_gone_) return close();
  if (!exchange->keep_alive() || shared_.draining) return linger();
  state_ = State::kIdle;
  arm(shared_.limits.keep_alive);
  process();
  read();
}

/// Says that nothing more will come and waits for the client to close: closing with unread bytes would make the system
/// throw away the answer.
void Connection::linger() {
  state_ = State::kLinger;
  input_.clear();
  transport_->shutdown_send();
  arm(kLingerTime);
  read();
}

void Connection::close() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  disarm();
  ping_timer_.cancel();
  transport_->close();
  if (const auto exchange = std::exchange(exchange_, nullptr)) {
    exchange->cancel();
    exchange->connection_done(shared_.app, close_queued_);  // a WebSocket that had its close frame ended well
  }
  release_body();
  on_closed_();
}

// ---- time ----------------------------------------------------------------------------------------------------------

void Connection::arm(std::chrono::milliseconds time) {
  const uint64_t generation = ++timer_generation_;
  timer_.expires_after(time);
  timer_.async_wait([weak = weak_from_this(), generation](error_code ec) {
    const auto self = weak.lock();
    if (!ec && self && self->timer_generation_ == generation) self->on_timeout();
  });
}

void Connection::disarm() {
  ++timer_generation_;
  timer_.cancel();
}

void Connection::on_timeout() {
  if (state_ == State::kHeader) return refuse(408, "the head of the request took too long to come");
  if (state_ == State::kBody) return refuse(408, "the body of the request took too long to come");
  if (socket() != nullptr && !close_queued_) return give_up_socket();
  close();
}

}  // namespace minicpm::server

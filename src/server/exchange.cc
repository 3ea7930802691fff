// A request that is being answered: what its handler writes, framed for the wire.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include "server/connection.h"
#include "server/websocket.h"

namespace minicpm::server {
namespace {

std::string http_date() {
  return fmt::format("{:%a, %d %b %Y %H:%M:%S} GMT", fmt::gmtime(std::time(nullptr)));
}

std::string chunk(std::string_view piece) {
  return fmt::format("{:x}\r\n{}\r\n", piece.size(), piece);
}

}  // namespace

ExchangeImpl::ExchangeImpl(std::shared_ptr<Connection> connection, HttpRequest request, const HttpLimits& limits,
                           Manner manner)
    : connection_(std::move(connection)), request_(std::move(request)), limits_(limits), manner_(manner) {}

ExchangeImpl::~ExchangeImpl() = default;

std::string ExchangeImpl::head_of(const HttpResponse& response, bool known_length) const {
  std::string head = fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\nX-Request-Id: {}\r\n", response.status,
                                 reason_phrase(response.status), http_date(), request_.id);
  if (!response.content_type.empty()) head += fmt::format("Content-Type: {}\r\n", response.content_type);
  if (known_length) {
    if (response.status != 204 && response.status != 304) head += fmt::format("Content-Length: {}\r\n", response.body.size());
  } else if (manner_.chunked) {
    head += "Transfer-Encoding: chunked\r\n";
  }
  for (const auto* list : {&response.headers, &common_headers}) {
    for (const Header& header : *list)
      head += fmt::format("{}: {}\r\n", header.name, header.value);
  }
  head += "X-Content-Type-Options: nosniff\r\n";
  const auto cached = [](const Header& header) { return header.name == "Cache-Control"; };
  if (std::ranges::none_of(response.headers, cached)) head += "Cache-Control: no-store\r\n";
  if (!manner_.keep_alive) head += "Connection: close\r\n";
  return head + "\r\n";
}

void ExchangeImpl::post(std::string bytes, bool last) {
  bytes_out_ += bytes.size();
  if (last) complete_ = true;
  connection_->post_output(shared_from_this(), std::move(bytes), last);
}

void ExchangeImpl::send(HttpResponse response) {
  status_ = response.status;
  std::string bytes = head_of(response, true);
  if (request_.method != "HEAD") bytes += response.body;
  post(std::move(bytes), true);
}

void ExchangeImpl::begin(HttpResponse head) {
  status_ = head.status;
  std::string bytes = head_of(head, false);
  if (!head.body.empty()) bytes += manner_.chunked ? chunk(head.body) : head.body;
  post(std::move(bytes), false);
}

bool ExchangeImpl::write(std::string_view piece) {
  if (piece.empty()) return !cancelled_;
  std::string bytes = manner_.chunked && !upgraded_ ? chunk(piece) : std::string(piece);
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return cancelled_ || untaken_ < limits_.output_bytes; });
    if (cancelled_) return false;
    untaken_ += bytes.size();
  }
  post(std::move(bytes), false);
  return true;
}

WebSocket& ExchangeImpl::upgrade(std::string_view protocol) {
  status_ = 101;
  socket_ = std::make_unique<WebSocketImpl>(*this, connection_, limits_);
  std::string head = fmt::format(
      "HTTP/1.1 101 {}\r\nDate: {}\r\nX-Request-Id: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Accept: {}\r\n",
      reason_phrase(101), http_date(), request_.id, accept_key(request_.header("sec-websocket-key")).value_or(""));
  if (!protocol.empty()) head += fmt::format("Sec-WebSocket-Protocol: {}\r\n", protocol);
  for (const Header& header : common_headers)
    head += fmt::format("{}: {}\r\n", header.name, header.value);
  upgraded_ = true;
  if (cancelled_) socket_->end_of_messages();
  connection_->post_socket(shared_from_this(), head + "\r\n");
  return *socket_;
}

void ExchangeImpl::end() {
  if (upgraded_) {
    socket_->close(close_code::kNormal, "");
    return post("", true);
  }
  post(manner_.chunked ? "0\r\n\r\n" : "", true);
}

void ExchangeImpl::taken(size_t bytes) {
  {
    const std::scoped_lock lock(mutex_);
    untaken_ -= std::min(untaken_, bytes);  // heads are taken, too, but were never counted
  }
  changed_.notify_all();
}

void ExchangeImpl::cancel() {
  {
    const std::scoped_lock lock(mutex_);
    cancelled_ = true;
  }
  changed_.notify_all();
  if (upgraded_) socket_->end_of_messages();
}

void ExchangeImpl::connection_done(HttpApp& app, bool whole) {
  whole_ = whole;
  part_done(app);
}

void ExchangeImpl::part_done(HttpApp& app) {
  if (--parts_ > 0) return;
  using Milliseconds = std::chrono::duration<double, std::milli>;
  constexpr int kClientGone = 499;  // as nginx calls it
  app.finished({.id = request_.id,
                .peer = request_.peer,
                .method = request_.method,
                .path = request_.path,
                .note = note,
                .status = whole_ ? status_.load() : kClientGone,
                .bytes_out = bytes_out_,
                .milliseconds = Milliseconds(std::chrono::steady_clock::now() - start_).count()});
}

}  // namespace minicpm::server

#include "server/websocket.h"

#include <boost/asio/post.hpp>
#include <utility>

namespace minicpm::server {
namespace {

constexpr size_t kMaxPongs = 64u << 10;                // bytes that wait for a client that reads nothing
constexpr std::chrono::milliseconds kCloseTime{2000};  // for the close frame to go out to a client that reads nothing

}  // namespace

// ---- the handler's side --------------------------------------------------------------------------------------------

std::optional<WebSocket::Message> WebSocketImpl::receive(std::chrono::milliseconds wait) {
  std::optional<Message> message;
  bool was_full = false;
  {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, wait, [this] { return closed_ || !inbox_.empty(); });
    if (inbox_.empty()) return std::nullopt;
    was_full = bytes_ >= limits_.inbox_bytes;
    message = std::move(inbox_.front());
    inbox_.pop_front();
    bytes_ -= message->data.size();
  }
  if (was_full) connection_->resume();
  return message;
}

bool WebSocketImpl::send(std::string_view text) {
  return !closed() && exchange_.write(frame(FrameKind::kText, text)) && !closed();
}

void WebSocketImpl::close(int code, std::string_view reason) {
  end_of_messages();
  connection_->post_close(code, std::string(reason));
}

bool WebSocketImpl::closed() const {
  const std::scoped_lock lock(mutex_);
  return closed_;
}

void WebSocketImpl::add(Message message) {
  {
    const std::scoped_lock lock(mutex_);
    if (closed_) return;
    bytes_ += message.data.size();
    inbox_.push_back(std::move(message));
  }
  changed_.notify_all();
}

bool WebSocketImpl::full() const {
  const std::scoped_lock lock(mutex_);
  return !closed_ && bytes_ >= limits_.inbox_bytes;
}

void WebSocketImpl::end_of_messages() {
  {
    const std::scoped_lock lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
}

// ---- the connection's side -----------------------------------------------------------------------------------------

void Connection::post_socket(std::shared_ptr<ExchangeImpl> exchange, std::string head) {
  asio::post(strand_, [self = shared_from_this(), exchange = std::move(exchange), head = std::move(head)] {
    if (self->state_ != State::kAnswering || exchange != self->exchange_) return;
    self->frames_.emplace(FrameLimits{self->shared_.limits.message_bytes, self->shared_.limits.fragments});
    self->queue_output(exchange, head, false);
    self->last_heard_ = std::chrono::steady_clock::now();
    self->ping_later();
    self->read_socket();  // what came ahead of the answer
    self->read();
    if (self->shared_.draining) self->close_socket(close_code::kGoingAway, "the server is shutting down");
  });
}

void Connection::post_close(int code, std::string reason) {
  asio::post(strand_, [self = shared_from_this(), code, reason = std::move(reason)] {
    if (self->socket() != nullptr) self->close_socket(code, reason);
  });
}

void Connection::resume() {
  asio::post(strand_, [self = shared_from_this()] {
    if (self->socket() != nullptr) self->read_socket();
    self->read();
  });
}

/// Null while the connection is none.
WebSocketImpl* Connection::socket() const {
  return frames_ && exchange_ ? exchange_->socket() : nullptr;
}

/// What has come, up to what the handler still has room for.
void Connection::read_socket() {
  last_heard_ = std::chrono::steady_clock::now();
  if (close_queued_) {
    // Only the client's own close frame is still of interest, and after it the connection ends anyway.
    input_.clear();
    return;
  }
  std::string_view rest = input_;
  while (!rest.empty() && !close_queued_ && !socket()->full())
    on_socket_event(frames_->next(rest));
  input_.erase(0, input_.size() - rest.size());
}

void Connection::on_socket_event(SocketEvent event) {
  switch (event.kind) {
    case SocketEvent::Kind::kText:
    case SocketEvent::Kind::kBinary:
      return socket()->add({event.kind == SocketEvent::Kind::kText, std::move(event.data)});
    case SocketEvent::Kind::kPing:
      if (output_.size() < kMaxPongs) output_ += frame(FrameKind::kPong, event.data);
      return write_next();
    case SocketEvent::Kind::kClose:
    case SocketEvent::Kind::kFailed:
      return close_socket(event.code, event.kind == SocketEvent::Kind::kFailed ? event.data : "");
    case SocketEvent::Kind::kPong:
    case SocketEvent::Kind::kNone:
      break;
  }
}

/// The last frame; the handler's end closes the connection.
void Connection::close_socket(int code, std::string_view reason) {
  if (std::exchange(close_queued_, true)) return;
  ping_timer_.cancel();
  output_ += close_frame(code, reason);
  write_next();
  socket()->end_of_messages();
  exchange_->cancel();
}

/// A client that takes nothing gets a last word where it begins to read again.
void Connection::give_up_socket() {
  output_.clear();
  close_socket(close_code::kPolicy, "the client is too slow");
  arm(kCloseTime);
}

void Connection::ping_later() {
  ping_timer_.expires_after(shared_.limits.ping_every);
  ping_timer_.async_wait([weak = weak_from_this()](error_code ec) {
    const auto self = weak.lock();
    if (ec || !self || self->socket() == nullptr || self->close_queued_) return;
    const bool silent = std::chrono::steady_clock::now() - self->last_heard_ >= self->shared_.limits.socket_idle;
    // While nothing is read, nothing can be heard.
    if (silent && !self->socket()->full()) return self->close_socket(close_code::kPolicy, "nothing came for too long");
    self->output_ += frame(FrameKind::kPing, "");
    self->write_next();
    self->ping_later();
  });
}

}  // namespace minicpm::server

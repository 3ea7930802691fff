// The WebSocket of an exchange: messages between its connection and its handler. Internal to the HTTP layer.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "server/connection.h"

namespace minicpm::server {

class WebSocketImpl : public WebSocket {
 public:
  /// The exchange owns it.
  WebSocketImpl(ExchangeImpl& exchange, std::shared_ptr<Connection> connection, const HttpLimits& limits)
      : exchange_(exchange), connection_(std::move(connection)), limits_(limits) {}

  std::optional<Message> receive(std::chrono::milliseconds wait) override;
  bool send(std::string_view text) override;
  void close(int code, std::string_view reason) override;
  bool closed() const override;

  /// For the connection.
  void add(Message message);
  bool full() const;       // nothing more is to be read until resume() is called
  void end_of_messages();  // what has come can still be taken

 private:
  ExchangeImpl& exchange_;
  const std::shared_ptr<Connection> connection_;
  const HttpLimits& limits_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Message> inbox_;
  size_t bytes_ = 0;  // of inbox_
  bool closed_ = false;
};

}  // namespace minicpm::server

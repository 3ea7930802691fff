// A raw WebSocket client that can break every rule.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "server/client.h"

namespace minicpm::server {

enum Opcode { kMore = 0, kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10 };

struct ClientFrame {
  int opcode = kText;
  std::string data = {};
  bool final = true, masked = true;
  int reserved = 0;     // the three bits for extensions
  int length_form = 0;  // 126 or 127: a longer form of the length than is needed
};
std::string frame_bytes(const ClientFrame& frame);

class SocketClient {
 public:
  static HeaderList handshake_headers(HeaderList more = {});
  /// Sends the handshake; reply() is the answer to it.
  SocketClient(int port, std::string_view path, const HeaderList& more = {}, std::string_view bytes_behind = {});

  const Reply& reply() const { return reply_; }
  void send(const ClientFrame& frame) { client_.send(frame_bytes(frame)); }
  void tell(const Json& event) { send({.data = event.dump()}); }
  void send_bytes(std::string_view bytes) { client_.send(bytes); }

  struct Frame {
    int opcode = 0;
    std::string data;
    int close_code() const;  // of a close frame; 1005: it has none
  };
  /// The next frame; nothing when the connection ends.
  std::optional<Frame> receive();
  /// The code of the close frame that comes, whatever comes before it; 0: none does.
  int close_code();
  /// The next event of this type; those before it are dropped. An empty one when the connection ends.
  Json wait_for(std::string_view type);

  Client& connection() { return client_; }

 private:
  Client client_;
  Reply reply_;
};

}  // namespace minicpm::server

// Frames of WebSockets from hostile clients, cut into pieces as the network does. The first byte says how.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "server/websocket_frames.h"
#include "text/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using minicpm::server::SocketEvent;
  if (size == 0) return 0;
  constexpr minicpm::server::FrameLimits kLimits{.message_bytes = 4096, .fragments = 8};
  minicpm::server::FrameReader reader(kLimits);
  const size_t step = data[0] % 64 + 1;
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  bool ended = false;
  while (!rest.empty()) {
    std::string_view piece = rest.substr(0, step);
    rest.remove_prefix(piece.size());
    while (!piece.empty()) {
      const SocketEvent event = reader.next(piece);
      if (ended && event.kind != SocketEvent::Kind::kNone) std::abort();
      ended |= event.kind == SocketEvent::Kind::kFailed || event.kind == SocketEvent::Kind::kClose;
      if (event.data.size() > kLimits.message_bytes || reader.held() > kLimits.message_bytes + 125) std::abort();
      const bool text = event.kind == SocketEvent::Kind::kText || event.kind == SocketEvent::Kind::kClose;
      if (text && minicpm::valid_utf8_prefix(event.data) < event.data.size()) std::abort();
    }
  }
  minicpm::server::accept_key({reinterpret_cast<const char*>(data), size});
  return 0;
}

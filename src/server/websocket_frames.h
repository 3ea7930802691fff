// Frames of WebSockets (RFC 6455), without any I/O: reading what clients send, writing what they get, and the answer
// to their handshake.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace minicpm::server {

/// Status codes of close frames (RFC 6455, section 7.4.1, and the registry of IANA).
namespace close_code {
inline constexpr int kNormal = 1000, kGoingAway = 1001, kProtocolError = 1002, kNoCode = 1005, kNotUtf8 = 1007,
                     kPolicy = 1008, kTooBig = 1009, kInternal = 1011, kTryLater = 1013;
}  // namespace close_code

struct FrameLimits {
  size_t message_bytes = 16u << 20;
  size_t fragments = 1024;  // of one message
};

struct SocketEvent {
  enum class Kind {
    kNone,    // more bytes are needed
    kText,    // a whole message, UTF-8
    kBinary,  // likewise, any bytes
    kPing,
    kPong,
    kClose,   // `code` (kNoCode where there is none), and the reason as data
    kFailed,  // the client broke the rules: `code` and a sentence; nothing can be read any more
  };
  Kind kind = Kind::kNone;
  std::string data;
  int code = 0;
};

/// Reads frames as a server: they must be masked, without extensions.
class FrameReader {
 public:
  explicit FrameReader(const FrameLimits& limits) : limits_(limits) {}

  /// Takes bytes from the front of `input` until there is an event.
  SocketEvent next(std::string_view& input);
  /// Bytes of a message that is not complete.
  size_t held() const { return message_.size() + control_.size(); }

 private:
  enum class Opcode : uint8_t { kContinuation = 0, kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10 };

  bool take_header(std::string_view& input);
  SocketEvent check_header();
  SocketEvent take_payload(std::string_view& input);
  SocketEvent frame_complete();
  SocketEvent close_frame();
  SocketEvent failed(int code, std::string reason);
  bool is_control() const { return static_cast<uint8_t>(opcode_) >= 8; }

  const FrameLimits limits_;
  bool failed_ = false;
  std::string header_;     // of the present frame, not yet complete
  bool in_frame_ = false;  // the header is read
  bool final_ = false;
  Opcode opcode_ = Opcode::kText;
  uint64_t left_ = 0;  // payload bytes to come
  uint8_t mask_[4] = {};
  size_t masked_ = 0;  // payload bytes seen

  bool in_message_ = false;  // fragments are still to come
  Opcode message_kind_ = Opcode::kText;
  size_t fragments_ = 0;
  size_t checked_ = 0;  // bytes of message_ that are known to be UTF-8
  std::string message_, control_;
};

enum class FrameKind : uint8_t { kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10 };
/// One whole frame as a server writes it.
std::string frame(FrameKind kind, std::string_view payload);
/// A close frame; reasons are cut to what it may hold.
std::string close_frame(int code, std::string_view reason);

/// The value of Sec-WebSocket-Accept for the client's Sec-WebSocket-Key. Nothing if that is no key.
std::optional<std::string> accept_key(std::string_view key);

}  // namespace minicpm::server

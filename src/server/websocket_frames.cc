#include "server/websocket_frames.h"

#include <fmt/format.h>
#include <openssl/sha.h>

#include <algorithm>
#include <utility>

#include "base/base64.h"
#include "text/utf8.h"

namespace minicpm::server {
namespace {

constexpr size_t kMostControl = 125;  // payload bytes of a control frame

/// Codes that an endpoint may send: those of the registry, and those of applications.
bool may_be_sent(int code) {
  const bool registered = code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006;
  return registered || (code >= 3000 && code <= 4999);
}

/// Whether more bytes could make `text` valid UTF-8. `checked`: bytes known to be valid; raised.
bool may_become_utf8(std::string_view text, size_t& checked) {
  checked += valid_utf8_prefix(text.substr(checked));
  if (checked == text.size()) return true;
  return next_utf8(text.substr(checked)).kind == Utf8Step::Kind::kIncomplete;
}

}  // namespace

SocketEvent FrameReader::failed(int code, std::string reason) {
  failed_ = true;
  message_.clear();
  return {SocketEvent::Kind::kFailed, std::move(reason), code};
}

SocketEvent FrameReader::next(std::string_view& input) {
  while (!failed_) {
    if (!in_frame_) {
      if (!take_header(input)) return {};
      if (SocketEvent event = check_header(); event.kind != SocketEvent::Kind::kNone) return event;
    }
    if (input.empty() && left_ > 0) return {};
    if (SocketEvent event = take_payload(input); event.kind != SocketEvent::Kind::kNone) return event;
  }
  input = {};
  return {};
}

/// True when the header is complete.
bool FrameReader::take_header(std::string_view& input) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(header_[i]); };
  size_t needed = 2;
  while (true) {
    if (header_.size() >= 2) {
      const size_t length = byte(1) & 0x7F;
      needed = 2 + (length == 127 ? 8 : length == 126 ? 2 : 0) + ((byte(1) & 0x80) != 0 ? 4 : 0);
    }
    if (header_.size() == needed) break;
    if (input.empty()) return false;
    const size_t count = std::min(input.size(), needed - header_.size());
    header_.append(input.substr(0, count));
    input.remove_prefix(count);
  }
  size_t at = 2;
  left_ = byte(1) & 0x7F;
  if (const size_t bytes = left_ == 127 ? 8 : left_ == 126 ? 2 : 0; bytes > 0) {
    left_ = 0;
    for (; at < 2 + bytes; ++at)
      left_ = left_ << 8 | byte(at);
  }
  for (uint8_t& mask : mask_)
    mask = at < header_.size() ? byte(at++) : 0;
  masked_ = 0;
  return true;
}

SocketEvent FrameReader::check_header() {
  const auto first = static_cast<uint8_t>(header_[0]), second = static_cast<uint8_t>(header_[1]);
  const bool shortest = (second & 0x7F) < 126 || left_ > ((second & 0x7F) == 126 ? 125u : 65535u);
  header_.clear();
  in_frame_ = true;
  final_ = (first & 0x80) != 0;
  opcode_ = static_cast<Opcode>(first & 0x0F);
  if ((first & 0x70) != 0) return failed(close_code::kProtocolError, "a frame uses an extension");
  if ((second & 0x80) == 0) return failed(close_code::kProtocolError, "a frame is not masked");
  if (!shortest || left_ >> 63 != 0) return failed(close_code::kProtocolError, "a length is written wrongly");
  switch (opcode_) {
    case Opcode::kClose:
    case Opcode::kPing:
    case Opcode::kPong:
      if (final_ && left_ <= kMostControl) return {};
      return failed(close_code::kProtocolError, "a control frame is too long or in fragments");
    case Opcode::kContinuation:
      if (!in_message_) return failed(close_code::kProtocolError, "a fragment without a beginning");
      break;
    case Opcode::kText:
    case Opcode::kBinary:
      if (in_message_) return failed(close_code::kProtocolError, "a message within another one");
      in_message_ = true;
      message_kind_ = opcode_;
      fragments_ = checked_ = 0;
      break;
    default:
      return failed(close_code::kProtocolError, "an unknown kind of frame");
  }
  if (++fragments_ > limits_.fragments) {
    return failed(close_code::kPolicy, fmt::format("a message in more than {} fragments", limits_.fragments));
  }
  if (left_ > limits_.message_bytes - message_.size()) {
    return failed(close_code::kTooBig, fmt::format("a message of more than {} bytes", limits_.message_bytes));
  }
  return {};
}

SocketEvent FrameReader::take_payload(std::string_view& input) {
  std::string& data = is_control() ? control_ : message_;
  const size_t count = static_cast<size_t>(std::min<uint64_t>(left_, input.size()));
  for (const char c : input.substr(0, count))
    data += static_cast<char>(static_cast<uint8_t>(c) ^ mask_[masked_++ % 4]);
  input.remove_prefix(count);
  left_ -= count;
  if (!is_control() && message_kind_ == Opcode::kText && !may_become_utf8(message_, checked_)) {
    return failed(close_code::kNotUtf8, "a text message is not UTF-8");
  }
  return left_ > 0 ? SocketEvent{} : frame_complete();
}

SocketEvent FrameReader::frame_complete() {
  using Kind = SocketEvent::Kind;
  in_frame_ = false;
  switch (opcode_) {
    case Opcode::kClose:
      return close_frame();
    case Opcode::kPing:
      return {Kind::kPing, std::exchange(control_, {}), 0};
    case Opcode::kPong:
      return {Kind::kPong, std::exchange(control_, {}), 0};
    default:
      break;
  }
  if (!final_) return {};
  in_message_ = false;
  const bool text = message_kind_ == Opcode::kText;
  if (text && checked_ < message_.size()) return failed(close_code::kNotUtf8, "a text message is not UTF-8");
  return {text ? Kind::kText : Kind::kBinary, std::exchange(message_, {}), 0};
}

SocketEvent FrameReader::close_frame() {
  const std::string data = std::exchange(control_, {});
  failed_ = true;  // nothing comes behind a close frame
  if (data.empty()) return {SocketEvent::Kind::kClose, {}, close_code::kNoCode};
  if (data.size() < 2) return failed(close_code::kProtocolError, "a close frame with half a code");
  const int code = static_cast<uint8_t>(data[0]) << 8 | static_cast<uint8_t>(data[1]);
  if (!may_be_sent(code)) return failed(close_code::kProtocolError, "a close frame with an invalid code");
  const std::string reason = data.substr(2);
  if (valid_utf8_prefix(reason) < reason.size()) return failed(close_code::kNotUtf8, "a reason is not UTF-8");
  return {SocketEvent::Kind::kClose, reason, code};
}

std::string frame(FrameKind kind, std::string_view payload) {
  std::string bytes(1, static_cast<char>(0x80 | static_cast<uint8_t>(kind)));
  const uint64_t length = payload.size();
  const int extra = length < 126 ? 0 : length < 65536 ? 2 : 8;
  bytes += static_cast<char>(extra == 0 ? length : extra == 2 ? 126 : 127);
  for (int i = extra - 1; i >= 0; --i)
    bytes += static_cast<char>(length >> (8 * i) & 0xFF);
  bytes += payload;
  return bytes;
}

std::string close_frame(int code, std::string_view reason) {
  std::string payload;
  if (code != close_code::kNoCode) {
    payload = {static_cast<char>(code >> 8), static_cast<char>(code & 0xFF)};
    reason = reason.substr(0, kMostControl - 2);
    payload += reason.substr(0, valid_utf8_prefix(reason));
  }
  return frame(FrameKind::kClose, payload);
}

std::optional<std::string> accept_key(std::string_view key) {
  constexpr std::string_view kGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";  // RFC 6455, section 1.3
  constexpr size_t kKeyBytes = 16;
  const auto bytes = decode_base64(key);
  if (!bytes || bytes->size() != kKeyBytes || key.size() != 24) return std::nullopt;
  const std::string text = std::string(key) + std::string(kGuid);
  std::string digest(SHA_DIGEST_LENGTH, '\0');
  SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(),
       reinterpret_cast<unsigned char*>(digest.data()));
  return encode_base64(digest);
}

}  // namespace minicpm::server

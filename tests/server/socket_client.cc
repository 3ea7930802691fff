#include "server/socket_client.h"

namespace minicpm::server {

std::string frame_bytes(const ClientFrame& frame) {
  std::string bytes(1, static_cast<char>((frame.final ? 0x80 : 0) | frame.reserved << 4 | frame.opcode));
  const size_t size = frame.data.size();
  const int form = frame.length_form > 0 ? frame.length_form : size < 126 ? 0 : size < 65536 ? 126 : 127;
  bytes += static_cast<char>((frame.masked ? 0x80 : 0) | (form == 0 ? static_cast<int>(size) : form));
  for (int i = form == 0 ? -1 : form == 126 ? 1 : 7; i >= 0; --i)
    bytes += static_cast<char>(static_cast<uint64_t>(size) >> (8 * i) & 0xFF);
  if (!frame.masked) return bytes + frame.data;
  const std::string mask = "\x12\xFE\x07\x99";
  bytes += mask;
  for (size_t i = 0; i < size; ++i)
    bytes += static_cast<char>(frame.data[i] ^ mask[i % 4]);
  return bytes;
}

HeaderList SocketClient::handshake_headers(HeaderList more) {
  HeaderList headers = {{"Upgrade", "websocket"},
                        {"Connection", "keep-alive, Upgrade"},
                        {"Sec-WebSocket-Version", "13"},
                        {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}};
  headers.insert(headers.end(), more.begin(), more.end());
  return headers;
}

SocketClient::SocketClient(int port, std::string_view path, const HeaderList& more, std::string_view bytes_behind)
    : client_(port) {
  client_.send(request_text("GET", path, {}, handshake_headers(more)) + std::string(bytes_behind));
  reply_ = client_.receive(true);
  if (reply_.status == 101 || reply_.headers.count("content-length") == 0) return;
  reply_.body = client_.read(std::stoul(reply_.headers["content-length"]));
}

int SocketClient::Frame::close_code() const {
  if (data.size() < 2) return 1005;
  return static_cast<uint8_t>(data[0]) << 8 | static_cast<uint8_t>(data[1]);
}

std::optional<SocketClient::Frame> SocketClient::receive() {
  const std::string head = client_.read(2);
  if (head.size() < 2) return std::nullopt;
  size_t length = static_cast<uint8_t>(head[1]);
  if (length >= 126) {
    const std::string longer = client_.read(length == 126 ? 2 : 8);
    length = 0;
    for (const char c : longer)
      length = length << 8 | static_cast<uint8_t>(c);
  }
  Frame frame{static_cast<uint8_t>(head[0]) & 15, client_.read(length)};
  if (frame.data.size() < length) return std::nullopt;
  return frame;
}

int SocketClient::close_code() {
  while (const auto frame = receive()) {
    if (frame->opcode == kClose) return frame->close_code();
  }
  return 0;
}

Json SocketClient::wait_for(std::string_view type) {
  while (const auto frame = receive()) {
    if (frame->opcode != kText) continue;
    Json event = parse_json(frame->data, "event");
    if (event.at("type") == type) return event;
  }
  return Json::object();
}

}  // namespace minicpm::server

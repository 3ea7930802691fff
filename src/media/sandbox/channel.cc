#include "media/sandbox/channel.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

namespace minicpm::sandbox {
namespace {

constexpr int kWaitMilliseconds = 20;
constexpr uint64_t kLongestMessage = 16u << 20;  // two million indices of frames

struct MessageHead {
  MessageKind kind;
  uint64_t bytes;
};

}  // namespace

void Channel::pause(short events) {
  pollfd descriptor{socket_, events, 0};
  poll(&descriptor, 1, kWaitMilliseconds);
  if (wait_) wait_();
}

void Channel::send_bytes(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count >= 0) {
      bytes = bytes.subspan(static_cast<size_t>(count));
    } else if (errno == EAGAIN) {
      pause(POLLOUT);
    } else if (errno != EINTR) {
      throw ChannelClosed();
    }
  }
}

void Channel::receive_bytes(std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::recv(socket_, bytes.data(), bytes.size(), 0);
    if (count > 0) {
      bytes = bytes.subspan(static_cast<size_t>(count));
    } else if (count < 0 && errno == EAGAIN) {
      pause(POLLIN);
    } else if (count == 0 || errno != EINTR) {
      throw ChannelClosed();
    }
  }
}

void Channel::send(MessageKind kind, const Packer& content) {
  Packer all;
  all.add(MessageHead{kind, content.text().size()});
  send_bytes(std::as_bytes(std::span(all.text())));
  send_bytes(std::as_bytes(std::span(content.text())));
}

Message Channel::receive() {
  MessageHead head{};
  receive_bytes(std::as_writable_bytes(std::span(&head, 1)));
  if (head.bytes > kLongestMessage) fail(ErrorCode::kInternal, "a message of the media decoder is too long");
  Message message{head.kind, std::string(head.bytes, '\0')};
  receive_bytes(std::as_writable_bytes(std::span(message.content)));
  return message;
}

}  // namespace minicpm::sandbox

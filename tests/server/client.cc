#include "server/client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace minicpm::server {
namespace {

constexpr int kWaitMs = 30'000;

std::string lower(std::string text) {
  for (char& c : text)
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

}  // namespace

Client::Client(int port) : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    close(socket_);
    throw std::runtime_error(std::string("connect: ") + std::strerror(errno));
  }
}

Client::Client(Client&& other) noexcept
    : socket_(std::exchange(other.socket_, -1)), pending_(std::move(other.pending_)) {}

Client::~Client() {
  if (socket_ >= 0) close(socket_);
}

void Client::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(count));
  }
}

bool Client::read_more() {
  pollfd ready = {socket_, POLLIN, 0};
  if (poll(&ready, 1, kWaitMs) <= 0) return false;
  std::array<char, 1 << 16> buffer;
  const ssize_t count = recv(socket_, buffer.data(), buffer.size(), 0);
  if (count <= 0) return false;
  pending_.append(buffer.data(), static_cast<size_t>(count));
  return true;
}

bool Client::wait_for(std::string_view text) {
  while (pending_.find(text) == std::string::npos) {
    if (!read_more()) return false;
  }
  return true;
}

std::string Client::read(size_t count) {
  while (pending_.size() < count && read_more()) {
  }
  std::string bytes = pending_.substr(0, count);
  pending_.erase(0, bytes.size());
  return bytes;
}

bool Client::closes() {
  while (read_more())
    pending_.clear();
  char byte;
  return recv(socket_, &byte, 1, MSG_DONTWAIT) == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

void Client::reset() {
  const linger at_once = {1, 0};
  setsockopt(socket_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(std::exchange(socket_, -1));
}

Reply Client::receive(bool head_only) {
  Reply reply;
  do {
    if (!wait_for("\r\n\r\n")) return reply;
    std::istringstream head(pending_.substr(0, pending_.find("\r\n\r\n")));
    pending_.erase(0, pending_.find("\r\n\r\n") + 4);
    std::string version;
    head >> version >> reply.status;
    std::string line;
    std::getline(head, line);
    while (std::getline(head, line)) {
      const size_t colon = line.find(": ");
      if (!line.empty() && line.back() == '\r') line.pop_back();
      if (colon != std::string::npos) reply.headers[lower(line.substr(0, colon))] = line.substr(colon + 2);
    }
  } while (reply.status == 100);
  if (head_only || reply.status == 204) {
    reply.complete = true;
  } else if (reply.headers.count("content-length") > 0) {
    const size_t length = std::stoul(reply.headers["content-length"]);
    while (pending_.size() < length && read_more()) {
    }
    reply.complete = pending_.size() >= length;
    reply.body = pending_.substr(0, length);
    pending_.erase(0, length);
  } else if (reply.headers.count("transfer-encoding") > 0) {
    while (wait_for("\r\n")) {
      const size_t end = pending_.find("\r\n");
      const size_t size = std::stoul(pending_.substr(0, end), nullptr, 16);
      while (pending_.size() < end + 2 + size + 2 && read_more()) {
      }
      if (pending_.size() < end + 2 + size + 2) break;
      reply.body += pending_.substr(end + 2, size);
      pending_.erase(0, end + 2 + size + 2);
      reply.complete = size == 0;
      if (size == 0) break;
    }
  } else {
    while (read_more()) {
    }
    reply.body = std::exchange(pending_, {});
    reply.complete = true;
  }
  return reply;
}

std::string request_text(std::string_view method, std::string_view path, std::string_view body,
                         const HeaderList& headers) {
  std::string text = std::string(method) + " " + std::string(path) + " HTTP/1.1\r\n";
  bool host = false;
  for (const auto& [name, value] : headers) {
    host |= lower(name) == "host";
    text += name + ": " + value + "\r\n";
  }
  if (!host) text += "Host: localhost\r\n";
  if (!body.empty()) text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  return text + "\r\n" + std::string(body);
}

Reply ask(int port, std::string_view method, std::string_view path, std::string_view body, const HeaderList& headers) {
  Client client(port);
  client.send(request_text(method, path, body, headers));
  return client.receive(method == "HEAD");
}

Reply get(int port, std::string_view path) {
  return ask(port, "GET", path);
}

Reply post(int port, std::string_view path, const Json& body) {
  return ask(port, "POST", path, body.dump(), {{"Content-Type", "application/json"}});
}

Events events_of(const std::string& body) {
  Events events;
  std::istringstream lines(body);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("event: ")) events.names.push_back(line.substr(7));
    if (!line.starts_with("data: ")) continue;
    if (line == "data: [DONE]") {
      events.done = true;
    } else {
      events.data.push_back(parse_json(line.substr(6), "event"));
    }
  }
  return events;
}

std::vector<Json> lines_of(const std::string& body) {
  std::vector<Json> documents;
  std::istringstream lines(body);
  for (std::string line; std::getline(lines, line);)
    documents.push_back(parse_json(line, "line"));
  return documents;
}

}  // namespace minicpm::server

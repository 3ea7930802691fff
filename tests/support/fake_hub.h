// A model hub of our own on a loopback address, with a second server for large files as the real one has. Tests may
// answer any request in its place.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/json.h"
#include "hub/content_hash.h"

namespace minicpm::testing {

struct FakeRequest {
  std::string target;                          // "/a/b?c"
  std::map<std::string, std::string> headers;  // names in lower case
};

struct FakeReply {
  std::string bytes;  // as they go over the wire; the connection is closed behind them
  bool hold = false;  // or stays open, silent, until the server ends
};

/// One request for each connection, each on a thread of its own.
class FakeServer {
 public:
  using Handler = std::function<FakeReply(const FakeRequest&)>;

  explicit FakeServer(Handler handler, uint32_t listen_at = INADDR_LOOPBACK)
      : handler_(std::move(handler)), socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(listen_at);
    socklen_t size = sizeof address;
    if (::bind(socket_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(socket_, 64) != 0 ||
        ::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("no socket");
    }
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  ~FakeServer() {
    ended_ = true;
    acceptor_.join();
    for (std::thread& thread : threads_)
      thread.join();
    ::close(socket_);
  }
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;

  int port() const { return port_; }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  std::vector<FakeRequest> requests() {
    const std::scoped_lock lock(mutex_);
    return requests_;
  }

 private:
  bool readable(int socket) const {
    constexpr int kStepMs = 20;
    while (!ended_) {
      pollfd wait = {socket, POLLIN, 0};
      if (::poll(&wait, 1, kStepMs) > 0) return true;
    }
    return false;
  }

  void accept_all() {
    while (readable(socket_)) {
      const int connection = ::accept(socket_, nullptr, nullptr);
      if (connection >= 0) threads_.emplace_back([this, connection] { serve(connection); });
    }
  }

  void serve(int connection) {
    std::string head;
    char buffer[4096];
    while (head.find("\r\n\r\n") == std::string::npos && readable(connection)) {
      const ssize_t n = ::recv(connection, buffer, sizeof buffer, 0);
      if (n <= 0) break;
      head.append(buffer, static_cast<size_t>(n));
    }
    if (head.find("\r\n\r\n") != std::string::npos) answer(connection, parse(head));
    ::close(connection);
  }

  void answer(int connection, const FakeRequest& request) {
    {
      const std::scoped_lock lock(mutex_);
      requests_.push_back(request);
    }
    const FakeReply reply = handler_(request);
    for (size_t sent = 0; sent < reply.bytes.size();) {
      const ssize_t n = ::send(connection, reply.bytes.data() + sent, reply.bytes.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return;
      sent += static_cast<size_t>(n);
    }
    if (reply.hold) readable(connection);
  }

  static FakeRequest parse(const std::string& head) {
    FakeRequest request;
    const size_t blank = head.find(' ');
    request.target = head.substr(blank + 1, head.find(' ', blank + 1) - blank - 1);
    for (size_t at = head.find("\r\n") + 2; at < head.size();) {
      const size_t end = head.find("\r\n", at), colon = head.find(':', at);
      if (end == at || colon > end) break;
      std::string name = head.substr(at, colon - at);
      for (char& c : name)
        c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      request.headers[name] = head.substr(colon + 2, end - colon - 2);
      at = end + 2;
    }
    return request;
  }

  Handler handler_;
  int socket_;
  int port_ = 0;
  std::atomic<bool> ended_{false};
  std::mutex mutex_;
  std::vector<FakeRequest> requests_;
  std::vector<std::thread> threads_;  // of the acceptor
  std::thread acceptor_;
};

inline FakeReply http_reply(int status, const std::string& body, const std::string& header_lines = {}) {
  return {"HTTP/1.1 " + std::to_string(status) + " Status\r\n" + header_lines +
          "Content-Length: " + std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n" + body};
}

/// A file as it answers a request with or without a range.
inline FakeReply file_reply(const FakeRequest& request, const std::string& content, const std::string& lines = {}) {
  const auto range = request.headers.find("range");
  if (range == request.headers.end()) return http_reply(200, content, lines);
  const size_t begin = std::stoul(range->second.substr(std::string("bytes=").size()));
  if (begin >= content.size()) return http_reply(416, "");
  return http_reply(206, content.substr(begin),
                    lines + "Content-Range: bytes " + std::to_string(begin) + "-" + std::to_string(content.size() - 1) +
                        "/" + std::to_string(content.size()) + "\r\n");
}

class FakeHub {
 public:
  struct File {
    std::string path, content;
    bool large = false;  // kept by SHA-256, served by the second server
    std::string hash() const {
      hub::ContentHash hash(large ? hub::ContentHash::Kind::kSha256 : hub::ContentHash::Kind::kGitBlob, content.size());
      hash.add(content);
      return hash.finish();
    }
  };

  explicit FakeHub(std::string repository)
      : repository_(std::move(repository)),
        cdn_([this](const FakeRequest& request) { return guarded(request, cdn_hook, &FakeHub::cdn_answer); }),
        server_([this](const FakeRequest& request) { return guarded(request, hook, &FakeHub::answer); }) {}

  std::string url() const { return server_.url(); }
  FakeServer& server() { return server_; }
  FakeServer& cdn() { return cdn_; }

  /// All files of a folder; those above 10,000 bytes are large.
  void add_folder(const std::filesystem::path& folder) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
      if (!entry.is_regular_file()) continue;
      std::ifstream in(entry.path(), std::ios::binary);
      std::string content{std::istreambuf_iterator<char>(in), {}};
      const bool large = content.size() > 10'000;
      files.push_back({entry.path().lexically_relative(folder).generic_string(), std::move(content), large});
    }
  }

  std::string resolve_path(const std::string& path) const {
    return "/" + repository_ + "/resolve/" + commit + "/" + path;
  }
  Json list() const {
    Json siblings = Json::array();
    for (const File& file : files) {
      Json entry = {{"rfilename", file.path}, {"size", file.content.size()}, {"blobId", std::string(40, 'b')}};
      if (!file.large) entry["blobId"] = file.hash();
      if (file.large) entry["lfs"] = {{"sha256", file.hash()}, {"size", file.content.size()}, {"pointerSize", 134}};
      siblings.push_back(std::move(entry));
    }
    return {{"id", repository_}, {"sha", commit}, {"siblings", std::move(siblings)}};
  }

  // Set before the first request.
  std::vector<File> files;
  std::string commit = "0123456789abcdef0123456789abcdef01234567";
  using Hook = std::function<std::optional<FakeReply>(const FakeRequest&)>;
  Hook hook, cdn_hook;  // answer in place of the servers; called by one thread at a time

 private:
  FakeReply guarded(const FakeRequest& request, const Hook& first,
                    FakeReply (FakeHub::*next)(const FakeRequest&) const) {
    const std::scoped_lock lock(mutex_);
    if (first) {
      if (auto reply = first(request)) return *reply;
    }
    return (this->*next)(request);
  }

  FakeReply answer(const FakeRequest& request) const {
    if (request.target == "/api/models/" + repository_ + "/revision/main?blobs=true") {
      return http_reply(200, list().dump(), "Content-Type: application/json\r\n");
    }
    const std::string about = "X-Repo-Commit: " + commit + "\r\n";
    for (const File& file : files) {
      if (request.target != resolve_path(file.path)) continue;
      if (!file.large) return file_reply(request, file.content, about + "ETag: \"" + file.hash() + "\"\r\n");
      return http_reply(
          302, "",
          about + "X-Linked-Etag: \"" + file.hash() + "\"\r\nLocation: " + cdn_.url() + "/" + file.hash() + "\r\n");
    }
    return http_reply(404, "", "X-Error-Code: RepoNotFound\r\n");
  }

  FakeReply cdn_answer(const FakeRequest& request) const {
    for (const File& file : files) {
      if (request.target == "/" + file.hash()) return file_reply(request, file.content, "ETag: \"of-the-cdn\"\r\n");
    }
    return http_reply(404, "");
  }

  std::string repository_;
  std::mutex mutex_;
  FakeServer cdn_, server_;  // last: their threads use the rest
};

}  // namespace minicpm::testing

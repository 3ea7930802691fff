// A connection's bytes, plain or through TLS. Internal to the HTTP layer.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <functional>
#include <memory>
#include <string>

namespace minicpm::server {

namespace asio = boost::asio;
using boost::system::error_code;

/// All calls and completions on the socket's strand. At most one read and one write at a time.
class Transport {
 public:
  using Done = std::function<void(error_code, size_t)>;

  virtual ~Transport() = default;
  virtual void handshake(std::function<void(error_code)> done) = 0;
  virtual void read_some(asio::mutable_buffer buffer, Done done) = 0;
  /// All of `buffer`.
  virtual void write(asio::const_buffer buffer, Done done) = 0;
  virtual asio::ip::tcp::socket& socket() = 0;

  void shutdown_send();
  void close();
};

/// `context` null: plain.
std::unique_ptr<Transport> make_transport(asio::ip::tcp::socket socket, asio::ssl::context* context);

/// TLS 1.2 and later. Throws Error not_found, io, bad_file naming the file.
std::unique_ptr<asio::ssl::context> make_tls_context(const std::string& certificate, const std::string& key);

}  // namespace minicpm::server

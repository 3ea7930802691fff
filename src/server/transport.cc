#include "server/transport.h"

#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <utility>

#include "base/error.h"
#include "base/file_map.h"

namespace minicpm::server {
namespace {

using asio::ip::tcp;

constexpr size_t kMaxPemBytes = 1u << 20;

class PlainTransport : public Transport {
 public:
  explicit PlainTransport(tcp::socket socket) : socket_(std::move(socket)) {}
  void handshake(std::function<void(error_code)> done) override { done({}); }
  void read_some(asio::mutable_buffer buffer, Done done) override { socket_.async_read_some(buffer, std::move(done)); }
  void write(asio::const_buffer buffer, Done done) override { asio::async_write(socket_, buffer, std::move(done)); }
  tcp::socket& socket() override { return socket_; }

 private:
  tcp::socket socket_;
};

class TlsTransport : public Transport {
 public:
  TlsTransport(tcp::socket socket, asio::ssl::context& context) : stream_(std::move(socket), context) {}
  void handshake(std::function<void(error_code)> done) override {
    stream_.async_handshake(asio::ssl::stream_base::server, std::move(done));
  }
  void read_some(asio::mutable_buffer buffer, Done done) override { stream_.async_read_some(buffer, std::move(done)); }
  void write(asio::const_buffer buffer, Done done) override { asio::async_write(stream_, buffer, std::move(done)); }
  tcp::socket& socket() override { return stream_.next_layer(); }

 private:
  asio::ssl::stream<tcp::socket> stream_;
};

}  // namespace

void Transport::shutdown_send() {
  error_code ignored;
  socket().shutdown(tcp::socket::shutdown_send, ignored);
}

void Transport::close() {
  error_code ignored;
  socket().close(ignored);
}

std::unique_ptr<Transport> make_transport(tcp::socket socket, asio::ssl::context* context) {
  if (context == nullptr) return std::make_unique<PlainTransport>(std::move(socket));
  return std::make_unique<TlsTransport>(std::move(socket), *context);
}

std::unique_ptr<asio::ssl::context> make_tls_context(const std::string& certificate, const std::string& key) {
  auto context = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_server);
  using Options = asio::ssl::context;
  context->set_options(Options::default_workarounds | Options::no_sslv2 | Options::no_sslv3 | Options::no_tlsv1 |
                       Options::no_tlsv1_1 | Options::no_compression | Options::single_dh_use);
  // A key with a pass phrase is refused instead of asked for on the terminal.
  context->set_password_callback([](size_t, asio::ssl::context::password_purpose) { return std::string(); });
  const std::string chain = read_file(certificate, kMaxPemBytes), secret = read_file(key, kMaxPemBytes);
  error_code ec;
  context->use_certificate_chain(asio::buffer(chain), ec);
  if (ec) fail(ErrorCode::kBadFile, "{}: holds no certificate in PEM form", certificate);
  context->use_private_key(asio::buffer(secret), asio::ssl::context::pem, ec);
  if (ec) fail(ErrorCode::kBadFile, "{}: holds no private key in PEM form that fits {}", key, certificate);
  if (SSL_CTX_check_private_key(context->native_handle()) != 1) {
    fail(ErrorCode::kBadFile, "{}: is not the key of {}", key, certificate);
  }
  return context;
}

}  // namespace minicpm::server

// Listening, counting connections, starting and stopping.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/strand.hpp>
#include <condition_variable>
#include <csignal>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "base/error.h"
#include "server/connection.h"
#include "server/http.h"

namespace minicpm::server {
namespace {

using asio::ip::tcp;

constexpr int kNetworkThreads = 2;
constexpr std::chrono::milliseconds kAcceptPause{100};  // after a failure, such as too many open files
constexpr std::chrono::milliseconds kCancelTime{1000};  // for handlers to return once cancelled
constexpr std::chrono::milliseconds kFlushTime{500};    // for last bytes to go out

asio::ip::address parse_address(std::string host) {
  if (host == "localhost") host = "127.0.0.1";
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  error_code ec;
  const auto address = asio::ip::make_address(host, ec);
  if (ec) fail(ErrorCode::kInvalidRequest, "\"{}\" is no address to listen on, such as 127.0.0.1, 0.0.0.0 or ::", host);
  return address;
}

/// IPv4 clients of an IPv6 socket are known by their IPv4 address.
asio::ip::address plain_address(const asio::ip::address& address) {
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  }
  return address;
}

}  // namespace

struct HttpServer::Impl {
  Impl(const HttpOptions& given, HttpApp& app)
      : options(given), workers(options.workers, options.limits.waiting), shared{options.limits, app, workers} {}

  void listen();
  void accept();
  void on_accept(error_code ec, tcp::socket socket);
  void add(tcp::socket socket);
  template <typename Fn>
  void for_all(Fn fn);
  void close_all();

  // Connections live in handlers that `io` owns, so what they use stands before it.
  const HttpOptions options;
  WorkerPool workers;
  ConnectionShared shared;
  std::unique_ptr<asio::ssl::context> tls;
  asio::io_context io;
  std::optional<asio::executor_work_guard<asio::io_context::executor_type>> work;
  std::optional<tcp::acceptor> acceptor;
  std::optional<asio::steady_timer> pause;
  int port = 0;
  bool stopped = false, stopped_clean = true;

  std::mutex mutex;
  std::condition_variable all_closed;
  std::map<uint64_t, std::weak_ptr<Connection>> open;
  std::map<asio::ip::address, int> per_address;
  uint64_t next_number = 0;
  std::vector<std::thread> threads;
};

void HttpServer::Impl::listen() {
  const tcp::endpoint endpoint(parse_address(options.host), static_cast<uint16_t>(options.port));
  acceptor.emplace(asio::make_strand(io));
  error_code ec;
  acceptor->open(endpoint.protocol(), ec);
  if (!ec) acceptor->set_option(tcp::acceptor::reuse_address(true), ec);
  if (!ec) acceptor->bind(endpoint, ec);
  if (!ec) acceptor->listen(asio::socket_base::max_listen_connections, ec);
  if (ec) fail(ErrorCode::kIo, "{} port {}: cannot listen there: {}", options.host, options.port, ec.message());
  port = acceptor->local_endpoint().port();
  pause.emplace(acceptor->get_executor());
}

void HttpServer::Impl::accept() {
  acceptor->async_accept(asio::make_strand(io),
                         [this](error_code ec, tcp::socket socket) { on_accept(ec, std::move(socket)); });
}

void HttpServer::Impl::on_accept(error_code ec, tcp::socket socket) {
  if (!acceptor->is_open()) return;
  if (!ec) {
    add(std::move(socket));
    return accept();
  }
  pause->expires_after(kAcceptPause);
  pause->async_wait([this](error_code) {
    if (acceptor->is_open()) accept();
  });
}

void HttpServer::Impl::add(tcp::socket socket) {
  error_code ec;
  const tcp::endpoint remote = socket.remote_endpoint(ec);
  if (ec) return;  // gone already
  const asio::ip::address address = plain_address(remote.address());
  socket.set_option(tcp::no_delay(true), ec);
  const HttpLimits& limits = options.limits;
  const std::scoped_lock lock(mutex);
  const bool limited = limits.limit_loopback || !address.is_loopback();
  const bool full = open.size() >= static_cast<size_t>(limits.connections);
  const auto known = per_address.find(address);
  const int others = known == per_address.end() ? 0 : known->second;
  const bool too_many = full || (limited && others >= limits.connections_per_address);
  // Half of the limit again may be told why they are refused; more are closed at once.
  if (too_many && (tls || open.size() >= static_cast<size_t>(limits.connections) * 3 / 2)) return;
  const uint64_t number = next_number++;
  ++per_address[address];
  const auto on_closed = [this, number, address] {
    const std::scoped_lock closing(mutex);
    open.erase(number);
    if (--per_address[address] <= 0) per_address.erase(address);
    if (open.empty()) all_closed.notify_all();
  };
  auto connection = std::make_shared<Connection>(make_transport(std::move(socket), tls.get()), shared,
                                                 address.to_string(), on_closed);
  open[number] = connection;
  if (too_many) return connection->refuse_at_once(503, "too many connections");
  connection->start();
}

template <typename Fn>
void HttpServer::Impl::for_all(Fn fn) {
  std::vector<std::shared_ptr<Connection>> all;
  {
    const std::scoped_lock lock(mutex);
    for (const auto& [number, weak] : open) {
      if (auto connection = weak.lock()) all.push_back(std::move(connection));
    }
  }
  for (const auto& connection : all)
    fn(*connection);
}

/// Lets last bytes go out, then closes what is left.
void HttpServer::Impl::close_all() {
  const auto wait = [this] {
    std::unique_lock lock(mutex);
    return all_closed.wait_for(lock, kFlushTime, [this] { return open.empty(); });
  };
  if (!wait()) {
    for_all([](Connection& connection) { connection.abort(); });
    wait();
  }
  work.reset();
  io.stop();
  for (std::thread& thread : threads)
    thread.join();
  threads.clear();
}

HttpServer::HttpServer(const HttpOptions& options, HttpApp& app) : impl_(std::make_unique<Impl>(options, app)) {
  if (options.tls_certificate.empty() != options.tls_key.empty()) {
    fail(ErrorCode::kInvalidRequest, "TLS needs both a certificate and its key");
  }
  if (!options.tls_certificate.empty()) impl_->tls = make_tls_context(options.tls_certificate, options.tls_key);
  impl_->listen();
}

HttpServer::~HttpServer() {
  stop();
  impl_->workers.stop();
}

void HttpServer::start() {
  impl_->work.emplace(impl_->io.get_executor());
  asio::post(impl_->acceptor->get_executor(), [impl = impl_.get()] { impl->accept(); });
  for (int i = 0; i < kNetworkThreads; ++i)
    impl_->threads.emplace_back([impl = impl_.get()] { impl->io.run(); });
}

int HttpServer::port() const {
  return impl_->port;
}

bool HttpServer::stop() {
  Impl& impl = *impl_;
  if (std::exchange(impl.stopped, true)) return impl.stopped_clean;
  impl.shared.draining = true;
  if (!impl.threads.empty()) {
    asio::post(impl.acceptor->get_executor(), [&impl] {
      error_code ignored;
      impl.acceptor->close(ignored);
      impl.pause->cancel();
    });
    impl.for_all([](Connection& connection) { connection.drain(); });
    impl.stopped_clean = impl.workers.wait_idle(impl.options.limits.drain);
    if (!impl.stopped_clean) {
      impl.for_all([](Connection& connection) { connection.cancel(); });
      impl.stopped_clean = impl.workers.wait_idle(kCancelTime);
    }
    impl.close_all();
  }
  return impl.stopped_clean;
}

size_t HttpServer::running() const {
  return impl_->workers.running();
}

size_t HttpServer::waiting() const {
  return impl_->workers.waiting();
}

size_t HttpServer::connections() const {
  const std::scoped_lock lock(impl_->mutex);
  return impl_->open.size();
}

struct ServerSignals::Impl {
  asio::io_context io;
  asio::signal_set signals{io, SIGINT, SIGTERM, SIGHUP};
  const bool had_terminal = ::isatty(STDIN_FILENO) == 1;
};

ServerSignals::ServerSignals() : impl_(std::make_unique<Impl>()) {}

ServerSignals::~ServerSignals() = default;

ServerSignals::Wish ServerSignals::wait() {
  int number = 0;
  impl_->signals.async_wait([&](error_code, int signal) { number = signal; });
  impl_->io.restart();
  impl_->io.run();
  const bool terminal_gone = impl_->had_terminal && ::isatty(STDIN_FILENO) != 1;
  if (number == SIGHUP && !terminal_gone) return Wish::kReload;
  impl_->signals.clear();
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  return Wish::kEnd;
}

}  // namespace minicpm::server

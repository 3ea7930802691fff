#include "server/server.h"

#include <algorithm>
#include <iterator>
#include <new>

#include "base/error.h"
#include "server/answering.h"
#include "server/anthropic.h"
#include "server/audio_api.h"
#include "server/batch_runner.h"
#include "server/embeddings.h"
#include "server/engine_metrics.h"
#include "server/files_api.h"
#include "server/ollama.h"
#include "server/openai_chat.h"
#include "server/openai_completions.h"
#include "server/openapi.h"
#include "server/props.h"
#include "server/responses.h"
#include "server/route_pattern.h"
#include "server/session_api.h"
#include "server/speech_api.h"
#include "server/stored_responses.h"
#include "server/tools_api.h"
#include "server/web_page.h"

namespace minicpm::server {
namespace {

constexpr size_t kShortestKey = 8;

using Handler = void (*)(ApiContext&, Exchange&);

struct Route {
  std::string_view method;
  std::string_view path;  // as in matches_route()
  Handler handler;
  bool light = false;  // quick, and needs no body
  bool open = false;   // without a key

  bool matches(std::string_view wanted) const { return matches_route(path, wanted); }
};

constexpr bool kLight = true;
constexpr bool kOpen = true;

// /, /page/ and /metrics are answered by the server itself, which has the page and knows its queue.
constexpr Route kRoutes[] = {
    {"GET", "/", nullptr, kLight, kOpen},
    {"GET", "/page/", nullptr, kLight, kOpen},
    {"GET", "/health", health, kLight, kOpen},
    {"GET", "/metrics", nullptr, kLight},
    {"GET", "/openapi.json", openapi, kLight},
    {"GET", "/props", props, kLight},
    {"POST", "/v1/chat/completions", openai_chat},
    {"POST", "/v1/completions", openai_completions},
    {"POST", "/v1/responses", openai_responses},
    {"POST", "/v1/embeddings", openai_embeddings},
    {"GET", "/v1/responses/{id}", openai_find_response},
    {"DELETE", "/v1/responses/{id}", openai_delete_response},
    {"GET", "/v1/responses/{id}/input_items", openai_response_items},
    {"POST", "/v1/responses/{id}/cancel", openai_cancel_response},
    {"POST", "/v1/files", openai_upload_file},
    {"GET", "/v1/files", openai_list_files},
    {"GET", "/v1/files/{id}", openai_find_file},
    {"DELETE", "/v1/files/{id}", openai_delete_file},
    {"GET", "/v1/files/{id}/content", openai_file_content},
    {"POST", "/v1/batches", openai_create_batch},
    {"GET", "/v1/batches", openai_list_batches},
    {"GET", "/v1/batches/{id}", openai_find_batch},
    {"POST", "/v1/batches/{id}/cancel", openai_cancel_batch},
    {"GET", "/v1/models", openai_models, kLight},
    {"GET", "/v1/models/", openai_model, kLight},
    {"POST", "/v1/audio/transcriptions", openai_transcriptions},
    {"POST", "/v1/audio/speech", openai_speech},
    {"GET", "/v1/realtime", openai_realtime},
    {"POST", "/v1/messages", anthropic_messages},
    {"POST", "/v1/messages/count_tokens", anthropic_count_tokens},
    {"POST", "/api/chat", ollama_chat},
    {"POST", "/api/generate", ollama_generate},
    {"POST", "/api/embed", ollama_embed},
    {"POST", "/api/embeddings", ollama_embeddings},
    {"POST", "/api/show", ollama_show},
    {"POST", "/api/pull", ollama_pull},
    {"DELETE", "/api/delete", ollama_delete},
    {"POST", "/api/copy", ollama_refused},
    {"POST", "/api/create", ollama_refused},
    {"POST", "/api/push", ollama_refused},
    {"GET", "/api/tags", ollama_tags, kLight},
    {"GET", "/api/ps", ollama_ps, kLight},
    {"GET", "/api/version", ollama_version, kLight},
    {"GET", "/v1/sessions", list_sessions, kLight},
    {"POST", "/v1/sessions/{id}", save_session},
    {"DELETE", "/v1/sessions/{id}", delete_session, kLight},
    {"POST", "/v1/sessions/{id}/restore", restore_session},
    {"GET", "/lora-adapters", lora_adapters, kLight},
    {"POST", "/v1/load_lora_adapter", load_lora_adapter},
    {"POST", "/v1/unload_lora_adapter", unload_lora_adapter},
    {"POST", "/tokenize", tokenize},
    {"POST", "/detokenize", detokenize},
    {"POST", "/apply-template", apply_template},
};

ErrorStyle style_of(std::string_view path) {
  if (path.starts_with("/api/")) return ErrorStyle::kOllama;
  return path.starts_with("/v1/messages") ? ErrorStyle::kAnthropic : ErrorStyle::kOpenAi;
}

/// Throws ApiError 404, 405.
const Route& find_route(std::string_view method, std::string_view path) {
  if (method == "HEAD") method = "GET";
  std::string others;
  for (const Route& route : kRoutes) {
    if (!route.matches(path)) continue;
    if (route.method == method) return route;
    others += (others.empty() ? "" : " and ") + std::string(route.method);
  }
  if (!others.empty()) throw ApiError(405, fmt::format("this address takes {} only", others));
  throw ApiError(404, "there is no such address on this server");
}

/// A request and its answer in memory.
class MemoryExchange : public Exchange {
 public:
  MemoryExchange(HttpRequest request, const std::atomic<bool>& cancel)
      : request_(std::move(request)), cancel_(cancel) {}

  const HttpRequest& request() const override { return request_; }
  const std::atomic<bool>& cancelled() const override { return cancel_; }
  void send(HttpResponse response) override { response_ = std::move(response); }
  void begin(HttpResponse head) override { response_ = std::move(head); }
  bool write(std::string_view piece) override {
    response_->body += piece;
    return !cancel_;
  }
  void end() override {}
  bool answered() const override { return response_.has_value(); }
  std::optional<HttpResponse> take() { return std::move(response_); }

 private:
  HttpRequest request_;
  const std::atomic<bool>& cancel_;
  std::optional<HttpResponse> response_;
};

}  // namespace

class Server::Api : public HttpApp {
 public:
  Api(const ServerOptions& options, std::vector<ServedModel> models)
      : options_(options),
        access_(options.access, is_loopback_host(options.http.host)),
        pool_(std::move(models), options.pool),
        media_(options.media, options.sources, options.decoder),
        live_(options.live) {
    if (!options.state.folder.empty()) state_.emplace(options.state);
    if (options.adapters) adapters_.emplace(pool_, *options.adapters);
  }

  /// From now on what clients leave is answered.
  void start_batches();
  /// The whole answer to a request that no connection brought; nothing if cancelled.
  std::optional<HttpResponse> answer(HttpRequest request, const std::atomic<bool>& cancel);

  void set_gauges(std::function<Metrics::Gauges()> gauges) { gauges_ = std::move(gauges); }

  Admission admit(const HttpRequest& head) override;
  void handle(Exchange& exchange) override;
  HttpResponse error(const HttpRequest& request, int status, std::string_view message) override;
  auto models() const { return pool_.all(); }
  void reload_adapters(std::span<const AdapterSource> wanted) {
    if (adapters_) adapters_->reload(wanted, [this](std::string_view line) { log(line); });
  }
  void finished(const ExchangeSummary& summary) override;

 private:
  void run(Exchange& exchange);
  void fail(Exchange& exchange, const ApiError& error);
  void log(std::string_view line) const {
    if (options_.log && !line.empty()) options_.log(line);
  }

  const ServerOptions& options_;
  const Access access_;
  ModelPool pool_;
  std::optional<Adapters> adapters_;
  const WebPage page_;
  MediaShare media_;
  LiveShare live_;
  std::optional<ServerState> state_;
  Metrics metrics_;
  Speakers speakers_;
  std::function<Metrics::Gauges()> gauges_;
  std::unique_ptr<BatchRunner> batches_;  // the last member: it uses the others
};

Admission Server::Api::admit(const HttpRequest& head) {
  Admission admission;
  try {
    access_.check_site(head);
    const bool preflight = head.method == "OPTIONS" && !head.header("access-control-request-method").empty();
    if (auto headers = access_.preflight_headers(head); preflight && !headers.empty()) {
      admission.refusal = HttpResponse{.status = 204, .content_type = "", .headers = std::move(headers)};
      return admission;
    }
    const bool open =
        std::ranges::any_of(kRoutes, [&](const Route& route) { return route.open && route.matches(head.path); });
    if (!open) access_.check_key(head);
    const Route& route = find_route(head.method, head.path);
    admission.route = route.path;
    admission.light = route.light;
  } catch (const ApiError& error) {
    admission.refusal = error_response(style_of(head.path), error, head.id);
    auto cors = access_.cors_headers(head);
    std::ranges::move(cors, std::back_inserter(admission.refusal->headers));
  }
  return admission;
}

void Server::Api::run(Exchange& exchange) {
  const Route& route = find_route(exchange.request().method, exchange.request().path);
  const ServedModels models(pool_, &exchange.cancelled());
  ApiContext context{models, media_, metrics_, access_, speakers_, options_.version};
  context.live = &live_;
  context.changes = options_.changes ? &*options_.changes : nullptr;
  context.sessions = options_.sessions.get();
  context.adapters = adapters_ ? &*adapters_ : nullptr;
  context.state = state_ ? &*state_ : nullptr;
  context.batches = batches_.get();
  if (route.handler != nullptr) return route.handler(context, exchange);
  if (route.path == "/") return exchange.send(page_.answer(exchange.request()));
  if (route.path == "/page/") return exchange.send(page_.part(exchange.request()));
  exchange.send({.content_type = "text/plain; version=0.0.4; charset=utf-8",
                 .body = metrics_.text(gauges_()) + engine_metrics(pool_)});
}

void Server::Api::fail(Exchange& exchange, const ApiError& error) {
  const ErrorStyle style = style_of(exchange.request().path);
  if (!exchange.answered()) return exchange.send(error_response(style, error, exchange.request().id));
  exchange.write(stream_error(style, error, exchange.request().id));
  exchange.end();
}

void Server::Api::handle(Exchange& exchange) {
  exchange.common_headers = access_.cors_headers(exchange.request());
  try {
    run(exchange);
  } catch (const ApiError& error) {
    fail(exchange, error);
  } catch (const Error& error) {
    const ApiError shown = to_api_error(error);
    if (shown.status() == 500) log(exchange.request().id + ": " + error.what());
    fail(exchange, shown);
  } catch (const std::bad_alloc&) {
    fail(exchange, to_api_error(Error(ErrorCode::kOutOfMemory, "")));
  } catch (const std::exception& error) {
    log(exchange.request().id + ": " + error.what());
    fail(exchange, ApiError(500, "internal error"));
  }
}

std::optional<HttpResponse> Server::Api::answer(HttpRequest request, const std::atomic<bool>& cancel) {
  MemoryExchange exchange(std::move(request), cancel);
  handle(exchange);
  return cancel ? std::nullopt : exchange.take();
}

void Server::Api::start_batches() {
  if (!state_) return;
  batches_ = std::make_unique<BatchRunner>(
      *state_, BatchRunner::Options{
                   .answer = [this](HttpRequest request,
                                    const std::atomic<bool>& cancel) { return answer(std::move(request), cancel); },
                   .log = options_.log});
}

HttpResponse Server::Api::error(const HttpRequest& request, int status, std::string_view message) {
  return error_response(style_of(request.path), ApiError(status, std::string(message)), request.id);
}

void Server::Api::finished(const ExchangeSummary& summary) {
  metrics_.count_request(summary.note.route.empty() ? "other" : summary.note.route, summary.status);
  log(access_line(options_.log_format, summary));
}

std::vector<std::string> route_names() {
  std::vector<std::string> names;
  for (const Route& route : kRoutes)
    names.push_back(fmt::format("{} {}", route.method, route.path));
  return names;
}

void check_exposure(const ServerOptions& options) {
  for (const std::string& key : options.access.api_keys) {
    if (key.size() < kShortestKey) {
      minicpm::fail(ErrorCode::kInvalidRequest, "an API key has {} characters; {} are the fewest", key.size(),
                    kShortestKey);
    }
  }
  if (is_loopback_host(options.http.host) || !options.access.api_keys.empty() || options.insecure) return;
  minicpm::fail(ErrorCode::kRefused,
                "{} can be reached by other machines: give an --api-key, or --insecure to let everyone in",
                options.http.host);
}

Server::Server(ServerOptions options, std::vector<ServedModel> models) : options_(std::move(options)) {
  check_exposure(options_);
  api_ = std::make_unique<Api>(options_, std::move(models));
  http_ = std::make_unique<HttpServer>(options_.http, *api_);
  api_->set_gauges([this] { return Metrics::Gauges{http_->running(), http_->waiting(), http_->connections()}; });
}

Server::~Server() {
  http_.reset();  // its handlers use the rest
}

void Server::start() {
  api_->start_batches();
  http_->start();
}

int Server::port() const {
  return http_->port();
}

std::string Server::url() const {
  std::string host = options_.http.host;
  if (host.find(':') != std::string::npos && host.front() != '[') host = "[" + host + "]";
  return fmt::format("{}://{}:{}", options_.http.tls_certificate.empty() ? "http" : "https", host, port());
}

void Server::reload_adapters(std::span<const AdapterSource> wanted) {
  api_->reload_adapters(wanted);
}

bool Server::stop() {
  return http_->stop();
}

OfflineServer::OfflineServer(ServerOptions options, std::vector<ServedModel> models)
    : options_(std::move(options)), api_(std::make_unique<Server::Api>(options_, std::move(models))) {
  api_->set_gauges([] { return Metrics::Gauges{}; });
}

OfflineServer::~OfflineServer() = default;

std::optional<HttpResponse> OfflineServer::answer(HttpRequest request, const std::atomic<bool>& cancel) {
  return api_->answer(std::move(request), cancel);
}

std::vector<std::reference_wrapper<const ServedModel>> OfflineServer::models() const {
  return api_->models();
}

}  // namespace minicpm::server

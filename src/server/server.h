// The server: models behind the APIs of OpenAI, Ollama, Anthropic and llama.cpp.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/access.h"
#include "server/access_log.h"
#include "server/adapters.h"
#include "server/http.h"
#include "server/media_parts.h"
#include "server/model_changes.h"
#include "server/realtime_api.h"
#include "server/served_models.h"
#include "server/session_folder.h"
#include "server/state.h"

namespace minicpm::server {

struct ServerOptions {
  HttpOptions http;
  AccessOptions access;
  MediaLimits media;
  LiveOptions live;
  bool insecure = false;  // other machines may ask without a key
  LogFormat log_format = LogFormat::kOff;
  std::function<void(std::string_view)> log;  // gets lines without line breaks; called by several threads at once
  std::string version = "0";
  PoolOptions pool;    // of models that are loaded on demand
  StateOptions state;  // what is kept on disk
  /// Of computed prompts that clients keep; null: none. Engines need its key (EngineOptions::media_key).
  std::shared_ptr<const SessionFolder> sessions;
  std::optional<ModelChanges> changes;     // whether clients may fetch and delete models
  std::optional<AdapterOptions> adapters;  // of a server whose adapters may change; nothing: they stay as they are
  MediaSources sources;                    // of media besides the requests themselves
  std::shared_ptr<MediaDecoder> decoder;   // where media of requests is decoded; null: in this process
};

/// Before models are loaded: whether the server may listen there. Throws Error refused for an address that other
/// machines reach when neither a key is needed nor `insecure` is set, and invalid_request for keys that are too short.
void check_exposure(const ServerOptions& options);

/// "GET /health" and the like, for all addresses; a path that ends in a slash stands for all that begin with it.
std::vector<std::string> route_names();

class Server {
 public:
  /// Listens. Throws Error as check_exposure, HttpServer and ModelPool.
  Server(ServerOptions options, std::vector<ServedModel> models);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void start();
  int port() const;
  /// "http://127.0.0.1:8080"
  std::string url() const;
  /// As Adapters::reload; what changes is in the log. Nothing without ServerOptions::adapters.
  void reload_adapters(std::span<const AdapterSource> wanted);
  /// As HttpServer::stop.
  bool stop();

 private:
  friend class OfflineServer;
  class Api;
  ServerOptions options_;
  std::unique_ptr<Api> api_;
  std::unique_ptr<HttpServer> http_;
};

/// The same answers to the same requests, without a network: for work that is read from files.
class OfflineServer {
 public:
  /// Throws Error as ModelPool.
  OfflineServer(ServerOptions options, std::vector<ServedModel> models);
  ~OfflineServer();
  OfflineServer(const OfflineServer&) = delete;
  OfflineServer& operator=(const OfflineServer&) = delete;

  /// What the server would answer, errors included; who asks is not checked. May be called by several threads at once.
  /// Nothing if `cancel` is set before the answer is whole.
  std::optional<HttpResponse> answer(HttpRequest request, const std::atomic<bool>& cancel);
  std::vector<std::reference_wrapper<const ServedModel>> models() const;

 private:
  ServerOptions options_;
  std::unique_ptr<Server::Api> api_;
};

}  // namespace minicpm::server

// `serve`: models behind HTTP, until Ctrl-C or SIGTERM.
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <span>
#include <sstream>

#include "base/error.h"
#include "base/file_map.h"
#include "base/machine.h"
#include "cli/build_info.h"
#include "cli/media_decoder.h"
#include "cli/request.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "hub/store.h"
#include "server/certificate.h"
#include "server/server.h"

namespace minicpm::cli {
namespace {

constexpr size_t kMaxKeyFileBytes = 1u << 20;

/// One key a line; blank lines and lines that begin with # are passed over.
std::vector<std::string> keys_of_file(const std::string& file) {
  struct stat status = {};
  if (stat(file.c_str(), &status) != 0) fail(ErrorCode::kNotFound, "{}: {}", file, std::strerror(errno));
  if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    fail(ErrorCode::kRefused, "{}: other users can read or write it; `chmod 600` it", file);
  }
  std::vector<std::string> keys;
  std::istringstream lines(read_file(file, kMaxKeyFileBytes));
  for (std::string line; std::getline(lines, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' '))
      line.pop_back();
    if (!line.empty() && line[0] != '#') keys.push_back(line);
  }
  if (keys.empty()) fail(ErrorCode::kInvalidRequest, "{}: holds no key", file);
  return keys;
}

/// minicpm/ in the folder that `variable` names, else in `fallback` of the home folder. Nothing without either.
std::optional<std::filesystem::path> user_folder(const char* variable, const char* fallback) {
  const char* named = std::getenv(variable);
  if (named != nullptr && named[0] == '/') return std::filesystem::path(named) / "minicpm";
  const char* home = std::getenv("HOME");
  if (home == nullptr || home[0] != '/') return std::nullopt;
  return std::filesystem::path(home) / fallback / "minicpm";
}

std::filesystem::path user_data_folder() {
  if (auto folder = user_folder("XDG_DATA_HOME", ".local/share")) return *folder;
  fail(ErrorCode::kInvalidRequest, "there is no data folder: neither XDG_DATA_HOME nor HOME is set");
}

/// Empty where nothing is to be kept.
std::filesystem::path state_folder(const Options& options) {
  if (options.no_state && !options.state.empty()) {
    fail(ErrorCode::kInvalidRequest, "--state and --no-state exclude each other");
  }
  if (options.no_state || !options.state.empty()) return options.state;
  const auto folder = user_folder("XDG_STATE_HOME", ".local/state");
  std::error_code error;
  if (folder) {
    std::filesystem::create_directories(*folder, error);
    if (!error && access(folder->c_str(), R_OK | W_OK | X_OK) == 0) return *folder / "server";
  }
  note("minicpm: note: nothing is kept, since there is no folder for it; --state names one\n");
  return {};
}

/// Makes or finds the certificate, and says how clients come to trust it.
void use_own_certificate(const Options& options, server::HttpOptions& http) {
  if (!options.tls_certificate.empty() || !options.tls_key.empty()) {
    fail(ErrorCode::kInvalidRequest, "--tls-self-signed and --tls-cert exclude each other");
  }
  std::vector<std::string> names = server::names_of_this_machine();
  names.insert(names.end(), options.allowed_hosts.begin(), options.allowed_hosts.end());
  const server::SelfSigned made = server::self_signed_certificate(user_data_folder() / "tls", names);
  http.tls_certificate = made.certificate.string();
  http.tls_key = made.key.string();
  note(
      fmt::format("certificate {}\nSHA-256 {}\nto trust it: curl --cacert FILE, NODE_EXTRA_CA_CERTS=FILE, "
                  "SSL_CERT_FILE=FILE; browsers ask once, compare the SHA-256\n",
                  one_line(made.certificate.string()), made.fingerprint));
}

server::MediaSources media_sources(const Options& options) {
  server::MediaSources sources;
  if (options.allow_url) {
    sources.urls.emplace();
    sources.urls->limit_bytes = server::MediaLimits{}.file_bytes;
    for (const int64_t port : options.url_ports)
      sources.urls->ports.push_back(static_cast<int>(port));
  } else if (!options.url_ports.empty()) {
    fail(ErrorCode::kInvalidRequest, "--url-port goes with --allow-url");
  }
  if (!options.media_path.empty()) sources.folder = std::make_shared<server::MediaFolder>(options.media_path);
  return sources;
}

/// Connections, media and files take descriptors: the usual soft limit of 1024 would end them before the server's own.
void raise_descriptor_limit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

server::ServerOptions server_options(const Options& options) {
  server::ServerOptions result;
  if (!options.host.empty()) result.http.host = options.host;
  result.http.port = static_cast<int>(options.port.value_or(result.http.port));
  result.http.workers = static_cast<int>(options.parallel.value_or(result.http.workers));
  result.http.tls_certificate = options.tls_certificate;
  result.http.tls_key = options.tls_key;
  if (options.tls_self_signed) use_own_certificate(options, result.http);
  result.live.sessions = static_cast<int>(options.live_sessions.value_or(result.live.sessions));
  if (!options.vad.empty()) result.live.detector = options.vad;
  result.access.api_keys = options.api_keys;
  if (!options.api_key_file.empty()) {
    for (std::string& key : keys_of_file(options.api_key_file))
      result.access.api_keys.push_back(std::move(key));
  }
  result.access.cors_origins = options.cors_origins;
  result.access.allowed_hosts = options.allowed_hosts;
  result.insecure = options.insecure;
  result.log_format = options.log == "off"    ? server::LogFormat::kOff
                      : options.log == "json" ? server::LogFormat::kJson
                                              : server::LogFormat::kText;
  // One call for each line, so that those of several threads stay whole.
  result.log = [](std::string_view line) { note(one_line(line) + "\n"); };
  result.version = kVersion;
  result.state.folder = state_folder(options);
  result.sources = media_sources(options);
  if (!options.session_dir.empty()) result.sessions = std::make_shared<server::SessionFolder>(options.session_dir);
  result.decoder = media_decoder(options.sandbox);
  if (options.keep_alive) {
    result.pool.keep_alive = *options.keep_alive < 0
                                 ? std::nullopt
                                 : std::optional<std::chrono::milliseconds>(std::chrono::seconds(*options.keep_alive));
  }
  return result;
}

/// Room for several contexts, so that answers run beside each other and prompts are kept; but without --cache-tokens no
/// more than half of the memory that is free.
EngineOptions serving_engine(const Options& options, const ModelSpec& spec, const server::LiveOptions& live) {
  constexpr int64_t kContexts = 4;
  EngineOptions engine = engine_options(options);
  if (!options.session_dir.empty()) engine.media_key = server::SessionFolder(options.session_dir).media_key();
  engine.cache_tokens = options.cache_tokens.value_or(0);
  if (!options.cache_tokens) {
    const MemoryPlan plan = plan_memory(spec, engine);
    const int64_t token_bytes = std::max<int64_t>(1, plan.kv_bytes / std::max<int64_t>(1, plan.context_tokens));
    const int64_t free_bytes = std::max<int64_t>(0, machine_memory().available_bytes - plan.total_bytes());
    engine.cache_tokens =
        plan.context_tokens + std::min((kContexts - 1) * plan.context_tokens, free_bytes / 2 / token_bytes);
  }
  server::add_session_room(spec, live, engine);
  return engine;
}

server::ServedModel describe_stored_model(const Options& options, const std::string& name,
                                          const server::LiveOptions& live) {
  Options one = options;
  one.model = name;
  const ModelSpec spec = model_spec(one);
  return server::describe_served_model(spec, serving_engine(options, spec, live));
}

/// Models of the store that this program can run; those it cannot are named and left out.
void add_stored_models(const Options& options, const server::LiveOptions& live,
                       std::vector<server::ServedModel>& models) {
  for (const hub::StoredModel& stored : hub::stored_models(hub_cache_folder())) {
    const std::string name = stored.name.text();
    if (std::ranges::find(models, name, &server::ServedModel::name) != models.end()) continue;  // a MODEL as well
    try {
      models.push_back(describe_stored_model(options, name, live));
    } catch (const Error& error) {
      note(fmt::format("minicpm: note: left out: {}\n", one_line(error.what())));
    }
  }
}

/// "NAME=DIR", or only a folder. Folders with = in their name can be written as ./a=b: names have no slashes.
server::AdapterSource parse_adapter(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || text.substr(0, equals).find('/') != std::string::npos) return {"", text};
  server::AdapterSource adapter{text.substr(0, equals), text.substr(equals + 1)};
  if (!server::is_adapter_name(adapter.name) || adapter.folder.empty()) {
    fail(ErrorCode::kInvalidRequest, "--lora {}: expected DIR or NAME=DIR, with a NAME of letters, digits, - _ and .",
         one_line(text));
  }
  return adapter;
}

/// MODEL itself, with or without an adapter, and then MODEL:NAME for each that has a name.
std::vector<server::AdapterSource> adapters_of(const Options& options) {
  std::vector<server::AdapterSource> adapters;
  for (const std::string& text : options.loras)
    adapters.push_back(parse_adapter(text));
  const auto own = [](const server::AdapterSource& adapter) { return adapter.name.empty(); };
  if (std::ranges::count_if(adapters, own) > 1) {
    fail(ErrorCode::kInvalidRequest, "--lora: only one adapter can go without a name; write NAME=DIR for others");
  }
  if (std::ranges::none_of(adapters, own)) adapters.insert(adapters.begin(), server::AdapterSource{});
  std::ranges::stable_partition(adapters, own);
  return adapters;
}

/// A model of the command line with one of its adapters.
server::ServedModel make_model(const Options& options, const server::LiveOptions& live,
                               const server::AdapterSource& adapter) {
  Options one = options;
  one.lora = adapter.folder;
  if (one.lora.empty() && !options.loras.empty()) one.lora_scale.reset();  // it is for the others
  const ModelSpec spec = model_spec(one);
  const EngineOptions settings = serving_engine(one, spec, live);
  if (options.keep_alive) plan_memory(spec, settings);  // which looks at the adapter before it is wanted
  server::ServedModel model =
      options.keep_alive ? server::describe_served_model(spec, settings) : server::load_served_model(spec, settings);
  if (!adapter.name.empty()) model.name += ":" + adapter.name;
  return model;
}

void add_model(const Options& options, const server::LiveOptions& live, std::vector<server::ServedModel>& models) {
  for (const server::AdapterSource& adapter : adapters_of(options)) {
    models.push_back(server::make_adapted(
        adapter, [&](const server::AdapterSource& source) { return make_model(options, live, source); }));
  }
}

std::vector<server::ServedModel> load_models(const Options& options, const server::LiveOptions& live) {
  if (options.models.empty() && !options.store && !options.allow_pull) {
    fail(ErrorCode::kInvalidRequest, "serve needs a MODEL, or --store; see `minicpm help serve`");
  }
  if (options.models.size() > 1 && !(options.mmproj.empty() && options.loras.empty() && options.draft.empty())) {
    fail(ErrorCode::kInvalidRequest, "--mmproj, --lora and --draft go with a single model");
  }
  if (options.models.size() != 1 && !options.allow_lora.empty()) {
    fail(ErrorCode::kInvalidRequest, "--allow-lora goes with a single model");
  }
  std::vector<server::ServedModel> models;
  for (const std::string& model : options.models) {
    Options one = options;
    one.model = model;
    add_model(one, live, models);
  }
  if (options.store) add_stored_models(options, live, models);
  if (models.empty() && !options.allow_pull)
    fail(ErrorCode::kNotFound, "the store holds no model; `minicpm pull ORG/NAME` fetches one");
  return models;
}

/// Where the server is, and how to ask it.
std::string greeting(const Options& options, const server::Server& server) {
  const bool key = !options.api_keys.empty() || !options.api_key_file.empty();
  return fmt::format(
      "{} is ready; open it in a browser, or try: curl {}/v1/chat/completions{} -d "
      "'{{\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'\n",
      server.url(), server.url(), key ? " -H 'Authorization: Bearer KEY'" : "");
}

server::AdapterOptions adapter_options(const Options& options, const server::LiveOptions& live) {
  Options one = options;
  one.model = options.models.front();
  if (!options.allow_lora.empty() && !std::filesystem::is_directory(options.allow_lora)) {
    fail(ErrorCode::kNotFound, "{}: there is no such folder (--allow-lora)", options.allow_lora);
  }
  return {.make = [one, live](const server::AdapterSource& source) { return make_model(one, live, source); },
          .folder = options.allow_lora};
}

/// Reads the adapters again, with those that the environment and the file of settings name now.
void reload(const Options& options, server::Server& server) {
  try {
    const std::string verb = "serve";
    server.reload_adapters(adapters_of(parse_options(*match_verb(std::span(&verb, 1)).verb, options.words)));
  } catch (const Error& error) {
    note(fmt::format("warning: nothing is read again: {}\n", one_line(error.what())));
  }
}

}  // namespace

int run_serve(const Options& options) {
  raise_descriptor_limit();
  server::ServerOptions settings = server_options(options);
  if (options.allow_pull) {
    settings.pool.grows = true;
    settings.changes = server::ModelChanges{.hub = hub::settings_from_environment()};
    settings.changes->describe = [&options, live = settings.live](const std::string& name) {
      return describe_stored_model(options, name, live);
    };
  }
  if (options.models.size() == 1) settings.adapters = adapter_options(options, settings.live);
  server::check_exposure(settings);
  server::Server server(settings, load_models(options, settings.live));
  server::ServerSignals signals;
  server.start();
  print(greeting(options, server));
  flush_output();
  while (signals.wait() == server::ServerSignals::Wish::kReload)
    reload(options, server);
  if (server.stop()) return kExitOk;
  // An answer that does not end when it is cancelled must not keep the program.
  note("minicpm: an answer did not end in time\n");
  std::fflush(nullptr);
  _exit(kExitGeneral);
}

}  // namespace minicpm::cli

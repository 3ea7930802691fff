// Adapters (LoRA) of a running server: which are served, and how they come, change and go.
#pragma once

#include <filesystem>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <string_view>

#include "server/json_body.h"
#include "server/served_models.h"

namespace minicpm::server {

struct ApiContext;  // answering.h
class Exchange;     // http.h

/// Where an adapter comes from.
struct AdapterSource {
  std::string name;              // MODEL:NAME is what requests call it; empty: MODEL itself
  std::filesystem::path folder;  // empty: MODEL without an adapter
};

/// Letters, digits, - _ and .
bool is_adapter_name(std::string_view name);

/// Fails where `make` fails, with what was there when it began: a folder that is written while it is read counts as
/// changed the next time.
ServedModel make_adapted(const AdapterSource& source, const std::function<ServedModel(const AdapterSource&)>& make);

/// For a server of one MODEL.
struct AdapterOptions {
  /// MODEL or MODEL:NAME with its adapter, checked and ready to be added. Throws Error as load_served_model. Called by
  /// one thread at a time.
  std::function<ServedModel(const AdapterSource&)> make;
  /// Requests may load the adapters of this folder; empty: none.
  std::filesystem::path folder;
};

/// Thread-safe.
class Adapters {
 public:
  Adapters(ModelPool& pool, AdapterOptions options) : pool_(pool), options_(std::move(options)) {}

  /// Makes what is served that: folders that were written since they were read are read again, others come or go. An
  /// adapter that cannot be read leaves what was there in service. Adapters that requests loaded stay. `log` gets a
  /// line for each that changes, or cannot.
  void reload(std::span<const AdapterSource> wanted, const std::function<void(std::string_view)>& log);

  /// For a request: `path` lies in the folder of the options. Throws ApiError 400 for a name that is taken, unless
  /// `in_place`, for paths that lead out and adapters that cannot be used; 403 where requests may not.
  void load(const std::string& name, const std::string& path, bool in_place);
  /// Throws ApiError 404; 403 where requests may not, and for adapters of the server's settings.
  void unload(const std::string& name);

  /// With the folder relative to that of the options, where it lies there.
  Json list() const;

 private:
  const ServedModel* find(std::string_view name) const;
  void check_allowed() const;
  std::filesystem::path inside(const std::string& path) const;

  ModelPool& pool_;
  const AdapterOptions options_;
  std::mutex changing_;  // one change at a time
};

/// The model that "model" names, with the adapter that "lora" names, if any. Throws ApiError 404.
const ServedModel& find_adapted(const ServedModels& models, const Fields& body);

void lora_adapters(ApiContext& context, Exchange& exchange);
void load_lora_adapter(ApiContext& context, Exchange& exchange);
void unload_lora_adapter(ApiContext& context, Exchange& exchange);

}  // namespace minicpm::server

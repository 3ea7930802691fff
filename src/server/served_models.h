// The models of a server, found by the name that a request gives; loaded when they are asked for and unloaded when they
// are idle, or loaded for good.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/json.h"
#include "engine/chat.h"
#include "engine/processor.h"

namespace minicpm {
struct ModelConfig;  // models/model_config.h
}

namespace minicpm::server {

/// What a model has besides its base.
struct ServedAdapter {
  std::string name;                   // MODEL:NAME is what requests call it; empty: MODEL itself
  std::filesystem::path folder = {};  // empty: nothing, this is the base
  int64_t rank = 0;
  float scale = 0;           // alpha / rank times --lora-scale
  bool by_client = false;    // loaded by a request, not by the server's settings
  std::string version = {};  // tells files that were written anew
};

struct ServedModel {
  std::string name;                // what requests call it
  std::unique_ptr<Engine> engine;  // null while it is not loaded
  int64_t bytes = 0;               // of its files
  int64_t modified = 0;            // of its newest file, in seconds since 1970
  ModelSpec spec = {};             // what it is loaded from, and how
  EngineOptions options = {};
  std::filesystem::path folder = {};  // of Hugging Face's layout; empty for GGUF files
  std::string family = {};            // key of its version
  bool gguf = false;
  bool on_demand = false;                               // loaded when a request asks for it
  std::shared_ptr<const ModelConfig> config = nullptr;  // what its files say; null where they were not read
  std::optional<ServedAdapter> adapter = {};            // of the model that adapters go with, and of each of those

  const LoadedModel& model() const { return engine->model(); }
};

/// Loads it under served_name(spec.model). Throws as Engine::load.
ServedModel load_served_model(const ModelSpec& spec, const EngineOptions& options);

/// The same without its weights, which are loaded when a request asks for it. Throws Error as read_description.
ServedModel describe_served_model(const ModelSpec& spec, const EngineOptions& options);

/// "pico" and "ORG/NAME:FORMAT" for names, the last part of the path for a folder, the file's name without .gguf for a
/// file.
std::string served_name(const std::string& model);

struct PoolOptions {
  /// How long a model that is loaded on demand stays without a request; nothing: until its room is needed.
  std::optional<std::chrono::milliseconds> keep_alive = std::chrono::minutes(5);
  /// Bytes that a model may need when it is loaded; unset: what the machine has available.
  std::function<int64_t()> available_bytes;
  bool grows = false;  // models may be added, so that there may be none at first
};

/// What all requests share. Thread-safe.
class ModelPool {
 public:
  /// At least one unless the pool grows, with different names. Throws Error invalid_request.
  ModelPool(std::vector<ServedModel> models, PoolOptions options);
  ~ModelPool();
  ModelPool(const ModelPool&) = delete;
  ModelPool& operator=(const ModelPool&) = delete;

  /// Finds by name as ServedModels does, or null.
  ServedModel* find(const std::string& name);
  std::vector<std::reference_wrapper<const ServedModel>> all() const;
  /// A model that is loaded on demand; nothing happens if the name is there already.
  void add(ServedModel model);
  /// Takes the place of the model of its name, or comes behind all. Requests that found the old one keep it until they
  /// are over; then it is unloaded.
  void replace(ServedModel model);
  /// Forgets a model's name at once and unloads it when the last request that found it is over.
  void retire(const ServedModel& model);
  /// Unloads a model and forgets its name; false while it is used. References to it stay valid.
  bool remove(ServedModel& model);
  bool loaded(const ServedModel& model) const;
  /// When it is unloaded if nobody asks for it; nothing: not by time.
  std::optional<std::chrono::system_clock::time_point> expires(const ServedModel& model) const;

  /// Loads the model unless it is loaded, making room by unloading models that nobody uses, the least recently used
  /// first. It stays loaded until release(). Waits where another request is loading it. Throws Error as Engine::load,
  /// out_of_memory when there is no room while others are used, and cancelled. False if its name was forgotten.
  bool acquire(ServedModel& model, const std::atomic<bool>* cancel);
  void release(ServedModel& model);
  /// Runs `work` with the engine of a model that is loaded, which does not count as a use; false if it is not loaded.
  bool with_engine(const ServedModel& model, const std::function<void(const Engine&)>& work);
  /// From now on, instead of the pool's own time; zero: as soon as nobody uses it.
  void set_keep_alive(const ServedModel& model, std::optional<std::chrono::milliseconds> time);

 private:
  using Clock = std::chrono::steady_clock;
  struct State {
    int users = 0;
    bool loading = false;
    Clock::time_point last_used = {};
    std::optional<std::chrono::milliseconds> keep_alive;
  };
  struct Slot {
    ServedModel model;
    State state = {};
    bool removed = false;
  };
  Slot& slot_of(const ServedModel& model) const;
  Slot* find_slot(const std::string& name) const;
  static bool idle(const Slot& slot);
  static std::unique_ptr<Engine> forget(Slot& slot);
  std::unique_ptr<Engine> take_idle();
  void make_room(const ServedModel& model, std::unique_lock<std::mutex>& lock);
  void unload_idle_ones(const std::stop_token& stop);

  PoolOptions options_;
  mutable std::mutex mutex_;
  mutable std::list<Slot> slots_;  // under mutex_, engines included; they never move: requests hold references
  uint64_t changes_ = 0;           // of what the janitor looks at, under mutex_
  std::condition_variable_any changed_;
  std::mutex loading_;  // one model at a time: what is available is known then
  std::jthread janitor_;
};

/// The models as one request sees them: those it found stay loaded until it is over. Used by one thread.
class ServedModels {
 public:
  explicit ServedModels(ModelPool& pool, const std::atomic<bool>* cancel = nullptr) : pool_(pool), cancel_(cancel) {}
  ~ServedModels();
  ServedModels(const ServedModels&) = delete;
  ServedModels& operator=(const ServedModels&) = delete;

  /// The first for an empty name; NAME:latest is NAME, as Ollama calls it. Loads it where it is not. Throws ApiError
  /// 404 with the list, and as ModelPool::acquire.
  const ServedModel& find(const std::string& name) const;
  /// The same without loading it: only what does not need its engine may be used.
  const ServedModel& known(const std::string& name) const;
  std::vector<std::reference_wrapper<const ServedModel>> all() const { return pool_.all(); }
  ModelPool& pool() const { return pool_; }
  /// For prompts without an answer: counting their tokens, showing them.
  PreparedPrompt prepare(const ServedModel& model, const ChatRequest& request) const;

 private:
  ServedModel& named(const std::string& name) const;

  ModelPool& pool_;
  const std::atomic<bool>* cancel_;
  struct Held {
    std::string name;  // that was asked for: it means the same model as long as this request lasts
    ServedModel* model;
  };
  mutable std::vector<Held> held_;
};

}  // namespace minicpm::server

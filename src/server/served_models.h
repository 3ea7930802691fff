// The models of a server, found by the name that a request gives.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "engine/chat.h"
#include "engine/processor.h"

namespace minicpm::server {

struct ServedModel {
  std::string name;  // what requests call it
  std::unique_ptr<Engine> engine;
  int64_t bytes = 0;                  // of its files
  int64_t modified = 0;               // of its newest file, in seconds since 1970
  std::filesystem::path folder = {};  // of Hugging Face's layout; empty for GGUF files
  ModelSpec spec = {};                // what it was loaded from, and how
  EngineOptions options = {};

  const LoadedModel& model() const { return engine->model(); }
};

/// Loads it under served_name(spec.model). Throws as Engine::load.
ServedModel load_served_model(const ModelSpec& spec, const EngineOptions& options);

/// "pico" and "ORG/NAME:FORMAT" for names, the last part of the path for a folder, the file's name without .gguf for a file.
std::string served_name(const std::string& model);

class ServedModels {
 public:
  /// At least one, with different names. Throws Error invalid_request.
  explicit ServedModels(std::vector<ServedModel> models);

  /// The first for an empty name; NAME:latest is NAME, as Ollama calls it. Throws ApiError 404 with the list.
  const ServedModel& find(const std::string& name) const;
  std::span<const ServedModel> all() const { return models_; }
  /// For prompts without an answer: counting their tokens, showing them.
  PreparedPrompt prepare(const ServedModel& model, const ChatRequest& request) const;

 private:
  std::vector<ServedModel> models_;
};

}  // namespace minicpm::server

#include "server/served_models.h"

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "base/error.h"
#include "io/hub_cache.h"
#include "io/model_files.h"
#include "models/loaded_model.h"
#include "server/api_error.h"

namespace minicpm::server {
namespace {

namespace fs = std::filesystem;

void add_file(const fs::path& file, ServedModel& model) {
  std::error_code error;
  const auto size = fs::file_size(file, error);
  if (error) return;
  model.bytes += static_cast<int64_t>(size);
  const auto written = fs::last_write_time(file, error);
  if (error) return;
  const auto time = std::chrono::file_clock::to_sys(written).time_since_epoch();
  model.modified = std::max<int64_t>(model.modified, std::chrono::duration_cast<std::chrono::seconds>(time).count());
}

}  // namespace

ServedModel load_served_model(const ModelSpec& spec, const EngineOptions& options) {
  ServedModel model{served_name(spec.model), Engine::load(spec, options)};
  model.spec = spec;
  model.options = options;
  const ModelFiles files = find_model_files(spec.model, spec.mmproj);
  if (files.kind == ModelFiles::Kind::kGguf) {
    add_file(files.gguf, model);
    add_file(files.mmproj, model);
    return model;
  }
  model.folder = files.folder;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(files.folder, error)) {
    if (entry.path().extension() == ".safetensors") add_file(entry.path(), model);
  }
  return model;
}

std::string served_name(const std::string& model) {
  fs::path path(model);
  std::error_code error;
  if (const auto name = parse_hub_name(model); name && !fs::exists(path, error)) return name->text();
  if (!path.has_filename()) path = path.parent_path();  // "folder/"
  const std::string name = path.filename().string();
  return name.ends_with(".gguf") ? name.substr(0, name.size() - 5) : name;
}

ServedModels::ServedModels(std::vector<ServedModel> models) : models_(std::move(models)) {
  if (models_.empty()) fail(ErrorCode::kInvalidRequest, "there is no model to serve");
  for (size_t i = 0; i < models_.size(); ++i) {
    for (size_t k = 0; k < i; ++k) {
      if (models_[i].name == models_[k].name) {
        fail(ErrorCode::kInvalidRequest, "two models would both be called \"{}\"", models_[i].name);
      }
    }
    if (models_[i].model().tokenizer() == nullptr) {
      fail(ErrorCode::kUnsupported, "{}: has no tokenizer", models_[i].name);
    }
  }
}

const ServedModel& ServedModels::find(const std::string& name) const {
  if (name.empty()) return models_.front();
  std::string list;
  for (const ServedModel& model : models_) {
    if (model.name == name || model.name + ":latest" == name) return model;
    list += (list.empty() ? "" : ", ") + model.name;
  }
  throw ApiError(404, fmt::format("there is no model \"{}\" here; known: {}", name.substr(0, 200), list), "model",
                 "model_not_found");
}

PreparedPrompt ServedModels::prepare(const ServedModel& model, const ChatRequest& request) const {
  return Processor(model.model().config(), *model.model().tokenizer()).prepare(request);
}

}  // namespace minicpm::server

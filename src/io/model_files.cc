#include "io/model_files.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "io/file_choice.h"
#include "io/gguf_types.h"
#include "io/hub_cache.h"

namespace minicpm {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kWhatAModelIs =
    "a MODEL is a folder in the Hugging Face layout (config.json and *.safetensors), a .gguf file, or the name of a "
    "model that is installed, in $MINICPM_MODELS, or pulled";

bool has_gguf_magic(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::string magic(gguf::kMagic.size(), '\0');
  return in.read(magic.data(), static_cast<std::streamsize>(magic.size())) && magic == gguf::kMagic;
}

/// Names of regular files in a folder; empty if it cannot be read.
std::vector<std::string> file_names(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::error_code type_error;
    if (it->is_regular_file(type_error)) names.push_back(it->path().filename().string());
  }
  return names;
}

/// Of a file in a snapshot of the hub's cache: that snapshot. Repositories keep formats in folders of their own, and
/// the projector above them.
fs::path snapshot_above(const fs::path& folder) {
  const bool inner = folder.parent_path().parent_path().filename() == "snapshots";
  return inner ? folder.parent_path() : fs::path();
}

fs::path find_projector(const fs::path& model) {
  const fs::path folder = model.has_parent_path() ? model.parent_path() : fs::path(".");
  const std::string name = model.filename().string();
  if (const auto beside = choose_projector(file_names(folder), name)) return folder / *beside;
  const fs::path above = snapshot_above(folder);
  if (above.empty()) return {};
  const auto found = choose_projector(file_names(above), name);
  return found ? above / *found : fs::path();
}

bool is_file(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

/// Language models among the files of a folder, by name.
std::vector<std::string> gguf_models(const fs::path& folder) {
  std::vector<std::string> names;
  for (const std::string& name : file_names(folder)) {
    if (is_gguf_model_name(name)) names.push_back(name);
  }
  std::ranges::sort(names);
  return names;
}

ModelFiles folder_files(const fs::path& folder) {
  if (!is_file(folder / "config.json")) {
    const std::vector<std::string> models = gguf_models(folder);
    std::string hint = models.empty() ? "" : models[0];
    if (!hint.empty()) hint = "; it holds " + hint + ", which can be named itself";
    fail(ErrorCode::kNotFound,
         "{}: config.json is missing; a model folder has config.json, tokenizer files, and model.safetensors or "
         "model.safetensors.index.json with its shards{}",
         folder.string(), hint);
  }
  ModelFiles files;
  files.kind = ModelFiles::Kind::kHuggingFace;
  files.folder = folder;
  return files;
}

fs::path gguf_of_format(const fs::path& folder, const std::string& model, const std::string& format) {
  std::string known;
  for (const std::string& name : gguf_models(folder)) {
    if (ends_in_format(name, format)) return folder / name;
    known += (known.empty() ? "" : ", ") + name;
  }
  fail(ErrorCode::kNotFound, "{}: {} has no .gguf file whose name ends in {}; it has {}", model, folder.string(),
       format, known.empty() ? "none" : known);
}

}  // namespace

std::vector<fs::path> model_folders() {
  std::vector<fs::path> folders;
  if (const char* variable = std::getenv("MINICPM_MODELS"); variable != nullptr && *variable != '\0') {
    folders.emplace_back(variable);
  }
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error) return folders;
  const fs::path bin = program.parent_path();
  folders.push_back(bin.parent_path() / "share" / "minicpm" / "models");
  folders.push_back(bin.parent_path().parent_path() / "models");
  return folders;
}

fs::path model_path(const std::string& model) {
  std::error_code error;
  if (model.empty() || model.starts_with('.') || fs::exists(model, error)) return model;
  if (model.find('/') != std::string::npos) return find_in_hub_cache(model).value_or(model);
  const size_t colon = model.find(':');
  const std::string name = model.substr(0, colon);
  if (name.empty() || colon + 1 == model.size()) return model;
  for (const fs::path& base : model_folders()) {
    const fs::path folder = base / name;
    if (!fs::is_directory(folder, error)) continue;
    if (colon != std::string::npos) return gguf_of_format(folder, model, model.substr(colon + 1));
    if (is_file(folder / "config.json")) return folder;
    const std::vector<std::string> models = gguf_models(folder);
    return models.size() == 1 ? folder / models[0] : folder;
  }
  return model;
}

ModelFiles find_model_files(const std::string& model, const std::string& mmproj) {
  const fs::path path = model_path(model);
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (const auto name = parse_hub_name(model); name && !fs::exists(status)) {
    fail(ErrorCode::kNotFound, "{}: is neither here nor in the store; `minicpm pull {}` gets a model of that name",
         model, name->text());
  }
  if (model.empty() || !fs::exists(status)) {
    fail(ErrorCode::kNotFound, "{}: there is no such file or folder; {}", model.empty() ? "MODEL" : model,
         kWhatAModelIs);
  }
  if (fs::is_directory(status)) {
    if (!mmproj.empty()) {
      fail(ErrorCode::kInvalidRequest, "{}: a projector file belongs to a .gguf model, but {} is a folder", mmproj,
           model);
    }
    return folder_files(path);
  }
  if (!fs::is_regular_file(status) || !has_gguf_magic(path)) {
    fail(ErrorCode::kUnsupported, "{}: is not a GGUF file; {}", model, kWhatAModelIs);
  }
  ModelFiles files;
  files.kind = ModelFiles::Kind::kGguf;
  files.gguf = path;
  files.mmproj = mmproj.empty() ? find_projector(path) : fs::path(mmproj);
  if (!mmproj.empty() && !is_file(files.mmproj)) {
    fail(ErrorCode::kNotFound, "{}: there is no such projector file", mmproj);
  }
  return files;
}

}  // namespace minicpm

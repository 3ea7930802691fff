#include "io/model_files.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "io/gguf_types.h"

namespace minicpm {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kWhatAModelIs =
    "a MODEL is a folder in the Hugging Face layout (config.json and *.safetensors) or a .gguf file";

std::string lower_case(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

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

bool is_projector_name(const std::string& name) {
  const std::string lower = lower_case(name);
  return lower.starts_with("mmproj") && lower.ends_with(".gguf");
}

bool names_f16(const std::string& name) {
  const std::string lower = lower_case(name);
  for (size_t at = lower.find("f16"); at != std::string::npos; at = lower.find("f16", at + 1)) {
    if (at == 0 || lower[at - 1] != 'b') return true;
  }
  return false;
}

fs::path find_projector(const fs::path& model) {
  const fs::path folder = model.has_parent_path() ? model.parent_path() : fs::path(".");
  std::optional<std::string> best;
  const auto rank = [](const std::string& name) { return std::tuple(!names_f16(name), name); };
  for (const std::string& name : file_names(folder)) {
    if (!is_projector_name(name) || name == model.filename()) continue;
    if (!best || rank(name) < rank(*best)) best = name;
  }
  return best ? folder / *best : fs::path();
}

bool is_file(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

ModelFiles folder_files(const fs::path& folder) {
  if (!is_file(folder / "config.json")) {
    std::string hint;
    for (const std::string& name : file_names(folder)) {
      if (!lower_case(name).ends_with(".gguf") || is_projector_name(name)) continue;
      if (hint.empty() || name < hint) hint = name;
    }
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

}  // namespace

ModelFiles find_model_files(const std::string& model, const std::string& mmproj) {
  const fs::path path(model);
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
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

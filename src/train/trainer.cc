#include "train/trainer.h"

#include <dlfcn.h>

#include <filesystem>
#include <vector>

#include "base/error.h"

namespace minicpm {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLibrary = "libminicpm_train.so";

/// Beside the program as it is built (bin/ and lib/) and as it is installed.
std::vector<fs::path> candidates() {
  std::error_code ignored;
  const fs::path folder = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  std::vector<fs::path> result;
  for (const char* relative : {"../lib", "../" MINICPM_LIBDIR, "."})
    result.push_back((folder / relative / kLibrary).lexically_normal());
  return result;
}

fs::path find_library() {
  std::error_code ignored;
  for (const fs::path& path : candidates()) {
    if (fs::exists(path, ignored)) return path;
  }
  return {};
}

}  // namespace

bool training_available(std::string* path) {
  const fs::path found = find_library();
  if (path != nullptr) *path = found.empty() ? candidates().front().string() : found.string();
  return !found.empty();
}

TrainResult run_training(const TrainConfig& config, const TrainHooks& hooks, Communicator& communicator) {
  check_train_config(config);
  const fs::path path = find_library();
  if (path.empty()) {
    fail(ErrorCode::kUnsupported, "this build cannot train: {} is missing; install libtorch-dev and build again",
         candidates().front().string());
  }
  // Global, so that exceptions of the library are those of the program. It stays loaded.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) fail(ErrorCode::kBadFile, "{}: cannot be loaded: {}", path.string(), dlerror());
  using Entry = void(const TrainConfig&, const TrainHooks&, Communicator&, TrainResult&);
  auto* entry = reinterpret_cast<Entry*>(dlsym(library, "minicpm_train_entry"));
  if (entry == nullptr) fail(ErrorCode::kBadFile, "{}: is not the training library of this program", path.string());
  TrainResult result;
  entry(config, hooks, communicator, result);
  return result;
}

}  // namespace minicpm

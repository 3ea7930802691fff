#include "train/plugin_source.h"

#include <dlfcn.h>

#include <string>

#include "base/error.h"

namespace minicpm {
namespace {

constexpr const char* kMakeName = "minicpm_sample_source";
constexpr const char* kErrorName = "minicpm_sample_source_error";
using MakeFn = SampleSource* (*)(const char*);
using ErrorFn = const char* (*)();

template <typename Fn>
Fn find_function(void* library, const char* name, const std::string& path) {
  void* address = dlsym(library, name);
  if (address == nullptr) fail(ErrorCode::kBadFile, "{}: not a sample plug-in: it does not export {}", path, name);
  return reinterpret_cast<Fn>(address);
}

/// A missing dependency names itself, so the loader's own words are passed on, without the path they may begin with.
std::string loader_error(const std::string& path) {
  const char* text = dlerror();
  if (text == nullptr) return "unknown reason";
  std::string reason = text;
  if (reason.starts_with(path + ": ")) reason.erase(0, path.size() + 2);
  return reason;
}

}  // namespace

std::unique_ptr<SampleSource> load_plugin_source(const std::filesystem::path& library, const Json& options) {
  std::error_code error;
  // An absolute path keeps the loader from searching its own folders for a bare name.
  const std::string path = std::filesystem::absolute(library, error).string();
  if (error || !std::filesystem::is_regular_file(path, error)) {
    fail(ErrorCode::kNotFound, "{}: no such plug-in, or not a file", library.string());
  }
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == nullptr) fail(ErrorCode::kBadFile, "{}: cannot be loaded: {}", path, loader_error(path));
  const auto make = find_function<MakeFn>(handle, kMakeName, path);
  const auto problem = find_function<ErrorFn>(handle, kErrorName, path);
  const std::string text = options.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::unique_ptr<SampleSource> source;
  try {
    source.reset(make(text.c_str()));
  } catch (...) {
    fail(ErrorCode::kInvalidRequest, "{}: {} was left by an exception", path, kMakeName);
  }
  if (source == nullptr) {
    const char* reason = problem();
    fail(ErrorCode::kInvalidRequest, "{}: {}", path, reason != nullptr ? reason : "the options are refused");
  }
  return source;
}

}  // namespace minicpm

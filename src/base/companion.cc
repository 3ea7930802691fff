#include "base/companion.h"

#include <dlfcn.h>

#include <string>

#include "base/error.h"

namespace minicpm {
namespace {

namespace fs = std::filesystem;

/// The folder of the program or shared library that holds this code.
fs::path own_folder() {
  Dl_info info{};
  std::error_code ignored;
  if (dladdr(reinterpret_cast<void*>(&find_companion), &info) != 0 && info.dli_fname != nullptr) {
    const fs::path file = fs::canonical(info.dli_fname, ignored);
    if (!ignored && file.has_parent_path()) return file.parent_path();
  }
  return fs::read_symlink("/proc/self/exe", ignored).parent_path();  // a program started by a relative name
}

}  // namespace

fs::path find_companion(const char* library) {
  std::error_code ignored;
  for (const fs::path& folder : {own_folder(), fs::read_symlink("/proc/self/exe", ignored).parent_path()}) {
    for (const char* relative : {".", "../lib", "../" MINICPM_LIBDIR}) {
      const fs::path path = (folder / relative / library).lexically_normal();
      if (fs::exists(path, ignored)) return path;
    }
  }
  return {};
}

void* load_companion(const char* library, const char* function, const char* need) {
  const fs::path path = find_companion(library);
  if (path.empty()) fail(ErrorCode::kUnsupported, "{}: {} is not there", need, library);
  // Global, so that exceptions of the library are those of the program.
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (handle == nullptr) fail(ErrorCode::kBadFile, "{}: cannot be loaded: {}", path.string(), dlerror());
  void* symbol = dlsym(handle, function);
  if (symbol == nullptr) fail(ErrorCode::kBadFile, "{}: is not of this program's version", path.string());
  return symbol;
}

}  // namespace minicpm

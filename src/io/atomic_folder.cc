#include "io/atomic_folder.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/error.h"

namespace minicpm {
namespace {

namespace fs = std::filesystem;

/// Makes the names inside a folder last. File systems that cannot do so are left alone.
void sync_folder(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

/// "out/" and "out" name the same folder; the temporary one needs a name beside it.
fs::path without_final_slash(fs::path path) {
  return path.has_filename() ? path : path.parent_path();
}

fs::path parent_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

}  // namespace

AtomicFolder::AtomicFolder(const fs::path& target) : target_(without_final_slash(target)) {
  std::error_code error;
  const fs::file_status status = fs::status(target_, error);
  if (fs::exists(status) && !(fs::is_directory(status) && fs::is_empty(target_, error))) {
    fail(ErrorCode::kInvalidRequest, "{}: exists already and is not an empty folder", target_.string());
  }
  fs::create_directories(parent_of(target_), error);
  std::string pattern = target_.string() + ".XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) {
    const int code = errno;
    fail(code == ENOENT || code == ENOTDIR ? ErrorCode::kNotFound : ErrorCode::kIo, "{}: cannot make the folder: {}",
         target_.string(), std::strerror(code));
  }
  temporary_ = pattern;
}

AtomicFolder::~AtomicFolder() {
  if (committed_) return;
  std::error_code error;
  fs::remove_all(temporary_, error);
}

void AtomicFolder::commit() {
  sync_folder(temporary_);
  if (::chmod(temporary_.c_str(), 0755) != 0 || ::rename(temporary_.c_str(), target_.c_str()) != 0) {
    fail(ErrorCode::kIo, "{}: cannot put the folder in place: {}", target_.string(), std::strerror(errno));
  }
  committed_ = true;
  sync_folder(parent_of(target_));
}

}  // namespace minicpm

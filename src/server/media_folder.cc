#include "server/media_folder.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "server/http.h"

namespace minicpm::server {
namespace {

struct File {
  int descriptor;
  ~File() {
    if (descriptor >= 0) close(descriptor);
  }
};

/// Not blocking: a FIFO would wait for somebody to write.
int open_beneath(int folder, const char* path) {
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;
  long result;
  do
    result = syscall(SYS_openat2, folder, path, &how, sizeof how);
  while (result < 0 && (errno == EINTR || errno == EAGAIN));  // EAGAIN: something was renamed meanwhile
  return static_cast<int>(result);
}

[[noreturn]] void fail_open() {
  switch (errno) {
    case EXDEV:
    case ELOOP:
      fail(ErrorCode::kRefused, "leads out of the folder of media, or through a symbolic link");
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
      fail(ErrorCode::kNotFound, "there is no such file in the folder of media");
    case EACCES:
    case EPERM:
      fail(ErrorCode::kRefused, "the file cannot be read");
    default:
      fail(ErrorCode::kIo, "the file cannot be opened: {}", std::strerror(errno));
  }
}

std::string read_whole(const File& file, size_t limit_bytes) {
  struct stat status {};
  if (fstat(file.descriptor, &status) != 0) fail(ErrorCode::kIo, "the file cannot be read");
  if (!S_ISREG(status.st_mode)) fail(ErrorCode::kUnsupported, "is no regular file");
  if (static_cast<uint64_t>(status.st_size) > limit_bytes) {
    fail(ErrorCode::kUnsupported, "is larger than {} bytes", limit_bytes);
  }
  std::string bytes(static_cast<size_t>(status.st_size), '\0');
  size_t at = 0;
  while (at < bytes.size()) {
    const ssize_t count = ::read(file.descriptor, bytes.data() + at, bytes.size() - at);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(ErrorCode::kIo, "the file cannot be read: {}", std::strerror(errno));
    if (count == 0) break;
    at += static_cast<size_t>(count);
  }
  bytes.resize(at);
  return bytes;
}

}  // namespace

MediaFolder::MediaFolder(const std::filesystem::path& folder) {
  std::error_code error;
  folder_ = std::filesystem::canonical(folder, error).string();
  if (error) fail(ErrorCode::kNotFound, "{}: {}", folder.string(), error.message());
  descriptor_ = open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor_ < 0) fail(ErrorCode::kIo, "{}: cannot be read as a folder: {}", folder_, std::strerror(errno));
  if (folder_ == "/") folder_.clear();
  const File probe{open_beneath(descriptor_, ".")};
  if (probe.descriptor >= 0) return;
  const int reason = errno;
  close(descriptor_);
  fail(ErrorCode::kUnsupported, "{}: this system cannot keep paths inside a folder: {}", folder_,
       std::strerror(reason));
}

MediaFolder::~MediaFolder() {
  close(descriptor_);
}

std::string MediaFolder::read(std::string_view name, size_t limit_bytes) const {
  std::string path(name);
  constexpr std::string_view kScheme = "file://";
  if (name.starts_with(kScheme)) {
    const auto decoded = percent_decoded(name.substr(kScheme.size()));
    if (!decoded) fail(ErrorCode::kRefused, "is not a file: URL");
    path = *decoded;
    if (path.starts_with('/')) {
      if (!path.starts_with(folder_ + "/")) fail(ErrorCode::kRefused, "leads out of the folder of media");
      path.erase(0, folder_.size() + 1);
    }
  }
  const bool control = std::ranges::any_of(path, [](unsigned char c) { return c < ' '; });
  if (path.empty() || control) fail(ErrorCode::kRefused, "is not the name of a file");
  const File file{open_beneath(descriptor_, path.c_str())};
  if (file.descriptor < 0) fail_open();
  return read_whole(file, limit_bytes);
}

}  // namespace minicpm::server

#include "base/file_map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/error.h"

namespace minicpm {
namespace {

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }
  int release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }

 private:
  int fd_;
};

[[noreturn]] void fail_errno(const std::string& path, const char* action, int error) {
  const ErrorCode code = error == ENOENT || error == ENOTDIR ? ErrorCode::kNotFound : ErrorCode::kIo;
  fail(code, "{}: cannot {}: {}", path, action, std::strerror(error));
}

}  // namespace

std::shared_ptr<const FileMap> FileMap::open(const std::filesystem::path& path) {
  // O_NONBLOCK keeps a FIFO from blocking the open; anything but a regular file is refused below.
  const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) fail_errno(path.string(), "open the file", errno);
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) fail_errno(path.string(), "read the file's size", errno);
  if (!S_ISREG(status.st_mode)) fail(ErrorCode::kIo, "{}: is not a regular file", path.string());
  const auto size = static_cast<size_t>(status.st_size);
  const std::byte* data = nullptr;
  if (size > 0) {
    void* address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), 0);
    if (address == MAP_FAILED) fail_errno(path.string(), "map the file", errno);
    data = static_cast<const std::byte*>(address);
  }
  return std::shared_ptr<const FileMap>(new FileMap(path.string(), data, size));
}

FileMap::~FileMap() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

std::string read_file(const std::filesystem::path& path, size_t limit_bytes) {
  const auto map = FileMap::open(path);
  if (map->size() > limit_bytes) {
    fail(ErrorCode::kBadFile, "{}: has {} bytes, more than the {} such a file may have", path.string(), map->size(),
         limit_bytes);
  }
  return std::string(reinterpret_cast<const char*>(map->bytes().data()), map->size());
}

void write_file_atomically(const std::filesystem::path& path, std::string_view content) {
  std::string beside = path.string() + ".XXXXXX";
  FileDescriptor fd(::mkstemp(beside.data()));
  if (fd.get() < 0) fail_errno(path.string(), "create the file", errno);
  const auto give_up = [&](const char* action) {
    const int error = errno;
    ::unlink(beside.c_str());
    fail_errno(path.string(), action, error);
  };
  for (size_t done = 0; done < content.size();) {
    const ssize_t n = ::write(fd.get(), content.data() + done, content.size() - done);
    if (n < 0 && errno != EINTR) give_up("write the file");
    if (n > 0) done += static_cast<size_t>(n);
  }
  if (::fchmod(fd.get(), 0644) != 0 || ::fsync(fd.get()) != 0) give_up("write the file");
  if (::close(fd.release()) != 0) give_up("write the file");
  if (::rename(beside.c_str(), path.c_str()) != 0) give_up("put the file in place");
}

}  // namespace minicpm

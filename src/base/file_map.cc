#include "base/file_map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/error.h"
#include "base/machine.h"
#include "base/parallel.h"

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

// Magic numbers of statfs(2) for what a network or another process serves: AFS, Ceph, CIFS, Coda, FUSE, NCP, NFS, SMB,
// SMB2, 9P.
constexpr uint32_t kServedFileSystems[] = {0x5346414f, 0x00c36400, 0xff534d42, 0x73757245, 0x65735546,
                                           0x0000564c, 0x00006969, 0x0000517b, 0xfe534d42, 0x01021997};

bool is_served(const std::filesystem::path& path) {
  struct statfs status {};
  if (::statfs(path.c_str(), &status) != 0) return false;
  return std::ranges::find(kServedFileSystems, static_cast<uint32_t>(status.f_type)) != std::end(kServedFileSystems);
}

bool fits_in_memory(uint64_t bytes) {
  const int64_t available = machine_memory().available_bytes;
  return available == 0 || bytes <= static_cast<uint64_t>(available);  // 0: unknown
}

/// One thread's part of a file. What was read is dropped from the system's cache, where it would be a second copy.
void read_part(int fd, const std::string& path, std::byte* data, int64_t first, int64_t last) {
  constexpr int64_t kPiece = 8 << 20;
  while (first < last) {
    const ssize_t n = ::pread(fd, data + first, static_cast<size_t>(std::min(kPiece, last - first)), first);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_errno(path, "read the file", errno);
    if (n == 0) fail(ErrorCode::kIo, "{}: became shorter while it was read", path);
    ::posix_fadvise(fd, first, n, POSIX_FADV_DONTNEED);
    first += n;
  }
}

}  // namespace

FileAccess choose_file_access(const std::filesystem::path& path, FileAccess wanted) {
  if (wanted != FileAccess::kAuto) return wanted;
  if (!is_served(path)) return FileAccess::kMap;
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(path, error);
  return error || fits_in_memory(size) ? FileAccess::kRead : FileAccess::kMap;
}

std::shared_ptr<const FileMap> FileMap::open(const std::filesystem::path& path, FileAccess access) {
  // O_NONBLOCK keeps a FIFO from blocking the open; anything but a regular file is refused below.
  const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) fail_errno(path.string(), "open the file", errno);
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) fail_errno(path.string(), "read the file's size", errno);
  if (!S_ISREG(status.st_mode)) fail(ErrorCode::kIo, "{}: is not a regular file", path.string());
  const auto size = static_cast<size_t>(status.st_size);
  if (size == 0) return std::shared_ptr<const FileMap>(new FileMap(path.string(), nullptr, 0));
  if (choose_file_access(path, access) == FileAccess::kRead) return read(fd.get(), path.string(), size);
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (address == MAP_FAILED) fail_errno(path.string(), "map the file", errno);
  return std::shared_ptr<const FileMap>(new FileMap(path.string(), static_cast<const std::byte*>(address), size));
}

std::shared_ptr<const FileMap> FileMap::read(int fd, const std::string& path, size_t size) {
  void* address = MAP_FAILED;
  if (fits_in_memory(size)) {
    address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  }
  if (address == MAP_FAILED) {
    fail(ErrorCode::kOutOfMemory, "{}: its {} bytes do not fit into the memory that is free; mapped files need less",
         path, size);
  }
  auto* data = static_cast<std::byte*>(address);
  const std::shared_ptr<const FileMap> map(new FileMap(path, data, size));  // owns the memory from here on
  advise_large_pages(data, size);
  constexpr int64_t kBytesPerThread = 16 << 20;
  const auto bytes = static_cast<int64_t>(size);
  for_parts(bytes, threads_for(bytes, kBytesPerThread),
            [&](int64_t first, int64_t last) { read_part(fd, path, data, first, last); });
  ::mprotect(address, size, PROT_READ);  // as a mapped file: nothing may change it
  return map;
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

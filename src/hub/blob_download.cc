#include "hub/blob_download.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <optional>
#include <thread>
#include <vector>

#include "hub/content_hash.h"

namespace minicpm::hub {
namespace {

namespace fs = std::filesystem;

constexpr mode_t kFileMode = 0644;

[[noreturn]] void fail_errno(const fs::path& path, const char* action) {
  const int error = errno;
  fail(ErrorCode::kIo, "{}: cannot {}: {}", path.string(), action, std::strerror(error));
}

/// A file descriptor; never of what a link points to.
class File {
 public:
  explicit File(const fs::path& path)
      : fd_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, kFileMode)) {
    if (fd_ < 0) fail_errno(path, "open the file");
  }
  ~File() { ::close(fd_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

/// Waits until no other pull holds the lock.
void take_lock(const File& file, const fs::path& path, const std::atomic<bool>* cancel) {
  constexpr std::chrono::milliseconds kStep(100);
  while (::flock(file.fd(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) fail_errno(path, "lock the file");
    if (cancel != nullptr && cancel->load()) fail(ErrorCode::kCancelled, "cancelled");
    std::this_thread::sleep_for(kStep);
  }
}

std::optional<uint64_t> size_of_file(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  return error ? std::nullopt : std::optional<uint64_t>(size);
}

/// An etag as the name it stands for: W/"abc" -> abc.
std::string bare_etag(std::string etag) {
  if (etag.starts_with("W/")) etag.erase(0, 2);
  std::erase(etag, '"');
  return etag;
}

/// The incomplete file, with the hash of what it holds.
class PartFile {
 public:
  PartFile(const BlobJob& job, const fs::path& path) : job_(job), path_(path), file_(path) {
    struct stat status = {};
    if (::fstat(file_.fd(), &status) != 0) fail_errno(path_, "look at the file");
    if (!S_ISREG(status.st_mode)) fail(ErrorCode::kIo, "{}: is no regular file", path_.string());
    start_anew();
    if (static_cast<uint64_t>(status.st_size) <= job_.size) {
      take_over(static_cast<uint64_t>(status.st_size));
    } else {
      drop_from(0);
    }
  }

  uint64_t size() const { return size_; }
  void append(std::string_view bytes) {
    if (bytes.size() > job_.size - size_) {
      fail(ErrorCode::kBadFile, "{}: more than its {} bytes were sent", job_.path, job_.size);
    }
    hash_->add(bytes);
    job_.add(static_cast<int64_t>(bytes.size()));
    size_ += bytes.size();
    while (!bytes.empty()) {
      const ssize_t n = ::write(file_.fd(), bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail_errno(path_, "write the file");
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }
  void clear() {
    drop_from(0);
    job_.add(-static_cast<int64_t>(size_));
    start_anew();
  }
  std::string finish_hash() { return hash_->finish(); }
  void put_in_place(const fs::path& target) {
    if (::fsync(file_.fd()) != 0) fail_errno(path_, "write the file");
    if (::rename(path_.c_str(), target.c_str()) != 0) fail_errno(target, "put the file in place");
    const int folder = ::open(target.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return;
    ::fsync(folder);
    ::close(folder);
  }

 private:
  void start_anew() {
    hash_.emplace(kind_of_hash(job_.hash), job_.size);
    size_ = 0;
  }
  void drop_from(off_t offset) {
    if (::ftruncate(file_.fd(), offset) != 0 || ::lseek(file_.fd(), offset, SEEK_SET) < 0) {
      fail_errno(path_, "shorten the file");
    }
  }
  void take_over(uint64_t bytes) {
    std::vector<char> buffer(1u << 20);
    while (size_ < bytes) {
      const ssize_t n = ::read(file_.fd(), buffer.data(), std::min<uint64_t>(buffer.size(), bytes - size_));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) fail_errno(path_, "read the file");
      hash_->add({buffer.data(), static_cast<size_t>(n)});
      size_ += static_cast<uint64_t>(n);
    }
    job_.add(static_cast<int64_t>(bytes));
  }

  const BlobJob& job_;
  const fs::path path_;
  File file_;
  std::optional<ContentHash> hash_;
  uint64_t size_ = 0;
};

/// Where a 206 begins, from "bytes 100-199/200".
std::optional<uint64_t> range_begin(const std::string& content_range) {
  unsigned long long begin = 0;
  return std::sscanf(content_range.c_str(), "bytes %llu-", &begin) == 1 ? std::optional<uint64_t>(begin) : std::nullopt;
}

/// What the head of an answer says must be the content that was asked for.
void check_head(const GetReply& head, const BlobJob& job, PartFile& part) {
  const std::string etag = bare_etag(head.header("x-linked-etag"));
  const std::string commit = head.header("x-repo-commit");
  if ((etag.size() == job.hash.size() && etag != job.hash) || (!commit.empty() && commit != job.commit)) {
    fail(ErrorCode::kBadFile, "{}: another content is there now than the hub's list says; pull again", job.path);
  }
  if (head.status == 200 && part.size() > 0) part.clear();  // ranges are not served there
  if (head.status == 206 && range_begin(head.header("content-range")) != part.size()) {
    fail(ErrorCode::kNetwork, "{}: another part of it was sent than asked for", job.path);
  }
}

/// One request. The exceptions of callbacks must not pass through the C library.
GetReply request_rest(HttpClient& client, const HubSettings& settings, const BlobJob& job, PartFile& part,
                      const std::atomic<bool>* cancel) {
  std::exception_ptr problem;
  const auto guarded = [&problem](const auto& work) {
    try {
      work();
      return true;
    } catch (...) {
      problem = std::current_exception();
      return false;
    }
  };
  const GetRequest request{
      .url = job.url,
      .token = settings.token,
      .offset = part.size(),
      .sink = [&](std::string_view piece) { return guarded([&] { part.append(piece); }); },
      .on_head = [&](const GetReply& head) { return guarded([&] { check_head(head, job, part); }); },
      .cancel = cancel};
  GetReply reply = client.get(request);
  if (problem) std::rethrow_exception(problem);
  return reply;
}

/// Until the file has its size. Throws Error.
void fill(HttpClient& client, const HubSettings& settings, const BlobJob& job, PartFile& part,
          const std::function<void(const GetReply&)>& fail_reply, const std::atomic<bool>* cancel) {
  Attempts attempts(settings, cancel);
  while (part.size() < job.size) {
    const uint64_t before = part.size();
    std::string pause;
    try {
      const GetReply reply = request_rest(client, settings, job, part, cancel);
      if (reply.status == 416 && before > 0) {
        part.clear();
      } else if (reply.status != 200 && reply.status != 206) {
        pause = reply.header("retry-after");
        if (!is_passing_failure(reply.status) || !attempts.again(pause)) fail_reply(reply);
        continue;
      }
      if (part.size() > before) attempts.made_progress();
      if (part.size() < job.size && !attempts.again()) {
        fail(ErrorCode::kNetwork, "{}: ends after {} of {} bytes", job.path, part.size(), job.size);
      }
    } catch (const TransferError&) {
      if (part.size() > before) attempts.made_progress();
      if (!attempts.again()) throw;
    }
  }
}

}  // namespace

uint64_t missing_bytes(const fs::path& blobs, const std::string& hash, uint64_t size) {
  if (size_of_file(blobs / hash) == size) return 0;
  const uint64_t there = size_of_file(blobs / (hash + ".incomplete")).value_or(0);
  return there <= size ? size - there : size;
}

void fetch_blob(HttpClient& client, const HubSettings& settings, const BlobJob& job, const std::atomic<bool>* cancel) {
  const fs::path lock_path = job.locks / (job.hash + ".lock");
  const File lock(lock_path);
  take_lock(lock, lock_path, cancel);
  const fs::path target = job.blobs / job.hash;
  if (size_of_file(target) == job.size) return job.add(static_cast<int64_t>(job.size));

  const fs::path part_path = job.blobs / (job.hash + ".incomplete");
  const auto fail_reply = [&](const GetReply& reply) {
    const ErrorCode code = reply.status == 401 || reply.status == 403 ? ErrorCode::kRefused
                           : reply.status == 404                      ? ErrorCode::kNotFound
                                                                      : ErrorCode::kNetwork;
    fail(code, "{}: {} answers {}", job.path, host_of(job.url), reply.status);
  };
  PartFile part(job, part_path);
  // What an earlier run left may be damaged; what came in one go is not tried again.
  for (bool resumed = part.size() > 0;; resumed = false) {
    fill(client, settings, job, part, fail_reply, cancel);
    if (part.finish_hash() == job.hash) return part.put_in_place(target);
    part.clear();
    if (!resumed) break;
  }
  ::unlink(part_path.c_str());
  fail(ErrorCode::kBadFile, "{}: what was sent does not have the hash that the hub's list says", job.path);
}

}  // namespace minicpm::hub

#include "hub/pull.h"

#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "base/checked.h"
#include "hub/blob_download.h"
#include "hub/repository.h"
#include "io/atomic_file.h"

namespace minicpm::hub {
namespace {

namespace fs = std::filesystem;

void make_folders(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail(ErrorCode::kIo, "{}: cannot make the folder: {}", folder.string(), error.message());
}

/// The contents of the files, each once.
std::vector<BlobJob> jobs_for(const std::vector<RepositoryFile>& files, const Repository& repository,
                              const HubName& name, const HubSettings& settings) {
  std::map<std::string, BlobJob> jobs;
  for (const RepositoryFile& file : files) {
    BlobJob& job = jobs[file.hash];
    job.url =
        fmt::format("{}/{}/resolve/{}/{}", settings.endpoint, name.id(), repository.commit, encode_path(file.path));
    job.path = file.path;
    job.hash = file.hash;
    job.size = file.size;
    job.commit = repository.commit;
    job.blobs = settings.cache / name.folder_name() / "blobs";
    job.locks = settings.cache / ".locks" / name.folder_name();
  }
  std::vector<BlobJob> list;
  for (auto& [hash, job] : jobs)
    list.push_back(std::move(job));
  // Large ones first: they decide when the last one ends.
  std::ranges::stable_sort(list, std::ranges::greater(), &BlobJob::size);
  return list;
}

void check_room(const std::vector<BlobJob>& jobs, const fs::path& folder) {
  constexpr uint64_t kSpare = 64u << 20;  // for what else is written meanwhile
  uint64_t missing = 0;
  for (const BlobJob& job : jobs)
    missing += missing_bytes(job.blobs, job.hash, job.size);  // 100,000 files of 16 TiB at most: no overflow
  struct statvfs disk = {};
  if (missing == 0 || ::statvfs(folder.c_str(), &disk) != 0) return;
  const uint64_t free = static_cast<uint64_t>(disk.f_bavail) * disk.f_frsize;
  if (free >= missing && free - missing >= kSpare) return;
  constexpr double kMiB = 1 << 20;
  fail(ErrorCode::kIo, "{}: {:.0f} MiB are to be fetched, but the disk has room for {:.0f} MiB", folder.string(),
       static_cast<double>(missing) / kMiB, static_cast<double>(free) / kMiB);
}

/// Threads that take one content after the other; the first error ends all.
class Downloads {
 public:
  Downloads(std::vector<BlobJob> jobs, const HubSettings& settings) : jobs_(std::move(jobs)), settings_(settings) {
    for (BlobJob& job : jobs_) {
      total_bytes_ += static_cast<int64_t>(job.size);
      job.add = [this](int64_t bytes) { done_bytes_ += bytes; };
    }
  }

  void run(const PullOptions& options) {
    const size_t count = std::min(jobs_.size(), static_cast<size_t>(std::max(settings_.parallel, 1)));
    working_ = count;
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < count; ++i)
      threads.emplace_back([this] { work(); });
    watch(options);
    threads.clear();
    if (problem_) std::rethrow_exception(problem_);
  }

 private:
  void work() {
    try {
      HttpClient client(settings_.times);
      for (size_t i = next_++; i < jobs_.size() && !stop_; i = next_++) {
        fetch_blob(client, settings_, jobs_[i], &stop_);
        ++done_files_;
      }
    } catch (...) {
      const std::scoped_lock lock(mutex_);
      if (!problem_) problem_ = std::current_exception();  // those after it were stopped by it
      stop_ = true;
    }
    const std::scoped_lock lock(mutex_);
    --working_;
    changed_.notify_all();
  }

  void watch(const PullOptions& options) {
    constexpr std::chrono::milliseconds kStep(100);
    const auto report = [&] {
      if (options.on_progress) options.on_progress({done_bytes_, total_bytes_, done_files_, jobs_.size()});
    };
    std::unique_lock lock(mutex_);
    while (working_ > 0) {
      changed_.wait_for(lock, kStep, [this] { return working_ == 0; });
      if (options.cancel != nullptr && options.cancel->load()) {
        if (!problem_) problem_ = std::make_exception_ptr(Error(ErrorCode::kCancelled, "cancelled"));
        stop_ = true;
      }
      lock.unlock();
      report();
      lock.lock();
    }
  }

  std::vector<BlobJob> jobs_;
  const HubSettings& settings_;
  std::atomic<size_t> next_{0}, done_files_{0};
  std::atomic<int64_t> done_bytes_{0};
  int64_t total_bytes_ = 0;
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t working_ = 0;          // under mutex_
  std::exception_ptr problem_;  // likewise
};

/// snapshots/COMMIT/PATH -> ../../blobs/HASH, with one more ../ for each folder in the path.
void link_file(const fs::path& snapshot, const RepositoryFile& file) {
  const fs::path link = snapshot / file.path;
  make_folders(link.parent_path());
  fs::path target = fs::path("../..");
  for (auto depth = std::ranges::count(file.path, '/'); depth > 0; --depth)
    target /= "..";
  target /= fs::path("blobs") / file.hash;
  std::error_code error;
  if (fs::read_symlink(link, error) == target) return;
  const fs::path temporary = fs::path(link).concat(fmt::format(".{}.tmp", ::getpid()));
  fs::remove(temporary, error);
  fs::create_symlink(target, temporary, error);
  if (!error) fs::rename(temporary, link, error);
  if (error) fail(ErrorCode::kIo, "{}: cannot make the link: {}", link.string(), error.message());
}

void write_ref(const fs::path& folder, const HubName& name, const std::string& commit) {
  if (is_commit(name.revision)) return;
  const fs::path ref = folder / "refs" / name.revision;
  make_folders(ref.parent_path());
  AtomicFile file(ref);
  file.write(commit);  // without a newline, as the hub's libraries read it
  file.commit();
}

}  // namespace

PullResult pull(const HubName& name, const HubSettings& settings, const PullOptions& options) {
  if (settings.offline) fail(ErrorCode::kNetwork, "{}: HF_HUB_OFFLINE is set, so nothing is fetched", name.text());
  HttpClient client(settings.times);
  const Repository repository = fetch_repository(client, settings, name, options.cancel);
  const std::vector<RepositoryFile> files = needed_files(repository, name);
  std::vector<BlobJob> jobs = jobs_for(files, repository, name, settings);

  const fs::path folder = settings.cache / name.folder_name();
  make_folders(folder / "blobs");
  make_folders(settings.cache / ".locks" / name.folder_name());
  check_room(jobs, folder);
  PullResult result{
      .commit = repository.commit, .snapshot = folder / "snapshots" / repository.commit, .files = files.size()};
  for (const BlobJob& job : jobs) {
    result.bytes += static_cast<int64_t>(job.size);
    result.fetched_bytes += static_cast<int64_t>(missing_bytes(job.blobs, job.hash, job.size));
  }
  Downloads(std::move(jobs), settings).run(options);
  for (const RepositoryFile& file : files)
    link_file(result.snapshot, file);
  write_ref(folder, name, repository.commit);
  return result;
}

}  // namespace minicpm::hub

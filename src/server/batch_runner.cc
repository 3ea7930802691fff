#include "server/batch_runner.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <chrono>
#include <optional>

#include "base/error.h"
#include "server/answering.h"

namespace minicpm::server {
namespace {

constexpr std::chrono::seconds kLook{5};    // for batches of other servers
constexpr std::chrono::seconds kReport{1};  // between two looks at the database while a batch runs
constexpr int kOk = 200;

/// While it lives no other process, or runner, works on the batch.
class Claim {
 public:
  explicit Claim(const std::filesystem::path& file) : fd_(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {
    held_ = fd_ >= 0 && ::flock(fd_, LOCK_EX | LOCK_NB) == 0;
  }
  ~Claim() {
    if (fd_ >= 0) ::close(fd_);
  }
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;
  bool held() const { return held_; }

 private:
  int fd_;
  bool held_ = false;
};

bool was_good(const Json& answer) {
  return answer.at("response").at("status_code") == kOk;
}

bool is_status(const Json& batch, std::string_view status) {
  return batch.at("status") == status;
}

}  // namespace

BatchRunner::BatchRunner(ServerState& state, Options options)
    : options_(std::move(options)),
      files_(state),
      batches_(state),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

BatchRunner::~BatchRunner() = default;  // the thread is the last member: it ends first

void BatchRunner::wake() {
  {
    const std::scoped_lock lock(mutex_);
    news_ = true;
  }
  changed_.notify_all();
}

void BatchRunner::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    try {
      run_all(stop);
    } catch (const std::exception& error) {
      if (options_.log) options_.log(std::string("batches: ") + error.what());
    }
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, stop, kLook, [this] { return news_; });
    news_ = false;
  }
}

void BatchRunner::run_all(const std::stop_token& stop) {
  for (const BatchStore::Work& work : batches_.unfinished()) {
    if (stop.stop_requested()) return;
    const Claim claim(batches_.lock(work.id));
    if (claim.held()) process(work, stop);
  }
}

void BatchRunner::process(const BatchStore::Work& work, const std::stop_token& stop) {
  try {
    const auto batch = batches_.change(work.scope, work.id, [](Json& json) {
      if (is_status(json, "validating")) json["status"] = "in_progress";
      if (json["in_progress_at"].is_null()) json["in_progress_at"] = unix_time();
    });
    if (!batch || is_finished(*batch)) return batches_.clean(work.id);  // another server was faster
    if (!is_status(*batch, "cancelling") && !answer_all(work, *batch, stop)) return;
    finish(work);
  } catch (const Error& error) {
    if (options_.log) options_.log(work.id + ": " + error.what());
    give_up(work, error.code() == ErrorCode::kBadFile ? error.what() : "the server could not do the work");
  }
}

/// False if the server ends before all is answered.
bool BatchRunner::answer_all(const BatchStore::Work& work, const Json& batch, const std::stop_token& stop) {
  std::atomic<bool> cancel{false};
  const std::stop_callback on_stop(stop, [&] { cancel = true; });
  auto reported = std::chrono::steady_clock::now() - kReport;
  BatchOptions options{.parallel = options_.parallel, .cancel = &cancel};
  options.source = "the input file";
  options.url = batch.at("endpoint").get<std::string>();
  options.on_progress = [&](const BatchProgress& progress) {
    const auto now = std::chrono::steady_clock::now();
    if (now - reported < kReport) return;
    reported = now;
    report(work, progress, cancel);
  };
  const BatchTarget target{.answer = [&](HttpRequest request, const std::atomic<bool>& stopped) {
    request.left_by = work.scope;
    return options_.answer(std::move(request), stopped);
  }};
  run_batch(batches_.requests(work.id), batches_.answers(work.id), target, options);
  return !stop.stop_requested();
}

void BatchRunner::report(const BatchStore::Work& work, const BatchProgress& progress, std::atomic<bool>& cancel) {
  batches_.change(work.scope, work.id, [&](Json& json) {
    json["request_counts"] = {
        {"total", progress.total}, {"completed", progress.done - progress.failed}, {"failed", progress.failed}};
    if (is_status(json, "cancelling")) cancel = true;
  });
}

/// The answers become two files: those that are good, and the others.
void BatchRunner::finish(const BatchStore::Work& work) {
  batches_.change(work.scope, work.id, [](Json& json) {
    if (!is_status(json, "cancelling")) json["status"] = "finalizing";
    json["finalizing_at"] = unix_time();
  });
  int64_t good = 0, bad = 0;
  const auto write = [&](AtomicFile& file, bool wanted, int64_t& count) {
    for_each_answer(batches_.answers(work.id), [&](std::string_view line, const Json& answer) {
      if (was_good(answer) != wanted) return;
      file.write(line);
      file.write("\n");
      ++count;
    });
  };
  const auto add = [&](const char* kind, bool wanted, int64_t& count) -> Json {
    const std::string name = work.id + "_" + kind + ".jsonl";
    const Json file = files_.add(work.scope, name, "batch_output", [&](AtomicFile& out) { write(out, wanted, count); });
    if (count > 0) return file.at("id");
    files_.remove(work.scope, file.at("id").get<std::string>());
    return nullptr;
  };
  const Json output = add("output", true, good), errors = add("error", false, bad);
  batches_.change(work.scope, work.id, [&](Json& json) {
    const bool cancelled = is_status(json, "cancelling");
    json["status"] = cancelled ? "cancelled" : "completed";
    json[cancelled ? "cancelled_at" : "completed_at"] = unix_time();
    json["output_file_id"] = output;
    json["error_file_id"] = errors;
    Json& counts = json["request_counts"];
    counts["completed"] = good;
    counts["failed"] = bad;
    if (!cancelled) counts["total"] = good + bad;
  });
  batches_.clean(work.id);
}

void BatchRunner::give_up(const BatchStore::Work& work, const std::string& message) {
  batches_.change(work.scope, work.id, [&](Json& json) {
    json["status"] = "failed";
    json["failed_at"] = unix_time();
    const Json problem = {{"code", "invalid_file"}, {"message", message}, {"param", nullptr}, {"line", nullptr}};
    json["errors"] = {{"object", "list"}, {"data", Json::array({problem})}};
  });
  batches_.clean(work.id);
}

}  // namespace minicpm::server

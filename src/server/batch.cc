#include "server/batch.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>
#include <set>
#include <thread>

#include "base/error.h"
#include "base/file_map.h"
#include "server/answering.h"
#include "server/json_body.h"

namespace minicpm::server {
namespace {

constexpr size_t kMaxLineBytes = 256u << 20;
constexpr size_t kMaxIdBytes = 512;
constexpr int kOk = 200;

[[noreturn]] void fail_errno(const std::filesystem::path& path, const char* action) {
  const int error = errno;
  fail(error == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, "{}: cannot {}: {}", path.string(), action,
       std::strerror(error));
}

/// Calls `visit(line, number)` for each line that is not blank; without the line break.
template <typename Visit>
void for_each_line(std::string_view text, const Visit& visit) {
  int64_t number = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    ++number;
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.find_first_not_of(" \t") != std::string_view::npos) visit(line, number);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

/// A line of the file of requests, checked.
struct Request {
  std::string id, url;
  Json body;
};

Request read_request(std::string_view line, const std::string& where) {
  if (line.size() > kMaxLineBytes) fail(ErrorCode::kBadFile, "{}: is longer than {} bytes", where, kMaxLineBytes);
  const Json json = parse_json(line, where);
  const auto text = [&](const char* key) {
    const auto found = json.is_object() ? json.find(key) : json.end();
    if (!json.is_object() || found == json.end() || !found->is_string()) {
      fail(ErrorCode::kBadFile, "{}: {} is no string", where, key);
    }
    return found->get<std::string>();
  };
  Request request{text("custom_id"), text("url"), {}};
  if (request.id.empty() || request.id.size() > kMaxIdBytes) {
    fail(ErrorCode::kBadFile, "{}: custom_id must have 1 to {} bytes", where, kMaxIdBytes);
  }
  if (text("method") != "POST") fail(ErrorCode::kBadFile, "{}: method must be POST", where);
  if (!request.url.starts_with("/v1/")) fail(ErrorCode::kBadFile, "{}: url must begin with /v1/", where);
  const auto body = json.find("body");
  if (body == json.end() || !body->is_object()) fail(ErrorCode::kBadFile, "{}: body is no object", where);
  request.body = *body;
  return request;
}

/// A line of a file of answers, checked.
Json read_answer(std::string_view line, const std::string& where) {
  Json json = parse_json(line, where);
  const bool good = json.is_object() && json.contains("custom_id") && json["custom_id"].is_string() &&
                    json.contains("response") && json["response"].is_object() &&
                    json["response"].contains("status_code");
  if (!good) fail(ErrorCode::kBadFile, "{}: is no answer of a batch", where);
  return json;
}

/// The file that answers are added to.
class AnswerFile {
 public:
  explicit AnswerFile(const std::filesystem::path& path)
      : path_(path), fd_(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) {
    if (fd_ < 0) fail_errno(path_, "open the file");
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
      ::close(fd_);
      fail(ErrorCode::kInvalidRequest, "{}: another batch is writing it", path_.string());
    }
  }
  ~AnswerFile() { ::close(fd_); }
  AnswerFile(const AnswerFile&) = delete;
  AnswerFile& operator=(const AnswerFile&) = delete;

  struct Contents {
    std::set<std::string> ids;
    int64_t failed = 0;
  };
  /// What it has answers for. Cuts off a last line without its end.
  Contents read() {
    struct stat status = {};
    if (::fstat(fd_, &status) != 0) fail_errno(path_, "look at the file");
    Contents contents;
    if (status.st_size == 0) return contents;
    const auto map = FileMap::open(path_);
    const std::string_view text(reinterpret_cast<const char*>(map->bytes().data()), map->size());
    const size_t whole = text.rfind('\n') + 1;  // 0 without one
    for_each_line(text.substr(0, whole), [&](std::string_view line, int64_t number) {
      const std::string where = fmt::format("{} line {}", path_.string(), number);
      const Json json = read_answer(line, where);
      contents.ids.insert(json["custom_id"].get<std::string>());
      contents.failed += json["response"]["status_code"] != kOk;
    });
    if (whole < text.size() && ::ftruncate(fd_, static_cast<off_t>(whole)) != 0) fail_errno(path_, "shorten the file");
    return contents;
  }

  void add(std::string line) {
    line += '\n';
    const std::scoped_lock lock(mutex_);
    for (std::string_view rest = line; !rest.empty();) {
      const ssize_t n = ::write(fd_, rest.data(), rest.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail_errno(path_, "write the file");
      rest.remove_prefix(static_cast<size_t>(n));
    }
  }
  void flush() {
    if (::fsync(fd_) != 0) fail_errno(path_, "write the file");
  }

 private:
  std::filesystem::path path_;
  int fd_;
  std::mutex mutex_;
};

/// A body that is JSON, or a text that stands for itself.
Json body_json(const std::string& body) {
  const Json json = Json::parse(body, nullptr, false);
  return json.is_discarded() ? Json(body) : json;
}

/// Threads that answer one line after the other.
class Batch {
 public:
  Batch(std::vector<std::pair<std::string_view, int64_t>> lines, std::string source, const BatchTarget& target,
        AnswerFile& answers)
      : lines_(std::move(lines)), source_(std::move(source)), target_(target), answers_(answers) {}

  /// `failed_before`: of the requests that an earlier run answered.
  void run(const BatchOptions& options, int64_t failed_before, BatchResult& result) {
    failed_before_ = failed_before;
    working_ = std::min(lines_.size(), static_cast<size_t>(std::max(options.parallel, 1)));
    std::vector<std::jthread> threads;
    const size_t count = working_;
    for (size_t i = 0; i < count; ++i)
      threads.emplace_back([this] { work(); });
    watch(options, result);
    threads.clear();
    result.answered = answered_;
    result.failed = failed_;
    if (problem_) std::rethrow_exception(problem_);
  }

 private:
  void work() {
    try {
      for (size_t i = next_++; i < lines_.size() && !stop_; i = next_++)
        answer(lines_[i].first, lines_[i].second);
    } catch (...) {
      const std::scoped_lock lock(mutex_);
      if (!problem_) problem_ = std::current_exception();
      stop_ = true;
    }
    const std::scoped_lock lock(mutex_);
    --working_;
    changed_.notify_all();
  }

  void answer(std::string_view line, int64_t number) {
    Request request = read_request(line, fmt::format("{} line {}", source_, number));
    if (!target_.model.empty()) request.body["model"] = target_.model;
    const std::string id = fmt::format("req_batch-{}", number);
    std::optional<HttpResponse> response;
    if (const auto stream = request.body.find("stream"); stream != request.body.end() && *stream == true) {
      const ApiError error(400, "stream: answers of a batch are whole", "stream");
      response = error_response(ErrorStyle::kOpenAi, error, id);
    } else {
      response =
          target_.answer({.method = "POST", .path = request.url, .body = to_text(request.body), .id = id}, stop_);
    }
    if (!response) return;  // stopped
    answers_.add(to_text(
        {{"id", fmt::format("batch_req_{}", number)},
         {"custom_id", request.id},
         {"response", {{"status_code", response->status}, {"request_id", id}, {"body", body_json(response->body)}}},
         {"error", nullptr}}));
    ++(response->status == kOk ? answered_ : failed_);
  }

  void watch(const BatchOptions& options, const BatchResult& before) {
    constexpr std::chrono::milliseconds kStep(100);
    std::unique_lock lock(mutex_);
    while (working_ > 0) {
      changed_.wait_for(lock, kStep, [this] { return working_ == 0; });
      if (options.cancel != nullptr && options.cancel->load()) stop_ = true;
      lock.unlock();
      if (options.on_progress) {
        options.on_progress({before.skipped + answered_ + failed_, before.total, failed_before_ + failed_});
      }
      lock.lock();
    }
  }

  const std::vector<std::pair<std::string_view, int64_t>> lines_;
  const std::string source_;
  const BatchTarget& target_;
  AnswerFile& answers_;
  int64_t failed_before_ = 0;
  std::atomic<size_t> next_{0};
  std::atomic<int64_t> answered_{0}, failed_{0};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t working_ = 0;          // under mutex_
  std::exception_ptr problem_;  // likewise
};

}  // namespace

BatchResult run_batch(const std::filesystem::path& requests, const std::filesystem::path& answers,
                      const BatchTarget& target, const BatchOptions& options) {
  const auto map = FileMap::open(requests);
  const std::string_view text(reinterpret_cast<const char*>(map->bytes().data()), map->size());
  const std::string source = options.source.empty() ? requests.string() : options.source;
  AnswerFile file(answers);
  const AnswerFile::Contents there = file.read();
  BatchResult result;
  std::set<std::string> seen;
  std::vector<std::pair<std::string_view, int64_t>> lines;
  for_each_line(text, [&](std::string_view line, int64_t number) {
    const std::string where = fmt::format("{} line {}", source, number);
    const Request request = read_request(line, where);
    if (!seen.insert(request.id).second) {
      fail(ErrorCode::kBadFile, "{}: custom_id \"{}\" is there twice", where, request.id);
    }
    if (!options.url.empty() && request.url != options.url) {
      fail(ErrorCode::kBadFile, "{}: url must be {}", where, options.url);
    }
    ++result.total;
    if (there.ids.contains(request.id)) {
      ++result.skipped;
    } else {
      lines.emplace_back(line, number);
    }
  });
  Batch(std::move(lines), source, target, file).run(options, there.failed, result);
  file.flush();
  return result;
}

void for_each_answer(const std::filesystem::path& answers,
                     const std::function<void(std::string_view line, const Json& answer)>& visit) {
  if (!std::filesystem::exists(answers)) return;  // cancelled before the first one
  const auto map = FileMap::open(answers);
  const std::string_view text(reinterpret_cast<const char*>(map->bytes().data()), map->size());
  for_each_line(text.substr(0, text.rfind('\n') + 1), [&](std::string_view line, int64_t number) {
    visit(line, read_answer(line, fmt::format("{} line {}", answers.string(), number)));
  });
}

}  // namespace minicpm::server

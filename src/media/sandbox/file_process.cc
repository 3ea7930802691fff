#include "media/sandbox/file_process.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <optional>

#include "base/log.h"
#include "media/sandbox/jobs.h"

namespace minicpm::sandbox {
namespace {

constexpr int kStatusMilliseconds = 2000;  // from the end of a file's socket to the word of its process's end
constexpr size_t kLongestText = 2000;
constexpr int kMostLogLines = 100;  // of one file

/// What another process says, for people: short, without control characters.
std::string harmless(std::string text) {
  if (text.size() > kLongestText) text.resize(kLongestText);
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < ' ' || c == 0x7f; }, ' ');
  return text;
}

/// How a file's process ended, if that is known soon.
std::optional<int> wait_status(int pipe) {
  pollfd descriptor{pipe, POLLIN, 0};
  int status = 0;
  if (poll(&descriptor, 1, kStatusMilliseconds) <= 0) return {};
  if (read(pipe, &status, sizeof status) != sizeof status) return {};
  return status;
}

std::string how_it_ended(std::optional<int> status) {
  if (!status) return "with the worker";
  if (*status == kNotStarted) return "before it began";
  if (WIFSIGNALED(*status)) return fmt::format("by signal {} ({})", WTERMSIG(*status), strsignal(WTERMSIG(*status)));
  if (WIFEXITED(*status) && WEXITSTATUS(*status) == kNotConfined) return "because it could not give up its rights";
  return fmt::format("with exit code {}", WEXITSTATUS(*status));
}

}  // namespace

Descriptor::~Descriptor() {
  if (number_ >= 0) close(number_);
}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (number_ >= 0) close(number_);
  number_ = other.release();
  return *this;
}

int Descriptor::release() {
  return std::exchange(number_, -1);
}

FileProcess::FileProcess(WorkerProcess& worker, std::string name, const std::atomic<bool>* cancel)
    : worker_(worker),
      name_(std::move(name)),
      cancel_(cancel),
      deadline_(std::chrono::steady_clock::now() + worker.limits().time),
      file_(worker.begin_file()),
      channel_(file_.socket.number(), [this] { check(); }) {}

void FileProcess::check() const {
  if (cancel_ != nullptr && cancel_->load(std::memory_order_relaxed)) {
    fail(ErrorCode::kCancelled, "{}: decoding was cancelled", name_);
  }
  if (std::chrono::steady_clock::now() > deadline_) {
    fail(ErrorCode::kTimeout, "{}: decoding took more than {} seconds", name_,
         std::chrono::duration<double>(worker_.limits().time).count());
  }
}

void FileProcess::fail_ended() {
  const std::optional<int> status = wait_status(file_.status.number());
  if (status && WIFSIGNALED(*status) && WTERMSIG(*status) == SIGXCPU) {
    fail(ErrorCode::kUnsupported, "{}: takes more than {} seconds of processor time to decode", name_,
         worker_.limits().cpu_seconds);
  }
  log_warning("{}: the process that decoded it ended {}", name_, how_it_ended(status));
  fail(ErrorCode::kInternal, "{}: the process that decoded it ended {}", name_, how_it_ended(status));
}

void FileProcess::fail_confused() const {
  log_warning("{}: the process that decoded it sent nonsense", name_);
  fail(ErrorCode::kInternal, "{}: the process that decoded it sent nonsense", name_);
}

template <typename Fn>
auto FileProcess::guarded(Fn action) {
  try {
    check();
    return action();
  } catch (const ChannelClosed&) {
    fail_ended();
  }
}

void FileProcess::send_job(MessageKind kind, const Packer& job, std::span<const std::byte> file) {
  guarded([&] {
    channel_.send(kind, job);
    const FileHead head{file.size()};
    channel_.send_bytes(std::as_bytes(std::span(&head, 1)));
    channel_.send_bytes(file);
  });
}

void FileProcess::send(MessageKind kind, const Packer& content) {
  guarded([&] { channel_.send(kind, content); });
}

Message FileProcess::receive() {
  while (true) {
    Message message = guarded([&] { return channel_.receive(); });
    Unpacker content(message.content);
    if (message.kind == MessageKind::kLog) {
      if (++log_lines_ > kMostLogLines) fail_confused();
      const auto level = content.take<LogLevel>();
      log_message(level == LogLevel::kWarning ? LogLevel::kWarning : LogLevel::kInfo, harmless(content.take_text()));
    } else if (message.kind == MessageKind::kError) {
      const auto code = content.take<ErrorCode>();
      const bool known = code == ErrorCode::kBadFile || code == ErrorCode::kUnsupported ||
                         code == ErrorCode::kOutOfMemory || code == ErrorCode::kInvalidRequest;
      throw Error(known ? code : ErrorCode::kInternal, harmless(content.take_text()));
    } else {
      return message;
    }
  }
}

std::string FileProcess::receive(MessageKind kind) {
  Message message = receive();
  if (message.kind != kind) fail_confused();
  return std::move(message.content);
}

void FileProcess::receive_bytes(std::span<std::byte> bytes) {
  guarded([&] { channel_.receive_bytes(bytes); });
}

}  // namespace minicpm::sandbox

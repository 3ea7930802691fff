#include "cli/terminal.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/file_map.h"

namespace minicpm::cli {
namespace {

constexpr size_t kTextLimitBytes = 64u << 20;

enum Mode : int { kIdle, kAnswering, kPrompting };
std::atomic<int> mode{kIdle};
std::atomic<bool> interrupted{false};
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<bool>::is_always_lock_free,
              "a signal handler may touch lock-free atomics only");

// Written by the handler and read at the prompt; both ends never block.
int wake_pipe[2] = {-1, -1};

void on_interrupt(int) {
  const int saved_errno = errno;
  const bool again = interrupted.exchange(true);
  const int now = mode.load();
  if (now == kPrompting) [[maybe_unused]]
    const ssize_t written = write(wake_pipe[1], "", 1);
  errno = saved_errno;
  if (now == kPrompting || (now == kAnswering && !again)) return;
  _exit(kExitInterrupted);
}

void require_written(bool ok) {
  if (ok) return;
  const int error = errno;
  if (error == EPIPE) throw ReaderGone{};
  throw OutputError(ErrorCode::kIo, fmt::format("standard output cannot be written: {}", std::strerror(error)));
}

bool is_control(unsigned char c) {
  return c < 0x20 || c == 0x7f;
}

}  // namespace

int exit_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidRequest:
      return kExitUsage;
    case ErrorCode::kNotFound:
      return kExitNotFound;
    case ErrorCode::kBadFile:
      return kExitBadFile;
    case ErrorCode::kUnsupported:
      return kExitBadFile;
    case ErrorCode::kIo:
      return kExitIo;
    case ErrorCode::kOutOfMemory:
      return kExitMemory;
    case ErrorCode::kNetwork:
      return kExitNetwork;
    case ErrorCode::kRefused:
      return kExitRefused;
    case ErrorCode::kCancelled:
      return kExitInterrupted;
    case ErrorCode::kTimeout:
      return kExitTimeout;
    case ErrorCode::kInternal:
      return kExitGeneral;
  }
  return kExitGeneral;
}

void print(std::string_view text) {
  require_written(std::fwrite(text.data(), 1, text.size(), stdout) == text.size());
}

void flush_output() {
  require_written(std::fflush(stdout) == 0);
}

void print_json(const Json& json) {
  print(json.dump(2, ' ', false, Json::error_handler_t::replace));
  print("\n");
}

void note(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
}

void print_error(std::string_view sentence) {
  note("minicpm: " + one_line(sentence) + "\n");
}

std::string printable(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (is_control(static_cast<unsigned char>(c)) && c != '\n' && c != '\t') c = '?';
  }
  return result;
}

std::string one_line(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c == '\n' || c == '\t') c = ' ';
    if (is_control(static_cast<unsigned char>(c))) c = '?';
  }
  return result;
}

bool output_is_terminal() {
  return isatty(STDOUT_FILENO) == 1;
}

bool errors_are_on_terminal() {
  return isatty(STDERR_FILENO) == 1;
}

bool input_is_terminal() {
  return isatty(STDIN_FILENO) == 1;
}

std::string dim(std::string_view text) {
  const char* no_color = std::getenv("NO_COLOR");
  const bool plain = (no_color != nullptr && *no_color != '\0') || !errors_are_on_terminal();
  return plain ? std::string(text) : "\033[2m" + std::string(text) + "\033[0m";
}

std::string read_text(const std::string& file) {
  if (file != "-") return read_file(file, kTextLimitBytes);
  std::string text;
  std::array<char, 1 << 16> buffer;
  while (const size_t count = std::fread(buffer.data(), 1, buffer.size(), stdin)) {
    text.append(buffer.data(), count);
    if (text.size() > kTextLimitBytes) {
      fail(ErrorCode::kBadFile, "standard input holds more than {}", bytes_text(kTextLimitBytes));
    }
  }
  if (std::ferror(stdin) != 0) fail(ErrorCode::kIo, "standard input cannot be read");
  return text;
}

std::string bytes_text(int64_t bytes) {
  constexpr std::array kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024.0 && unit + 1 < kUnits.size()) {
    value /= 1024.0;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

void install_interrupt_handler() {
  // Without a pipe, Ctrl-C at the prompt waits for the next key; poll and write ignore -1.
  if (pipe2(wake_pipe, O_CLOEXEC | O_NONBLOCK) != 0) wake_pipe[0] = wake_pipe[1] = -1;
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);  // a closed reader is seen as EPIPE by print
}

Answering::Answering() {
  interrupted = false;
  mode = kAnswering;
}
Answering::~Answering() {
  mode = kIdle;
}
const std::atomic<bool>* Answering::cancel() const {
  return &interrupted;
}

AtPrompt::AtPrompt() {
  take_interrupt();
  mode = kPrompting;
}
AtPrompt::~AtPrompt() {
  mode = kIdle;
}
int AtPrompt::wake_fd() {
  return wake_pipe[0];
}
bool AtPrompt::interrupt_pending() {
  return interrupted;
}
bool AtPrompt::take_interrupt() {
  char byte;
  while (read(wake_pipe[0], &byte, 1) == 1) {
  }
  return interrupted.exchange(false);
}

}  // namespace minicpm::cli

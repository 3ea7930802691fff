#include "server/program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>

extern char** environ;

namespace minicpm::server {
namespace {

namespace fs = std::filesystem;
constexpr int kReadyMs = 60'000;

std::string text_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// What comes up to the first line's end.
std::string first_line(int descriptor) {
  std::string text;
  pollfd ready = {descriptor, POLLIN, 0};
  char c = 0;
  while (text.find('\n') == std::string::npos && poll(&ready, 1, kReadyMs) > 0 && read(descriptor, &c, 1) == 1)
    text += c;
  return text;
}

}  // namespace

ServedProgram::ServedProgram(std::vector<std::string> arguments) {
  std::string name = (fs::temp_directory_path() / "minicpm-serve-XXXXXX").string();
  close(mkstemp(name.data()));
  log_ = name;
  state_ = name + ".state";
  arguments.insert(arguments.begin(), {MINICPM_PROGRAM, "serve", "--port", "0"});
  std::vector<char*> words;
  for (std::string& word : arguments)
    words.push_back(word.data());
  words.push_back(nullptr);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe");
  setenv("MINICPM_MODELS", MINICPM_SOURCE_DIR "/models", 1);
  setenv("XDG_STATE_HOME", state_.c_str(), 1);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  posix_spawn_file_actions_addopen(&actions, 2, log_.c_str(), O_WRONLY | O_APPEND, 0);
  const int error = posix_spawn(&pid_, words[0], &actions, nullptr, words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  output_ = ends[0];
  const std::string line = error == 0 ? first_line(output_) : "";
  const std::string start = "http://127.0.0.1:";
  const size_t at = line.find(start);
  if (at == std::string::npos) throw std::runtime_error("serve does not start: " + line + log());
  port_ = std::atoi(line.c_str() + at + start.size());
}

ServedProgram::~ServedProgram() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  if (output_ >= 0) close(output_);
  fs::remove(log_);
  fs::remove_all(state_);
}

std::string ServedProgram::log() const {
  return text_of(log_);
}

int64_t ServedProgram::resident_bytes() const {
  std::ifstream in("/proc/" + std::to_string(pid_) + "/statm");
  int64_t all = 0, resident = 0;
  in >> all >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

int ServedProgram::descriptors() const {
  const fs::directory_iterator entries("/proc/" + std::to_string(pid_) + "/fd");
  return static_cast<int>(std::distance(begin(entries), end(entries)));
}

void ServedProgram::signal(int number) const {
  kill(pid_, number);
}

std::optional<int> ServedProgram::wait_exit(double seconds) {
  pollfd exit = {static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)), POLLIN, 0};  // readable once it has ended
  const int ended = poll(&exit, 1, static_cast<int>(seconds * 1000));
  close(exit.fd);
  if (ended <= 0) return {};
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  return WIFEXITED(status) ? std::optional(WEXITSTATUS(status)) : std::nullopt;
}

}  // namespace minicpm::server

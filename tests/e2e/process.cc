#include "e2e/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>
#include <stdexcept>

extern char** environ;

namespace minicpm::e2e {
namespace {

using Clock = std::chrono::steady_clock;
using Variables = std::vector<std::pair<std::string, std::string>>;
constexpr int kRunLimitMs = 60'000;
constexpr int kScreenLimitMs = 10'000;

void require(bool ok, const char* what) {
  if (!ok) throw std::runtime_error(std::string(what) + ": " + std::strerror(errno));
}

struct Pipe {
  Pipe() { require(pipe2(ends, O_CLOEXEC) == 0, "pipe2"); }
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  void close_end(int i) {
    if (ends[i] >= 0) close(ends[i]);
    ends[i] = -1;
  }
  int ends[2] = {-1, -1};
};

/// Null-ended pointers into strings that the object keeps.
struct CStrings {
  explicit CStrings(std::vector<std::string> list) : strings(std::move(list)) {
    for (std::string& text : strings)
      pointers.push_back(text.data());
    pointers.push_back(nullptr);
  }
  std::vector<std::string> strings;
  std::vector<char*> pointers;
};

CStrings environment(const Variables& added) {
  std::vector<std::string> list;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::string name = text.substr(0, text.find('='));
    bool replaced = false;
    for (const auto& [key, value] : added)
      replaced |= key == name;
    if (!replaced) list.push_back(text);
  }
  for (const auto& [key, value] : added)
    list.push_back(key + "=" + value);
  return CStrings(std::move(list));
}

int start(const std::string& program, const std::vector<std::string>& arguments, const Variables& env,
          posix_spawn_file_actions_t& actions, short flags) {
  std::vector<std::string> words = {program};
  words.insert(words.end(), arguments.begin(), arguments.end());
  CStrings argv(std::move(words));
  CStrings variables = environment(env);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, static_cast<short>(POSIX_SPAWN_SETSIGDEF | flags));
  pid_t pid = -1;
  errno = posix_spawnp(&pid, program.c_str(), &actions, &attributes, argv.pointers.data(), variables.pointers.data());
  const int error = errno;
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  errno = error;
  require(error == 0, program.c_str());
  return pid;
}

int exit_code_of(int pid) {
  int status = 0;
  require(waitpid(pid, &status, 0) == pid, "waitpid");
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// One read into `text`; false at the end of the stream.
bool append_from(int fd, std::string& text) {
  std::array<char, 1 << 14> buffer;
  const ssize_t count = read(fd, buffer.data(), buffer.size());
  if (count <= 0) return false;
  text.append(buffer.data(), static_cast<size_t>(count));
  return true;
}

}  // namespace

Outcome run_program(const std::string& program, const std::vector<std::string>& arguments, const Setting& setting) {
  signal(SIGPIPE, SIG_IGN);  // the program may end before it has read its input
  Pipe in, out, err;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.ends[0], STDIN_FILENO);
  if (setting.output_file.empty()) {
    posix_spawn_file_actions_adddup2(&actions, out.ends[1], STDOUT_FILENO);
  } else {
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, setting.output_file.c_str(), O_WRONLY | O_CREAT, 0600);
  }
  posix_spawn_file_actions_adddup2(&actions, err.ends[1], STDERR_FILENO);
  const auto begin = Clock::now();
  const int pid = start(program, arguments, setting.env, actions, 0);
  in.close_end(0);
  out.close_end(1);
  err.close_end(1);

  Outcome outcome;
  size_t written = 0;
  int interrupts = setting.interrupts;
  fcntl(in.ends[1], F_SETFL, O_NONBLOCK);
  while (out.ends[0] >= 0 || err.ends[0] >= 0) {
    if (written == setting.input.size()) in.close_end(1);
    std::array<pollfd, 3> polls = {pollfd{out.ends[0], POLLIN, 0}, pollfd{err.ends[0], POLLIN, 0},
                                   pollfd{in.ends[1], POLLOUT, 0}};
    const auto passed = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin).count();
    if (passed > kRunLimitMs || poll(polls.data(), polls.size(), static_cast<int>(kRunLimitMs - passed)) <= 0) {
      kill(pid, SIGKILL);
      break;
    }
    if (polls[0].revents != 0 && !append_from(out.ends[0], outcome.out)) out.close_end(0);
    if (polls[1].revents != 0 && !append_from(err.ends[0], outcome.err)) err.close_end(0);
    if (polls[2].revents != 0) {
      const ssize_t count = write(in.ends[1], setting.input.data() + written, setting.input.size() - written);
      if (count > 0) written += static_cast<size_t>(count);
      if (count < 0 && errno != EAGAIN) in.close_end(1);
    }
    for (; interrupts > 0 && !outcome.out.empty(); --interrupts)
      kill(pid, SIGINT);
  }
  outcome.exit_code = exit_code_of(pid);
  outcome.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  return outcome;
}

const std::string& minicpm_path() {
  static const std::string path = MINICPM_PROGRAM;
  return path;
}

Outcome minicpm(const std::vector<std::string>& arguments, const Setting& setting) {
  return run_program(minicpm_path(), arguments, setting);
}

Terminal::Terminal(const std::vector<std::string>& arguments, const Variables& env) {
  master_ = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  require(master_ >= 0 && grantpt(master_) == 0 && unlockpt(master_) == 0, "posix_openpt");
  const std::string side = ptsname(master_);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  // The first terminal that the leader of a new session opens becomes its controlling one, which Ctrl-C needs.
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, side.c_str(), O_RDWR, 0);
  posix_spawn_file_actions_adddup2(&actions, STDIN_FILENO, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, STDIN_FILENO, STDERR_FILENO);
  Variables variables = env;
  variables.emplace_back("TERM", "dumb");
  pid_ = start(minicpm_path(), arguments, variables, actions, POSIX_SPAWN_SETSID);
}

Terminal::~Terminal() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  close(master_);
}

void Terminal::type(const std::string& keys) {
  require(write(master_, keys.data(), keys.size()) == static_cast<ssize_t>(keys.size()), "write to the terminal");
}

bool Terminal::read_some(int timeout_ms) {
  pollfd poll_master = {master_, POLLIN, 0};
  return poll(&poll_master, 1, timeout_ms) > 0 && append_from(master_, screen_);
}

bool Terminal::wait_for(const std::string& text) {
  while (true) {
    const size_t at = screen_.find(text, seen_);
    if (at != std::string::npos) {
      seen_ = at + text.size();
      return true;
    }
    if (!read_some(kScreenLimitMs)) return false;
  }
}

int Terminal::wait_exit() {
  while (read_some(kScreenLimitMs)) {
  }
  kill(pid_, SIGKILL);  // without effect on a program that has ended; one that has not must not hold the tests up
  const int code = exit_code_of(pid_);
  pid_ = -1;
  return code;
}

}  // namespace minicpm::e2e

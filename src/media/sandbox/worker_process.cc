// The worker as the server sees it: a program that is started, told of files, and started again when it is gone.
#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "base/log.h"
#include "media/sandbox/file_process.h"
#include "media/sandbox/jobs.h"

namespace minicpm::sandbox {
namespace {

/// posix_spawn's two structures.
struct SpawnSettings {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  SpawnSettings() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;
};

/// Nothing on its standard channels, its own group (Ctrl-C is not for it), and signals as usual.
void set_up(SpawnSettings& settings, int control) {
  for (const int descriptor : {0, 1, 2})
    posix_spawn_file_actions_addopen(&settings.actions, descriptor, "/dev/null", O_RDWR, 0);
  posix_spawn_file_actions_adddup2(&settings.actions, control, kWorkerSocket);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&settings.attributes, &none);
  posix_spawnattr_setsigdefault(&settings.attributes, &all);
  posix_spawnattr_setpgroup(&settings.attributes, 0);
  posix_spawnattr_setflags(&settings.attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
}

/// Of the environment only what finds libraries: the rest may hold secrets.
std::vector<std::string> worker_environment() {
  std::vector<std::string> result;
  for (const char* name : {"LD_LIBRARY_PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"}) {
    if (const char* value = std::getenv(name)) result.push_back(std::string(name) + "=" + value);
  }
  return result;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts)
    result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

}  // namespace

WorkerProcess::WorkerProcess(SandboxOptions options) : options_(std::move(options)) {
  start();
}

WorkerProcess::~WorkerProcess() {
  end();
}

void WorkerProcess::start() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    fail(ErrorCode::kUnsupported, "no socket for a media worker: {}", std::strerror(errno));
  }
  Descriptor mine(ends[0]), its(ends[1]);
  // A descriptor that already has the wanted number would stay marked to be closed.
  if (its.number() == kWorkerSocket) its = Descriptor(fcntl(its.number(), F_DUPFD_CLOEXEC, kWorkerSocket + 1));
  std::vector<std::string> words{options_.program}, environment = worker_environment();
  words.insert(words.end(), options_.arguments.begin(), options_.arguments.end());
  SpawnSettings settings;
  set_up(settings, its.number());
  const int error = posix_spawn(&pid_, options_.program.c_str(), &settings.actions, &settings.attributes,
                                pointers(words).data(), pointers(environment).data());
  if (error != 0) {
    pid_ = -1;
    fail(ErrorCode::kUnsupported, "{}: no media worker can be started: {}", options_.program, std::strerror(error));
  }
  control_ = std::move(mine);
}

/// Without its socket the worker ends by itself; the signal is for one that hangs.
void WorkerProcess::end() {
  control_ = Descriptor();
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

int WorkerProcess::pid() const {
  const std::scoped_lock lock(mutex_);
  return pid_;
}

/// Its socket alone does not tell: a process that it has just made may still hold a copy of the other end.
bool WorkerProcess::has_ended() {
  if (pid_ > 0 && waitpid(pid_, nullptr, WNOHANG) == 0) return false;
  pid_ = -1;
  return true;
}

bool WorkerProcess::send_order(int socket, int status) const {
  Order order{options_.limits.cpu_seconds, options_.limits.memory_bytes};
  const int descriptors[] = {socket, status};
  iovec part{&order, sizeof order};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof descriptors)] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof descriptors);
  std::memcpy(CMSG_DATA(header), descriptors, sizeof descriptors);
  ssize_t count;
  do
    count = sendmsg(control_.number(), &message, MSG_NOSIGNAL);
  while (count < 0 && errno == EINTR);
  return count == sizeof order;
}

WorkerProcess::File WorkerProcess::begin_file() {
  int sockets[2], pipe[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) {
    fail(ErrorCode::kInternal, "no socket for a media decoder: {}", std::strerror(errno));
  }
  Descriptor mine(sockets[0]), its(sockets[1]);
  if (pipe2(pipe, O_CLOEXEC) != 0) {
    fail(ErrorCode::kInternal, "no pipe for a media decoder: {}", std::strerror(errno));
  }
  Descriptor status(pipe[0]), report(pipe[1]);
  fcntl(mine.number(), F_SETFL, O_NONBLOCK);
  const std::scoped_lock lock(mutex_);
  for (const bool again : {false, true}) {
    if (again) {
      log_warning("the media worker has ended; another one is started");
      end();
      try {
        start();
      } catch (const Error& error) {
        fail(ErrorCode::kInternal, "{}", error.what());
      }
    }
    if (!has_ended() && send_order(its.number(), report.number())) return {std::move(mine), std::move(status)};
  }
  fail(ErrorCode::kInternal, "the media worker ends as soon as it is started");
}

}  // namespace minicpm::sandbox

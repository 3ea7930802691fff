#include "media/sandbox/confinement.h"

#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>

namespace minicpm::sandbox {
namespace {

// Address space is what AddressSanitizer and its like use without end.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kLimitsMemory = false;
#else
constexpr bool kLimitsMemory = true;
#endif

bool set_limit(decltype(RLIMIT_CPU) which, rlim_t soft, rlim_t hard) {
  const rlimit limit{soft, hard};
  return setrlimit(which, &limit) == 0;
}

/// Bytes of address space, from /proc; 0 if unknown.
int64_t address_space() {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen("/proc/self/statm", "re"), std::fclose);
  long long pages = 0;
  if (file == nullptr || std::fscanf(file.get(), "%lld", &pages) != 1) return 0;
  return static_cast<int64_t>(pages) * sysconf(_SC_PAGESIZE);
}

bool set_limits(const Confinement& confinement) {
  const auto seconds = static_cast<rlim_t>(confinement.cpu_seconds);
  // The soft limit sends SIGXCPU, which tells the reason; the hard one SIGKILL.
  if (!set_limit(RLIMIT_CPU, seconds, seconds + 1)) return false;
  if (!set_limit(RLIMIT_CORE, 0, 0) || !set_limit(RLIMIT_FSIZE, 0, 0)) return false;
  if (!kLimitsMemory || confinement.memory_bytes == 0) return true;
  const int64_t own = address_space();
  const auto most = static_cast<rlim_t>(own + confinement.memory_bytes);
  return own > 0 && set_limit(RLIMIT_AS, most, most);
}

// Memory, threads of this process, time, and reading and writing what is open already.
constexpr int kAllowed[] = {
    SCMP_SYS(recvfrom),
    SCMP_SYS(sendto),
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(close),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(futex),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(getrandom),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
};

// What libraries try and do without: files that may not exist, facts about the machine.
constexpr int kDenied[] = {
    SCMP_SYS(open),
    SCMP_SYS(openat),
    SCMP_SYS(access),
    SCMP_SYS(faccessat),
    SCMP_SYS(stat),
    SCMP_SYS(lstat),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(statx),
    SCMP_SYS(readlink),
    SCMP_SYS(readlinkat),
    SCMP_SYS(getcwd),
    SCMP_SYS(ioctl),
    SCMP_SYS(fcntl),
    SCMP_SYS(lseek),
    SCMP_SYS(uname),
    SCMP_SYS(sysinfo),
    SCMP_SYS(prlimit64),
    SCMP_SYS(getrlimit),
    SCMP_SYS(getrusage),
    SCMP_SYS(prctl),
    SCMP_SYS(mlock),
    SCMP_SYS(sched_setaffinity),
    SCMP_SYS(sched_getparam),
    SCMP_SYS(sched_getscheduler),
};

class Filter {
 public:
  Filter() : context_(seccomp_init(SCMP_ACT_KILL_PROCESS)) {}
  ~Filter() {
    if (context_ != nullptr) seccomp_release(context_);
  }
  Filter(const Filter&) = delete;
  Filter& operator=(const Filter&) = delete;

  template <typename... Conditions>
  void add(uint32_t action, int call, Conditions... conditions) {
    good_ = good_ && context_ != nullptr &&
            seccomp_rule_add(context_, action, call, sizeof...(conditions), conditions...) == 0;
  }
  bool load() { return good_ && seccomp_load(context_) == 0; }

 private:
  scmp_filter_ctx context_;
  bool good_ = true;
};

bool filter_calls() {
  Filter filter;
  for (const int call : kAllowed)
    filter.add(SCMP_ACT_ALLOW, call);
  for (const int call : kDenied)
    filter.add(SCMP_ACT_ERRNO(EACCES), call);
  // Memory that can be executed is refused.
  for (const int call : {SCMP_SYS(mmap), SCMP_SYS(mprotect)}) {
    filter.add(SCMP_ACT_ALLOW, call, scmp_arg_cmp{2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0});
    filter.add(SCMP_ACT_ERRNO(EACCES), call, scmp_arg_cmp{2, SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC});
  }
  // Threads, but no processes. The arguments of clone3 cannot be seen; the C library falls back to clone.
  filter.add(SCMP_ACT_ALLOW, SCMP_SYS(clone), scmp_arg_cmp{0, SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD});
  filter.add(SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3));
  // abort() signals its own process.
  filter.add(SCMP_ACT_ALLOW, SCMP_SYS(tgkill), scmp_arg_cmp{0, SCMP_CMP_EQ, static_cast<scmp_datum_t>(getpid()), 0});
  return filter.load();
}

}  // namespace

bool confine(const Confinement& confinement) {
  return set_limits(confinement) && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && filter_calls();
}

}  // namespace minicpm::sandbox

#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <chrono>

namespace minicpm {
namespace {

using namespace std::chrono_literals;

// About 5 microseconds: longer than the gap between two ops of a small model, far shorter than a time slice.
constexpr int kSpins = 2000;

// A turn of another program is about 3 ms, in which the others of the pool wait. A rest costs a thread's work if the
// processor is free again, so it begins short.
constexpr auto kShortestRest = 10ms;
constexpr auto kLongestRest = 320ms;

void cpu_relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// How long a thread rests that has just lost its processor: longer and longer while that happens again.
class RestLength {
 public:
  std::chrono::milliseconds next() {
    const auto now = std::chrono::steady_clock::now();
    length_ = now - last_end_ < 2 * length_ ? std::min(2 * length_, kLongestRest) : kShortestRest;
    last_end_ = now + length_;
    return length_;
  }

 private:
  std::chrono::milliseconds length_{0ms};
  std::chrono::steady_clock::time_point last_end_{};
};

}  // namespace

int usable_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

ThreadPool::ThreadPool(int num_threads) {
  if (num_threads <= 0) num_threads = usable_processors();
  for (int worker = 1; worker < num_threads; ++worker) {
    workers_.emplace_back([this, worker] { worker_loop(worker); });
  }
}

ThreadPool::~ThreadPool() {
  {
    const std::scoped_lock lock(rest_mutex_);
    stop_.store(true);
  }
  rest_ended_.notify_all();
  generation_.fetch_add(1);
  generation_.notify_all();
  for (std::thread& thread : workers_)
    thread.join();
}

/// Whoever ends the job's last task tells the caller. A task that is taken keeps its job from ending, so what belongs
/// to the job does not change under it.
void ThreadPool::take_tasks(int worker) {
  uint32_t taken = 0;
  uint64_t claims = claims_.load(std::memory_order_acquire);
  while (true) {
    const uint64_t num_tasks = claims >> 32, task = claims & 0xffffffff;
    if (task >= num_tasks) {
      if (taken == 0) return;
      const uint32_t done = done_.fetch_add(taken, std::memory_order_acq_rel) + taken;
      if (done == num_tasks) done_.notify_one();
      return;
    }
    if (!claims_.compare_exchange_weak(claims, claims + 1, std::memory_order_acq_rel, std::memory_order_acquire)) {
      continue;
    }
    fn_(argument_, static_cast<int64_t>(task), worker);
    ++taken;
    claims = claims_.load(std::memory_order_acquire);
  }
}

/// The generation of a job that is not `seen`'s.
uint32_t ThreadPool::wait_for_job(uint32_t seen) {
  uint32_t current = generation_.load(std::memory_order_acquire);
  for (int spin = 0; current == seen && spin < kSpins; ++spin) {
    cpu_relax();
    current = generation_.load(std::memory_order_acquire);
  }
  while (current == seen) {
    generation_.wait(seen, std::memory_order_acquire);
    current = generation_.load(std::memory_order_acquire);
  }
  return current;
}

void ThreadPool::worker_loop(int worker) {
  PreemptionWatch watch;
  RestLength rest;
  uint32_t seen = 0;
  while (true) {
    seen = wait_for_job(seen);
    if (stop_.load()) return;
    watch.begin();
    take_tasks(worker);
    if (!watch.end() && !rest_wanted_.exchange(false, std::memory_order_relaxed)) continue;
    std::unique_lock lock(rest_mutex_);
    rest_ended_.wait_for(lock, rest.next(), [this] { return stop_.load(); });
  }
}

void ThreadPool::wait_for_tasks(uint32_t num_tasks) {
  uint32_t done = done_.load(std::memory_order_acquire);
  for (int spin = 0; done != num_tasks && spin < kSpins; ++spin) {
    cpu_relax();
    done = done_.load(std::memory_order_acquire);
  }
  while (done != num_tasks) {
    done_.wait(done, std::memory_order_acquire);
    done = done_.load(std::memory_order_acquire);
  }
}

void ThreadPool::run_job(int64_t num_tasks, TaskFn fn, void* argument) {
  if (num_tasks <= 0) return;
  if (num_tasks == 1 || workers_.empty()) {
    for (int64_t task = 0; task < num_tasks; ++task)
      fn(argument, task, 0);
    return;
  }
  fn_ = fn;
  argument_ = argument;
  done_.store(0, std::memory_order_relaxed);
  claims_.store(static_cast<uint64_t>(num_tasks) << 32, std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  watch_.begin();
  take_tasks(0);
  if (watch_.end()) rest_wanted_.store(true, std::memory_order_relaxed);
  wait_for_tasks(static_cast<uint32_t>(num_tasks));
}

}  // namespace minicpm

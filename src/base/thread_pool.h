// The compute pool: a fixed set of threads that run the tasks of one job at a time.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

#include "base/preemption.h"

namespace minicpm {

/// Tasks are taken from a counter; a task's result must not depend on which thread runs it, so results do not depend
/// on the number of threads. One job at a time: `run` must be called by one thread only and not from inside a task.
///
/// Beside other busy programs: threads wait on a futex after a short spin, a job ends with its last task whoever has
/// not come for one, and a thread whose processor is taken from it in the middle of a task, so that all others wait for
/// it, rests for a while: fewer threads that run are faster than more that wait for each other's turns.
class ThreadPool {
 public:
  /// `num_threads` counts the caller; 0 means one per processor this process may use.
  explicit ThreadPool(int num_threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(workers_.size()) + 1; }

  /// Calls fn(task, worker) for task = 0..num_tasks-1, worker = 0..num_threads-1, and returns when all are done.
  /// `fn` must not throw. At most 2^32 - 1 tasks.
  template <typename Fn>
  void run(int64_t num_tasks, Fn&& fn) {
    using Callable = std::remove_reference_t<Fn>;
    run_job(
        num_tasks, [](void* f, int64_t task, int worker) { (*static_cast<Callable*>(f))(task, worker); },
        const_cast<void*>(static_cast<const void*>(&fn)));
  }

 private:
  using TaskFn = void (*)(void*, int64_t, int);
  void run_job(int64_t num_tasks, TaskFn fn, void* argument);
  void worker_loop(int worker);
  uint32_t wait_for_job(uint32_t seen);
  void take_tasks(int worker);
  void wait_for_tasks(uint32_t num_tasks);

  std::vector<std::thread> workers_;
  PreemptionWatch watch_;  // of the caller's thread
  TaskFn fn_ = nullptr;    // of the job; a thread that has taken one of its tasks may read it
  void* argument_ = nullptr;
  alignas(64) std::atomic<uint64_t> claims_{0};  // of the job: number of tasks, times 2^32, plus the next one to take
  alignas(64) std::atomic<uint32_t> done_{0};    // its tasks that have ended
  alignas(64) std::atomic<uint32_t> generation_{0};  // raised for each job; workers wait for a change
  std::atomic<bool> stop_{false};
  std::atomic<bool> rest_wanted_{false};  // by the caller's thread, which cannot rest itself
  std::mutex rest_mutex_;
  std::condition_variable rest_ended_;  // by stop_
};

/// Processors that this process may run on.
int usable_processors();

}  // namespace minicpm

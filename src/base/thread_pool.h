// The compute pool: a fixed set of threads that run the tasks of one job at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace minicpm {

/// Threads wait on a futex after a short spin, so another process on the machine costs no more than its share.
/// Tasks are taken from a counter; a task's result must not depend on which thread runs it, so results do not depend
/// on the number of threads. One job at a time: `run` must be called by one thread only and not from inside a task.
class ThreadPool {
 public:
  /// `num_threads` counts the caller; 0 means one per processor this process may use.
  explicit ThreadPool(int num_threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(workers_.size()) + 1; }

  /// Calls fn(task, worker) for task = 0..num_tasks-1, worker = 0..num_threads-1, and returns when all are done.
  /// `fn` must not throw.
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
  void take_tasks(int worker);

  std::vector<std::thread> workers_;
  TaskFn fn_ = nullptr;
  void* argument_ = nullptr;
  int64_t num_tasks_ = 0;
  alignas(64) std::atomic<int64_t> next_task_{0};
  alignas(64) std::atomic<uint32_t> generation_{0};  // raised for each job; workers wait for a change
  alignas(64) std::atomic<int> busy_workers_{0};
  std::atomic<bool> stop_{false};
};

/// Processors that this process may run on.
int usable_processors();

}  // namespace minicpm

// Threads that run handlers, and a bounded queue before them.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace minicpm::server {

/// Thread-safe.
class WorkerPool {
 public:
  WorkerPool(int threads, size_t queue_limit);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  /// Drops what waits, lets what runs end, and ends the threads.
  void stop();
  /// False when the queue is full. A task must not throw.
  bool submit(std::function<void()> task);
  size_t running() const;
  size_t waiting() const;
  /// Whether nothing runs or waits, after at most that time.
  bool wait_idle(std::chrono::milliseconds limit);

 private:
  void work();

  mutable std::mutex mutex_;
  std::condition_variable changed_, idle_;
  std::deque<std::function<void()>> queue_;
  size_t queue_limit_;
  size_t running_ = 0;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace minicpm::server

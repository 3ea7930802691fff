#include "server/worker_pool.h"

#include <utility>

namespace minicpm::server {

WorkerPool::WorkerPool(int threads, size_t queue_limit) : queue_limit_(queue_limit) {
  for (int i = 0; i < threads; ++i)
    threads_.emplace_back([this] { work(); });
}

WorkerPool::~WorkerPool() {
  stop();
}

void WorkerPool::stop() {
  {
    const std::scoped_lock lock(mutex_);
    stop_ = true;
    queue_.clear();
  }
  changed_.notify_all();
  for (std::thread& thread : threads_)
    thread.join();
  threads_.clear();
}

bool WorkerPool::submit(std::function<void()> task) {
  {
    const std::scoped_lock lock(mutex_);
    // A free worker takes a task at once, so only those beyond the free workers wait.
    const size_t free = threads_.size() - running_;
    if (stop_ || queue_.size() >= free + queue_limit_) return false;
    queue_.push_back(std::move(task));
  }
  changed_.notify_one();
  return true;
}

void WorkerPool::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stop_ || !queue_.empty(); });
    if (stop_) return;
    {
      const std::function<void()> task = std::move(queue_.front());
      queue_.pop_front();
      ++running_;
      lock.unlock();
      task();
    }
    lock.lock();
    --running_;
    if (running_ == 0 && queue_.empty()) idle_.notify_all();
  }
}

size_t WorkerPool::running() const {
  const std::scoped_lock lock(mutex_);
  return running_;
}

size_t WorkerPool::waiting() const {
  const std::scoped_lock lock(mutex_);
  return queue_.size();
}

bool WorkerPool::wait_idle(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  return idle_.wait_for(lock, limit, [this] { return running_ == 0 && queue_.empty(); });
}

}  // namespace minicpm::server

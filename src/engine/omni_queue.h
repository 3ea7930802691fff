// What connects the stages of a live session: epochs, and queues that know them.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

namespace minicpm {

/// The time between two interruptions. What belongs to an answer carries the epoch in which the answer was asked for;
/// `over` is set once, by the interruption, and whoever makes or holds something of that epoch then drops it.
struct Epoch {
  explicit Epoch(uint64_t count) : number(count) {}
  const uint64_t number;
  std::atomic<bool> over{false};
};
using EpochRef = std::shared_ptr<Epoch>;

inline bool is_over(const EpochRef& epoch) {
  return epoch != nullptr && epoch->over.load();
}

/// A bounded queue between two threads. T has `EpochRef epoch` (null: never out of date) and `size_t weight() const`;
/// the bound is one of weights, and an item that is heavier than the bound passes when the queue is empty. Items
/// without weight never wait.
template <typename T>
class StageQueue {
 public:
  using Clock = std::chrono::steady_clock;

  explicit StageQueue(size_t bound) : bound_(bound) {}

  /// Waits for room. False: closed, or the item is out of date.
  bool push(T item) {
    std::unique_lock lock(mutex_);
    const size_t weight = item.weight();
    changed_.wait(lock, [&] {
      return closed_ || is_over(item.epoch) || weight == 0 || weight_ == 0 || weight_ + weight <= bound_;
    });
    if (closed_ || is_over(item.epoch)) return false;
    weight_ += weight;
    items_.push_back(std::move(item));
    changed_.notify_all();
    return true;
  }

  /// Waits for an item that is not out of date. Nothing: closed and empty, or `until` has come.
  std::optional<T> pop(Clock::time_point until) {
    std::unique_lock lock(mutex_);
    for (;;) {
      if (std::optional<T> item = take()) return item;
      if (closed_) return std::nullopt;
      // A far time would overflow in the wait.
      if (until == Clock::time_point::max()) {
        changed_.wait(lock);
      } else if (changed_.wait_until(lock, until) == std::cv_status::timeout) {
        return take();
      }
    }
  }
  std::optional<T> pop() { return pop(Clock::time_point::max()); }

  /// To be called after an epoch has ended: drops what belongs to it and lets those who wait look again.
  void drop_stale() {
    const std::lock_guard lock(mutex_);
    std::erase_if(items_, [this](const T& item) {
      if (!is_over(item.epoch)) return false;
      weight_ -= item.weight();
      return true;
    });
    changed_.notify_all();
  }

  /// Nothing can be pushed any more; what is there can still be taken.
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

  size_t size() const {
    const std::lock_guard lock(mutex_);
    return items_.size();
  }

 private:
  std::optional<T> take() {
    while (!items_.empty()) {
      T item = std::move(items_.front());
      items_.pop_front();
      weight_ -= item.weight();
      changed_.notify_all();
      if (!is_over(item.epoch)) return item;
    }
    return std::nullopt;
  }

  const size_t bound_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<T> items_;
  size_t weight_ = 0;
  bool closed_ = false;
};

}  // namespace minicpm

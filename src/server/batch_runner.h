// Answers the batches that clients left, one after the other, on a thread of its own. Servers that share a folder share
// the work; what one leaves unfinished another, or the next start, goes on with.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string_view>
#include <thread>

#include "server/batch.h"
#include "server/batch_store.h"
#include "server/file_store.h"

namespace minicpm::server {

class BatchRunner {
 public:
  struct Options {
    /// Answers one request; nothing if it was cancelled.
    BatchTarget::Answer answer;
    std::function<void(std::string_view)> log;
    int parallel = 8;
  };
  BatchRunner(ServerState& state, Options options);
  /// Leaves what is unfinished to the next start.
  ~BatchRunner();
  BatchRunner(const BatchRunner&) = delete;
  BatchRunner& operator=(const BatchRunner&) = delete;

  /// There is something new.
  void wake();

 private:
  void run(const std::stop_token& stop);
  void run_all(const std::stop_token& stop);
  void process(const BatchStore::Work& work, const std::stop_token& stop);
  bool answer_all(const BatchStore::Work& work, const Json& batch, const std::stop_token& stop);
  void report(const BatchStore::Work& work, const BatchProgress& progress, std::atomic<bool>& cancel);
  void finish(const BatchStore::Work& work);
  void give_up(const BatchStore::Work& work, const std::string& message);

  Options options_;
  FileStore files_;
  BatchStore batches_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool news_ = false;  // under mutex_
  std::jthread thread_;
};

}  // namespace minicpm::server

// Files of requests in OpenAI's batch format, answered without a network.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "server/server.h"

namespace minicpm::server {

struct BatchProgress {
  int64_t done = 0, total = 0;  // done: answered before included
  int64_t failed = 0;           // of this run
};

struct BatchOptions {
  int parallel = 8;
  std::function<void(const BatchProgress&)> on_progress;  // called on the calling thread, some times a second
  const std::atomic<bool>* cancel = nullptr;
};

struct BatchResult {
  int64_t total = 0;     // requests in the file
  int64_t skipped = 0;   // answered by an earlier run
  int64_t answered = 0;  // with status 200
  int64_t failed = 0;    // with another status
};

/// Answers every request of `requests` whose custom_id is not in `answers` yet and adds a line there for each. The
/// whole file is checked first. `server` has one model, which answers whatever model a request names. A last line of
/// `answers` that was cut off is taken away. Throws Error bad_file (naming the line), not_found, io, invalid_request
/// when another batch writes the same file.
BatchResult run_batch(const std::filesystem::path& requests, const std::filesystem::path& answers,
                      OfflineServer& server, const BatchOptions& options = {});

}  // namespace minicpm::server

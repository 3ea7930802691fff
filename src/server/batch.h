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
  int64_t failed = 0;           // of those
};

struct BatchOptions {
  int parallel = 8;
  std::function<void(const BatchProgress&)> on_progress;  // called on the calling thread, some times a second
  const std::atomic<bool>* cancel = nullptr;
  std::string source;  // what messages call the file of requests; empty: its path
  std::string url;     // that all requests must have; empty: any below /v1/
};

/// What answers.
struct BatchTarget {
  /// The whole answer, errors included; nothing if it was cancelled. Called by several threads at once.
  using Answer = std::function<std::optional<HttpResponse>(HttpRequest, const std::atomic<bool>&)>;
  Answer answer;
  std::string model;  // answers whatever model a request names; empty: the one that it names
};

struct BatchResult {
  int64_t total = 0;     // requests in the file
  int64_t skipped = 0;   // answered by an earlier run
  int64_t answered = 0;  // with status 200
  int64_t failed = 0;    // with another status
};

/// Answers every request of `requests` whose custom_id is not in `answers` yet and adds a line there for each. The
/// whole file is checked first. A last line of `answers` that was cut off is taken away. Throws Error bad_file (naming
/// the line), not_found, io, invalid_request when another batch writes the same file.
BatchResult run_batch(const std::filesystem::path& requests, const std::filesystem::path& answers,
                      const BatchTarget& target, const BatchOptions& options = {});

/// Calls `visit` with each line of a file of answers, and with what it says.
void for_each_answer(const std::filesystem::path& answers,
                     const std::function<void(std::string_view line, const Json& answer)>& visit);

}  // namespace minicpm::server

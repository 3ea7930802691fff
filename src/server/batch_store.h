// Batches that clients left with the server: their state in its database, their work in the folder batches/ beside it.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "server/state.h"

namespace minicpm::server {

/// Batches are JSON in OpenAI's form: {"id", "object", "status", "request_counts", …}. Thread-safe. Throws Error io.
class BatchStore {
 public:
  /// Makes the folder if it is missing.
  explicit BatchStore(ServerState& state);

  struct Work {
    std::string id, scope;  // the scope as Access gave it
  };

  /// `requests`: the file of requests, which the batch keeps even when it is deleted. Returns the batch. Throws
  /// ApiError 400 where the scope has too many that are not finished.
  Json add(const std::string& scope, Json batch, const std::filesystem::path& requests);
  std::optional<Json> find(const std::string& scope, const std::string& id);
  /// In the order in which they came.
  Json list(const std::string& scope);
  /// Changes a batch unless it is finished; returns it as it is then. Nothing if it is not there.
  std::optional<Json> change(const std::string& scope, const std::string& id, const std::function<void(Json&)>& change);
  /// Those that are not finished, of all scopes, oldest first.
  std::vector<Work> unfinished();

  std::filesystem::path requests(const std::string& id) const { return folder_ / (id + ".requests"); }
  std::filesystem::path answers(const std::string& id) const { return folder_ / (id + ".answers"); }
  std::filesystem::path lock(const std::string& id) const { return folder_ / (id + ".lock"); }
  /// Takes away what a finished batch left in the folder.
  void clean(const std::string& id) const;

 private:
  std::optional<Json> read(const std::string& scope, const std::string& id);  // inside a transaction

  ServerState& state_;
  std::filesystem::path folder_;
};

/// Completed, failed or cancelled.
bool is_finished(const Json& batch);

}  // namespace minicpm::server

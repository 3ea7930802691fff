// Files that clients leave with the server: facts in its database, contents in the folder files/ beside it.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "base/json.h"
#include "io/atomic_file.h"
#include "server/state.h"

namespace minicpm::server {

/// Whoever asks gives a scope; what another scope left is not there. Thread-safe. Throws Error io.
class FileStore {
 public:
  /// Makes the folder if it is missing.
  explicit FileStore(ServerState& state);

  /// Throws ApiError 400 where `bytes` more would be beyond the limits of the scope.
  void check_room(const std::string& scope, int64_t bytes);
  /// Keeps what `write` writes. Returns the facts in OpenAI's form: {"id", "object", "bytes", "created_at", …}.
  Json add(const std::string& scope, const std::string& name, const std::string& purpose,
           const std::function<void(AtomicFile&)>& write);
  std::optional<Json> find(const std::string& scope, const std::string& id);
  /// In the order in which they came; of one purpose, or all where it is empty.
  Json list(const std::string& scope, const std::string& purpose);
  /// Whether it was there.
  bool remove(const std::string& scope, const std::string& id);
  /// Where the content of a file lies that find() knows.
  std::filesystem::path content(const std::string& id) const { return folder_ / id; }

 private:
  ServerState& state_;
  std::filesystem::path folder_;
};

}  // namespace minicpm::server

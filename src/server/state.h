// What a server keeps on disk: one folder with a database. Several servers may share it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "server/sqlite.h"

namespace minicpm::server {

/// For each API key; everyone together where there is none.
struct StateLimits {
  int64_t responses = 10'000;
  int64_t response_bytes = int64_t{1} << 30;  // of their inputs and outputs
  int64_t days = 30;                          // without being asked for
  int64_t files = 1000;
  int64_t file_bytes = int64_t{4} << 30;
  int64_t batches = 100;  // that are not finished
};

struct StateOptions {
  std::filesystem::path folder;  // empty: nothing is kept
  StateLimits limits;
};

class ServerState {
 public:
  /// Makes the folder, which only its owner can enter, if it is missing. Throws Error io; bad_file for a database of
  /// another program or a later version.
  explicit ServerState(const StateOptions& options);

  Database& database() { return database_; }
  const StateLimits& limits() const { return options_.limits; }
  /// A folder in its folder; makes it if it is missing. Throws Error io.
  std::filesystem::path subfolder(const char* name) const;

 private:
  StateOptions options_;
  Database database_;
};

/// A scope of Access as text, for the database.
std::string scope_text(const std::string& scope);
std::string scope_from_text(const std::string& text);

}  // namespace minicpm::server

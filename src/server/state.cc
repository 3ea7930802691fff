#include "server/state.h"

#include <iterator>

#include "base/error.h"

namespace minicpm::server {
namespace {

namespace fs = std::filesystem;

/// What each version of the tables added to the one before.
constexpr const char* kSteps[] = {
    R"(
CREATE TABLE responses (
  id TEXT PRIMARY KEY,
  scope TEXT NOT NULL,
  previous TEXT NOT NULL,   -- id of the response before, or empty
  used INTEGER NOT NULL,    -- last asked for, in milliseconds since 1970
  bytes INTEGER NOT NULL,   -- of what follows
  input TEXT NOT NULL,      -- JSON: the items of the request
  body TEXT NOT NULL);      -- JSON: the response
CREATE INDEX responses_of_scope ON responses (scope, used, bytes);
)",
    R"(
CREATE TABLE files (
  id TEXT PRIMARY KEY,
  scope TEXT NOT NULL,
  created INTEGER NOT NULL,  -- in seconds since 1970
  bytes INTEGER NOT NULL,
  name TEXT NOT NULL,
  purpose TEXT NOT NULL);
CREATE INDEX files_of_scope ON files (scope, bytes);
CREATE TABLE batches (
  id TEXT PRIMARY KEY,
  scope TEXT NOT NULL,
  finished INTEGER NOT NULL,
  created INTEGER NOT NULL,
  body TEXT NOT NULL);       -- JSON: the batch
CREATE INDEX batches_of_scope ON batches (scope, finished);
)",
};

fs::path made_folder(const fs::path& folder) {
  std::error_code error;
  const bool made = fs::create_directories(folder, error);
  if (!error && made) fs::permissions(folder, fs::perms::owner_all, error);
  if (error) fail(ErrorCode::kIo, "{}: cannot make the folder: {}", folder.string(), error.message());
  return folder / "server.sqlite";
}

}  // namespace

ServerState::ServerState(const StateOptions& options) : options_(options), database_(made_folder(options.folder)) {
  Transaction transaction(database_);
  int64_t version = 0;
  {
    Statement query(database_, "PRAGMA user_version");
    if (query.next()) version = query.integer(0);
  }
  constexpr auto kVersion = static_cast<int64_t>(std::size(kSteps));
  if (version > kVersion) {
    fail(ErrorCode::kBadFile, "{}: server.sqlite is of a later version of this program", options.folder.string());
  }
  for (; version < kVersion; ++version)
    database_.run(kSteps[version]);
  database_.run(fmt::format("PRAGMA user_version = {}", kVersion).c_str());
  transaction.commit();
}

fs::path ServerState::subfolder(const char* name) const {
  const fs::path folder = options_.folder / name;
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail(ErrorCode::kIo, "{}: cannot make the folder: {}", folder.string(), error.message());
  return folder;
}

std::string scope_text(const std::string& scope) {
  std::string text;
  for (const char byte : scope)
    text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return text;
}

std::string scope_from_text(const std::string& text) {
  std::string scope;
  for (size_t i = 0; i + 1 < text.size(); i += 2)
    scope += static_cast<char>(std::stoi(text.substr(i, 2), nullptr, 16));
  return scope;
}

}  // namespace minicpm::server

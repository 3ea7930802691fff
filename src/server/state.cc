#include "server/state.h"

#include "base/error.h"

namespace minicpm::server {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kVersion = 1;  // of the tables

constexpr char kTables[] = R"(
CREATE TABLE responses (
  id TEXT PRIMARY KEY,
  scope TEXT NOT NULL,
  previous TEXT NOT NULL,   -- id of the response before, or empty
  used INTEGER NOT NULL,    -- last asked for, in milliseconds since 1970
  bytes INTEGER NOT NULL,   -- of what follows
  input TEXT NOT NULL,      -- JSON: the items of the request
  body TEXT NOT NULL);      -- JSON: the response
CREATE INDEX responses_of_scope ON responses (scope, used, bytes);
)";

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
  if (version > kVersion) {
    fail(ErrorCode::kBadFile, "{}: server.sqlite is of a later version of this program", options.folder.string());
  }
  if (version == 0) {
    database_.run(kTables);
    database_.run(fmt::format("PRAGMA user_version = {}", kVersion).c_str());
  }
  transaction.commit();
}

std::string scope_text(const std::string& scope) {
  std::string text;
  for (const char byte : scope)
    text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return text;
}

}  // namespace minicpm::server

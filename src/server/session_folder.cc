#include "server/session_folder.h"

#include <algorithm>
#include <cctype>
#include <cstring>

#include "base/error.h"
#include "base/file_map.h"
#include "io/atomic_file.h"
#include "server/api_error.h"
#include "server/state.h"

namespace minicpm::server {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kEnding = ".session";
constexpr size_t kLongestName = 64;

void make_folder(const fs::path& folder) {
  std::error_code error;
  const bool made = fs::create_directories(folder, error);
  if (!error && made) fs::permissions(folder, fs::perms::owner_all, error);
  if (error) fail(ErrorCode::kIo, "{}: cannot make the folder: {}", folder.string(), error.message());
}

/// The folder's key, which is drawn with it.
SipKey key_of(const fs::path& folder) {
  const fs::path file = folder / "key";
  SipKey key = SipKey::random();
  if (!fs::exists(file)) {
    AtomicFile out(file);
    out.write(std::as_bytes(std::span(&key, 1)));
    out.commit(AtomicFile::kOwnerOnly);
  }
  const std::string bytes = read_file(file, sizeof(key));
  if (bytes.size() != sizeof(key)) {
    fail(ErrorCode::kBadFile, "{}: has {} bytes; the key of sessions has {}", file.string(), bytes.size(), sizeof(key));
  }
  std::memcpy(&key, bytes.data(), sizeof(key));
  return key;
}

}  // namespace

SessionFolder::SessionFolder(fs::path folder, SessionLimits limits) : folder_(std::move(folder)), limits_(limits) {
  make_folder(folder_);
  key_ = key_of(folder_);
}

fs::path SessionFolder::folder_of(const std::string& scope) const {
  return folder_ / (scope.empty() ? "all" : "key-" + scope_text(scope));
}

fs::path SessionFolder::file(const std::string& scope, const std::string& name) const {
  const auto good = [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.'; };
  if (name.empty() || name.size() > kLongestName || name.front() == '.' || !std::ranges::all_of(name, good)) {
    throw ApiError(
        400, fmt::format("a session's name has 1 to {} letters, digits, - _ and ., and no dot in front", kLongestName),
        "name");
  }
  return folder_of(scope) / (name + std::string(kEnding));
}

std::vector<StoredSession> SessionFolder::list(const std::string& scope) const {
  std::vector<StoredSession> sessions;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_of(scope), error)) {
    if (entry.path().extension() != kEnding) continue;
    const auto bytes = entry.file_size(error);
    const auto written = entry.last_write_time(error);
    if (error) continue;  // deleted meanwhile
    const auto time = std::chrono::file_clock::to_sys(written).time_since_epoch();
    sessions.push_back({entry.path().stem().string(), static_cast<int64_t>(bytes),
                        std::chrono::duration_cast<std::chrono::seconds>(time).count()});
  }
  std::ranges::sort(sessions, {}, &StoredSession::name);
  return sessions;
}

void SessionFolder::check_room(const std::string& scope, const std::string& name) const {
  make_folder(folder_of(scope));
  const std::vector<StoredSession> sessions = list(scope);
  if (std::ranges::find(sessions, name, &StoredSession::name) != sessions.end()) return;
  int64_t bytes = 0;
  for (const StoredSession& session : sessions)
    bytes += session.bytes;
  if (sessions.size() < limits_.sessions && bytes < limits_.bytes) return;
  throw ApiError(
      400, fmt::format("there are {} sessions with {} bytes, which are the most; delete some", sessions.size(), bytes),
      "name");
}

bool SessionFolder::remove(const std::string& scope, const std::string& name) const {
  std::error_code error;
  return fs::remove(file(scope, name), error);
}

}  // namespace minicpm::server

// A folder with computed prompts of clients, each client's in a folder of its own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

#include "base/siphash.h"

namespace minicpm::server {

/// For each API key; everyone together where there is none.
struct SessionLimits {
  size_t sessions = 64;
  int64_t bytes = int64_t{32} << 30;
};

struct StoredSession {
  std::string name;
  int64_t bytes = 0;
  int64_t modified = 0;  // in seconds since 1970
};

/// Thread-safe. Whoever asks gives a scope; what another scope left is not there.
class SessionFolder {
 public:
  /// Makes the folder and its key, which only their owner can enter and read, if they are missing. Throws Error io;
  /// bad_file for a key of another size.
  explicit SessionFolder(std::filesystem::path folder, SessionLimits limits = {});

  /// EngineOptions::media_key of all engines that use this folder.
  const SipKey& media_key() const { return key_; }
  /// Where a session lies or will lie. Throws ApiError 400 for a name that is none.
  std::filesystem::path file(const std::string& scope, const std::string& name) const;
  std::vector<StoredSession> list(const std::string& scope) const;
  /// Throws ApiError 400 where the scope has as much as it may, unless the session is there already. Makes its folder.
  void check_room(const std::string& scope, const std::string& name) const;
  /// Whether it was there.
  bool remove(const std::string& scope, const std::string& name) const;

 private:
  std::filesystem::path folder_of(const std::string& scope) const;

  std::filesystem::path folder_;
  SessionLimits limits_;
  SipKey key_;
};

}  // namespace minicpm::server

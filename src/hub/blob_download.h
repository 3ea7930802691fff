// One content of the hub, from an address into the cache's folder blobs/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "hub/settings.h"

namespace minicpm::hub {

struct BlobJob {
  std::string url;
  std::string path;  // in the repository, for messages
  std::string hash;
  uint64_t size = 0;
  std::string commit;                // that the address names
  std::filesystem::path blobs;       // gets <hash>, and <hash>.incomplete until it is whole
  std::filesystem::path locks;       // gets <hash>.lock, locked as the hub's own libraries lock it
  std::function<void(int64_t)> add;  // bytes that came; negative when what came is dropped
};

/// Goes on behind an incomplete file, of this or another program. The result is there and has the right hash, or an
/// Error is thrown: bad_file for a content that is not the named one, io, network, not_found, refused, cancelled.
void fetch_blob(HttpClient& client, const HubSettings& settings, const BlobJob& job, const std::atomic<bool>* cancel);

/// Bytes that are still to come; 0 when the blob is there.
uint64_t missing_bytes(const std::filesystem::path& blobs, const std::string& hash, uint64_t size);

}  // namespace minicpm::hub

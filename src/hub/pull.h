// Brings a model of the hub into the cache.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "hub/settings.h"
#include "io/hub_cache.h"

namespace minicpm::hub {

struct PullProgress {
  int64_t done_bytes = 0, total_bytes = 0;
  size_t done_files = 0, total_files = 0;
};

struct PullOptions {
  std::function<void(const PullProgress&)> on_progress;  // called on the thread that pulls, some times a second
  const std::atomic<bool>* cancel = nullptr;
};

struct PullResult {
  std::string commit;
  std::filesystem::path snapshot;
  size_t files = 0;
  int64_t bytes = 0;          // of the model's files
  int64_t fetched_bytes = 0;  // that were not there before
};

/// Fetches the files that are needed and missing, several at once. The revision's name is written last: a model can be
/// used under it only when it is whole. Throws Error not_found, refused, network, bad_file, unsupported, io (also when
/// the disk has too little room, before anything is fetched), cancelled.
PullResult pull(const HubName& name, const HubSettings& settings, const PullOptions& options = {});

}  // namespace minicpm::hub

// The models in the hub's cache: listing and removing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "io/hub_cache.h"

namespace minicpm::hub {

struct StoredModel {
  HubName name;  // with the format of a GGUF model; find_in_hub_cache() finds it under this name
  std::string commit;
  bool gguf = false;
  std::filesystem::path snapshot;
  std::vector<std::string> files;  // in the snapshot: those of this model
  int64_t bytes = 0;
  int64_t modified = 0;  // when its newest content came, in seconds since 1970
};

/// All models that this program may run, by name. Commits that no revision stands for any more are there as well, under
/// ORG/NAME@COMMIT. Folders that are not in the layout are passed over.
std::vector<StoredModel> stored_models(const std::filesystem::path& cache);

struct Removal {
  std::vector<std::filesystem::path> paths;  // links, contents and names, in the order to remove them
  int64_t bytes = 0;                         // that the disk gets back
};

/// What goes with a model: its links, contents that no other snapshot of the repository uses, the revision's name, and
/// the repository's folder when nothing else is in it. With a format, that GGUF model only, and its projector when no
/// other model of the snapshot is left. Throws Error not_found.
Removal plan_removal(const std::filesystem::path& cache, const HubName& name);

/// Throws Error io.
void remove(const Removal& removal);

}  // namespace minicpm::hub

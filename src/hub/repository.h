// What the hub says a repository holds, and which of it a model needs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "hub/settings.h"
#include "io/hub_cache.h"

namespace minicpm::hub {

struct RepositoryFile {
  std::string path;  // inner, see is_inner_path()
  uint64_t size = 0;
  std::string hash;  // SHA-256 of large files (64 digits), else git's SHA-1 of a blob (40): the name in blobs/
};

struct Repository {
  std::string commit;  // that the revision stands for now
  std::vector<RepositoryFile> files;
};

/// Asks the hub. Every path, hash and size of the answer is checked. Throws Error not_found (no such model or
/// revision), refused (401, 403), network.
Repository fetch_repository(HttpClient& client, const HubSettings& settings, const HubName& name,
                            const std::atomic<bool>* cancel);

/// Reads the hub's answer. `source` stands in messages. Throws Error network.
Repository read_repository(const std::string& text, const std::string& source);

/// With a format, or without safetensors files: the GGUF model and its projector. Otherwise configuration, tokenizer,
/// safetensors and assets. Python code is never among them. Throws Error not_found, naming what there is, and
/// unsupported for a repository without a model in either format.
std::vector<RepositoryFile> needed_files(const Repository& repository, const HubName& name);

/// Throws Error for a status that is neither good nor passing: not_found, refused, network.
[[noreturn]] void fail_status(const GetReply& reply, const HubSettings& settings, const HubName& name);

}  // namespace minicpm::hub

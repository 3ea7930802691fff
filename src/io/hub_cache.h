// The folder where models of the hub are kept, in the layout that the hub's own libraries use:
//   <cache>/models--ORG--NAME/blobs/HASH                    contents
//   <cache>/models--ORG--NAME/snapshots/COMMIT/PATH         relative links to blobs
//   <cache>/models--ORG--NAME/refs/REVISION                 the commit that a branch or tag stood for
// Only reading is here; hub/ writes.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace minicpm {

/// ORG/NAME[@REVISION][:FORMAT]
struct HubName {
  std::string organisation, name;
  std::string revision = "main";  // branch, tag or commit
  std::string format;             // of a GGUF file, "Q4_K_M"; empty: not said

  std::string id() const { return organisation + "/" + name; }
  /// As it was written, a revision of main left out.
  std::string text() const;
  /// "models--ORG--NAME"
  std::string folder_name() const { return "models--" + organisation + "--" + name; }
};

/// Reads such a name; a leading "hf.co/" or "https://huggingface.co/" is passed over. Nothing for other text, so that
/// what the result holds can stand in paths and URLs.
std::optional<HubName> parse_hub_name(std::string_view text);

/// The name that a folder of the cache belongs to; nothing for other folders.
std::optional<HubName> hub_name_of_folder(std::string_view folder_name);

/// $HF_HUB_CACHE, else $HF_HOME/hub, else $XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub.
std::filesystem::path hub_cache_folder();
/// $HF_HOME, else $XDG_CACHE_HOME/huggingface, else ~/.cache/huggingface.
std::filesystem::path hub_home_folder();

/// A path that stays inside the folder it is put into: relative, no empty or dotted parts, no control characters or
/// backslashes, parts of at most 255 bytes and 1024 in all.
bool is_inner_path(std::string_view path);
/// 40 hexadecimal digits in lower case.
bool is_commit(std::string_view text);

/// The commit that the revision stands for in the cache; nothing if it is not there.
std::optional<std::string> cached_commit(const std::filesystem::path& cache, const HubName& name);
/// The folder of that commit; nothing if it is not there.
std::optional<std::filesystem::path> find_snapshot(const std::filesystem::path& cache, const HubName& name);
/// The paths of a snapshot's files relative to it, sorted; links whose content is gone are left out.
std::vector<std::string> snapshot_files(const std::filesystem::path& snapshot);

/// What a MODEL argument that is a name of the hub means: a snapshot's folder, or the GGUF file in it. Nothing if it is
/// no such name or the cache does not have it. Throws Error not_found when the model is there but not in that format.
std::optional<std::filesystem::path> find_in_hub_cache(const std::string& model);

}  // namespace minicpm

#include "hub/store.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <set>

#include "base/error.h"
#include "io/file_choice.h"

namespace minicpm::hub {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    entries.push_back(it->path());
  std::ranges::sort(entries);
  return entries;
}

/// Revisions by the commit they stand for; commits without one stand for themselves.
std::multimap<std::string, std::string> revisions_of(const fs::path& repository) {
  std::multimap<std::string, std::string> revisions;
  const auto folder = hub_name_of_folder(repository.filename().string());
  for (const std::string& revision : snapshot_files(repository / "refs")) {
    HubName name = *folder;
    name.revision = revision;
    if (!parse_hub_name(name.id() + "@" + revision)) continue;
    if (const auto commit = cached_commit(repository.parent_path(), name)) revisions.emplace(*commit, revision);
  }
  for (const fs::path& snapshot : entries_of(repository / "snapshots")) {
    const std::string commit = snapshot.filename().string();
    if (is_commit(commit) && !revisions.contains(commit)) revisions.emplace(commit, commit);
  }
  return revisions;
}

void measure(StoredModel& model) {
  for (const std::string& file : model.files) {
    std::error_code error;
    const auto size = fs::file_size(model.snapshot / file, error);
    if (error) continue;
    model.bytes += static_cast<int64_t>(size);
    const auto written = fs::last_write_time(model.snapshot / file, error);
    if (error) continue;
    const auto time = std::chrono::file_clock::to_sys(written).time_since_epoch();
    model.modified = std::max<int64_t>(model.modified, std::chrono::duration_cast<std::chrono::seconds>(time).count());
  }
}

/// One for the folder as a whole, one for each GGUF model.
std::vector<StoredModel> models_of_snapshot(const StoredModel& base) {
  const std::vector<std::string> all = snapshot_files(base.snapshot);
  std::vector<StoredModel> models;
  const bool safetensors = std::ranges::any_of(all, [](const auto& file) { return file.ends_with(".safetensors"); });
  if (safetensors && std::ranges::find(all, "config.json") != all.end()) {
    StoredModel model = base;
    std::ranges::copy_if(all, std::back_inserter(model.files),
                         [](const auto& file) { return !lower_case(file).ends_with(".gguf"); });
    models.push_back(std::move(model));
  }
  std::set<std::string> formats;
  for (const std::string& file : all) {
    if (is_gguf_model_name(file)) formats.insert(format_of(file));
  }
  for (const std::string& format : formats) {
    StoredModel model = base;
    model.gguf = true;
    model.name.format = format;
    model.files = choose_gguf(all, format);
    if (model.files.empty()) continue;
    if (const auto projector = choose_projector(all, model.files[0])) model.files.push_back(*projector);
    models.push_back(std::move(model));
  }
  for (StoredModel& model : models)
    measure(model);
  return models;
}

/// The contents that the links in a folder name.
std::set<std::string> linked_blobs(const fs::path& folder) {
  std::set<std::string> blobs;
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::error_code link_error;
    const fs::path target = fs::read_symlink(it->path(), link_error);
    if (!link_error) blobs.insert(target.filename().string());
  }
  return blobs;
}

void add_tree(const fs::path& folder, Removal& removal) {
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::error_code size_error;
    if (!it->is_symlink(size_error) && it->is_regular_file(size_error)) {
      removal.bytes += static_cast<int64_t>(it->file_size(size_error));
    }
  }
  removal.paths.push_back(folder);
}

/// Contents that only what goes away used.
void add_blobs(const fs::path& repository, std::set<std::string> going, const std::set<std::string>& staying,
               Removal& removal) {
  for (const std::string& blob : staying)
    going.erase(blob);
  for (const std::string& blob : going) {
    const fs::path path = repository / "blobs" / blob;
    std::error_code error;
    const auto size = fs::file_size(path, error);
    if (error) continue;
    removal.bytes += static_cast<int64_t>(size);
    removal.paths.push_back(path);
  }
}

std::set<std::string> blobs_of_others(const fs::path& repository, const fs::path& snapshot) {
  std::set<std::string> staying;
  for (const fs::path& other : entries_of(repository / "snapshots")) {
    if (other != snapshot) staying.merge(linked_blobs(other));
  }
  return staying;
}

Removal remove_snapshot(const fs::path& repository, const HubName& name, const fs::path& snapshot) {
  Removal removal;
  const auto revisions = revisions_of(repository);
  if (!is_commit(name.revision)) removal.paths.push_back(repository / "refs" / name.revision);
  const std::string commit = snapshot.filename().string();
  if (!is_commit(name.revision) && revisions.count(commit) > 1) return removal;  // under another name it stays
  const auto snapshots = entries_of(repository / "snapshots");
  if (snapshots.size() == 1) {
    removal.paths = {repository.parent_path() / ".locks" / repository.filename()};
    add_tree(repository, removal);
    return removal;
  }
  const auto [first, last] = revisions.equal_range(commit);
  for (auto it = first; it != last; ++it) {
    if (it->second != name.revision && !is_commit(it->second))
      removal.paths.push_back(repository / "refs" / it->second);
  }
  removal.paths.push_back(snapshot);
  add_blobs(repository, linked_blobs(snapshot), blobs_of_others(repository, snapshot), removal);
  return removal;
}

Removal remove_format(const fs::path& repository, const HubName& name, const fs::path& snapshot) {
  std::vector<std::string> files = snapshot_files(snapshot);
  std::vector<std::string> going = choose_gguf(files, name.format);
  if (going.empty()) fail(ErrorCode::kNotFound, "{}: the store has no model of that format", name.text());
  std::erase_if(files, [&](const auto& file) { return std::ranges::find(going, file) != going.end(); });
  if (std::ranges::none_of(files, [](const auto& file) { return is_gguf_model_name(file) || file == "config.json"; })) {
    HubName whole = name;
    whole.format.clear();
    return remove_snapshot(repository, whole, snapshot);
  }
  Removal removal;
  std::set<std::string> blobs, staying = blobs_of_others(repository, snapshot);
  std::error_code error;
  for (const std::string& file : going) {
    removal.paths.push_back(snapshot / file);
    blobs.insert(fs::read_symlink(snapshot / file, error).filename().string());
  }
  for (const std::string& file : files)
    staying.insert(fs::read_symlink(snapshot / file, error).filename().string());
  blobs.erase("");  // files that are no links hold their content themselves
  add_blobs(repository, std::move(blobs), staying, removal);
  return removal;
}

}  // namespace

std::vector<StoredModel> stored_models(const fs::path& cache) {
  std::vector<StoredModel> result;
  for (const fs::path& repository : entries_of(cache)) {
    const auto name = hub_name_of_folder(repository.filename().string());
    if (!name) continue;
    for (const auto& [commit, revision] : revisions_of(repository)) {
      StoredModel base;
      base.name = *name;
      base.name.revision = revision;
      base.commit = commit;
      base.snapshot = repository / "snapshots" / commit;
      std::ranges::move(models_of_snapshot(base), std::back_inserter(result));
    }
  }
  return result;
}

Removal plan_removal(const fs::path& cache, const HubName& name) {
  const fs::path repository = cache / name.folder_name();
  const auto snapshot = find_snapshot(cache, name);
  if (snapshot) {
    return name.format.empty() ? remove_snapshot(repository, name, *snapshot)
                               : remove_format(repository, name, *snapshot);
  }
  std::error_code error;
  if (!fs::is_directory(repository, error) || !entries_of(repository / "snapshots").empty()) {
    fail(ErrorCode::kNotFound, "{}: is not in the store; `minicpm list` shows what is", name.text());
  }
  Removal removal;  // an interrupted pull left its beginnings
  removal.paths.push_back(cache / ".locks" / repository.filename());
  add_tree(repository, removal);
  return removal;
}

void remove(const Removal& removal) {
  for (const fs::path& path : removal.paths) {
    std::error_code error;
    fs::remove_all(path, error);
    if (error) fail(ErrorCode::kIo, "{}: cannot remove it: {}", path.string(), error.message());
  }
}

}  // namespace minicpm::hub

#include "io/hub_cache.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/file_map.h"
#include "io/file_choice.h"

namespace minicpm {
namespace {

namespace fs = std::filesystem;

constexpr size_t kCommitDigits = 40;
constexpr size_t kMaxPartBytes = 255;  // NAME_MAX of Linux
constexpr size_t kMaxPathBytes = 1024;
constexpr size_t kMaxNameBytes = 96;  // the hub's limit
constexpr std::string_view kFolderPrefix = "models--";
constexpr std::string_view kFolderSeparator = "--";

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/// The hub's rule for organisations and names: letters, digits, '-', '_' and '.', no "--" or "..", no '-' or '.' at
/// either end.
bool is_name_part(std::string_view text) {
  if (text.empty() || text.size() > kMaxNameBytes) return false;
  if (text.find("--") != std::string_view::npos || text.find("..") != std::string_view::npos) return false;
  const auto edge = [](char c) { return c == '-' || c == '.'; };
  if (edge(text.front()) || edge(text.back())) return false;
  return std::ranges::all_of(text, [](char c) { return is_letter_or_digit(c) || c == '-' || c == '_' || c == '.'; });
}

bool is_revision(std::string_view text) {
  if (!is_inner_path(text) || text.front() == '-') return false;
  return std::ranges::all_of(
      text, [](char c) { return is_letter_or_digit(c) || c == '-' || c == '_' || c == '.' || c == '/'; });
}

bool is_format(std::string_view text) {
  constexpr size_t kLongest = 64;
  return !text.empty() && text.size() <= kLongest &&
         std::ranges::all_of(text, [](char c) { return is_letter_or_digit(c) || c == '-' || c == '_' || c == '.'; });
}

std::string gguf_names(const std::vector<std::string>& files) {
  std::vector<std::string> names;
  std::ranges::copy_if(files, std::back_inserter(names), is_gguf_model_name);
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
}

bool holds(const std::vector<std::string>& files, std::string_view name) {
  return std::ranges::find(files, name) != files.end();
}

}  // namespace

std::string HubName::text() const {
  return id() + (revision == "main" ? "" : "@" + revision) + (format.empty() ? "" : ":" + format);
}

std::optional<HubName> parse_hub_name(std::string_view text) {
  for (const std::string_view prefix : {"https://huggingface.co/", "https://hf.co/", "hf.co/", "huggingface.co/"}) {
    if (text.starts_with(prefix)) text.remove_prefix(prefix.size());
  }
  HubName result;
  if (const size_t colon = text.find(':'); colon != std::string_view::npos) {
    result.format = text.substr(colon + 1);
    if (!is_format(result.format)) return std::nullopt;
    text = text.substr(0, colon);
  }
  if (const size_t at = text.find('@'); at != std::string_view::npos) {
    result.revision = text.substr(at + 1);
    if (!is_revision(result.revision)) return std::nullopt;
    text = text.substr(0, at);
  }
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  result.organisation = text.substr(0, slash);
  result.name = text.substr(slash + 1);
  if (!is_name_part(result.organisation) || !is_name_part(result.name)) return std::nullopt;
  return result;
}

std::optional<HubName> hub_name_of_folder(std::string_view folder_name) {
  if (!folder_name.starts_with(kFolderPrefix)) return std::nullopt;
  folder_name.remove_prefix(kFolderPrefix.size());
  const size_t middle = folder_name.find(kFolderSeparator);
  if (middle == std::string_view::npos) return std::nullopt;
  return parse_hub_name(std::string(folder_name.substr(0, middle)) + "/" +
                        std::string(folder_name.substr(middle + kFolderSeparator.size())));
}

fs::path hub_home_folder() {
  if (const std::string home = variable("HF_HOME"); !home.empty()) return home;
  if (const std::string cache = variable("XDG_CACHE_HOME"); !cache.empty()) return fs::path(cache) / "huggingface";
  const std::string home = variable("HOME");
  return fs::path(home.empty() ? "." : home) / ".cache" / "huggingface";
}

fs::path hub_cache_folder() {
  if (const std::string cache = variable("HF_HUB_CACHE"); !cache.empty()) return cache;
  return hub_home_folder() / "hub";
}

bool is_inner_path(std::string_view path) {
  if (path.empty() || path.size() > kMaxPathBytes) return false;
  const auto bad = [](unsigned char c) { return c < 0x20 || c == 0x7f || c == '\\'; };
  if (std::ranges::any_of(path, bad)) return false;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (part.empty() || part == "." || part == ".." || part.size() > kMaxPartBytes) return false;
    begin = end + 1;
  }
  return true;
}

bool is_commit(std::string_view text) {
  return text.size() == kCommitDigits &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::optional<std::string> cached_commit(const fs::path& cache, const HubName& name) {
  if (is_commit(name.revision)) return name.revision;
  const fs::path ref = cache / name.folder_name() / "refs" / name.revision;
  std::error_code error;
  if (!fs::is_regular_file(ref, error)) return std::nullopt;
  constexpr size_t kMaxRefBytes = 256;
  std::string commit = read_file(ref, kMaxRefBytes);
  while (!commit.empty() && (commit.back() == '\n' || commit.back() == '\r'))
    commit.pop_back();
  return is_commit(commit) ? std::optional(commit) : std::nullopt;
}

std::optional<fs::path> find_snapshot(const fs::path& cache, const HubName& name) {
  const auto commit = cached_commit(cache, name);
  if (!commit) return std::nullopt;
  const fs::path folder = cache / name.folder_name() / "snapshots" / *commit;
  std::error_code error;
  return fs::is_directory(folder, error) ? std::optional(folder) : std::nullopt;
}

std::vector<std::string> snapshot_files(const fs::path& snapshot) {
  std::vector<std::string> files;
  std::error_code error;
  for (fs::recursive_directory_iterator it(snapshot, error), end; !error && it != end; it.increment(error)) {
    std::error_code type_error;
    if (it->is_regular_file(type_error)) files.push_back(it->path().lexically_relative(snapshot).generic_string());
  }
  std::ranges::sort(files);
  return files;
}

std::optional<fs::path> find_in_hub_cache(const std::string& model) {
  const auto name = parse_hub_name(model);
  if (!name) return std::nullopt;
  const auto snapshot = find_snapshot(hub_cache_folder(), *name);
  if (!snapshot) return std::nullopt;
  const std::vector<std::string> files = snapshot_files(*snapshot);
  if (name->format.empty() && holds(files, "config.json") &&
      std::ranges::any_of(files, [](const auto& file) { return file.ends_with(".safetensors"); })) {
    return snapshot;
  }
  const std::vector<std::string> parts = choose_gguf(files, name->format);
  if (!parts.empty()) return *snapshot / parts[0];
  if (name->format.empty()) return snapshot;
  fail(ErrorCode::kNotFound,
       "{}: the store has no .gguf file of this model whose name ends in {}; it has {}; `minicpm pull {}` gets it",
       model, name->format, gguf_names(files), name->text());
}

}  // namespace minicpm

#include "cli/settings.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/file_map.h"

namespace minicpm::cli {
namespace {

constexpr size_t kMaxFileBytes = 1u << 20;
constexpr std::string_view kSecret = "api-key";

/// The long flags without their dashes.
std::vector<std::string_view> keys_of(const OptionRow& row) {
  std::vector<std::string_view> keys;
  for (const std::string_view flag : row.flag_names()) {
    if (flag.starts_with("--")) keys.push_back(flag.substr(2));
  }
  return keys;
}

/// "MINICPM_API_KEY" for "api-key".
std::string variable_of(std::string_view key) {
  std::string name = "MINICPM_" + std::string(key);
  std::ranges::transform(name, name.begin(), [](char c) {
    return c == '-' ? '_' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  return name;
}

void check_secrets(const std::string& file) {
  struct stat status {};
  if (stat(file.c_str(), &status) != 0 || (status.st_mode & (S_IRWXG | S_IRWXO)) == 0) return;
  fail(ErrorCode::kRefused, "{}: holds an {} but other users can read or write it; `chmod 600` it", file, kSecret);
}

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> parts;
  while (true) {
    const size_t end = std::min(text.find(','), text.size());
    parts.emplace_back(text.substr(0, end));
    if (end == text.size()) return parts;
    text.remove_prefix(end + 1);
  }
}

}  // namespace

Settings::Settings(const std::string& file, std::span<const OptionRow* const> rows) : file_(file) {
  if (file.empty()) return;
  settings_ = parse_settings(read_file(file, kMaxFileBytes), file);
  std::vector<std::string_view> known;
  for (const OptionRow* row : rows) {
    if (!row->from_settings()) continue;
    for (const std::string_view key : keys_of(*row))
      known.push_back(key);
  }
  for (const FileSetting& setting : settings_) {
    if (setting.key == kSecret) check_secrets(file);
    if (std::ranges::find(known, setting.key) != known.end()) continue;
    const std::string_view guess = nearest(setting.key, known);
    if (guess.empty()) fail(ErrorCode::kInvalidRequest, "{}:{}: {} is no option", file, setting.line, setting.key);
    fail(ErrorCode::kInvalidRequest, "{}:{}: {} is no option; did you mean {}?", file, setting.line, setting.key,
         guess);
  }
}

std::optional<Setting> Settings::find(const OptionRow& row) const {
  for (const std::string_view key : keys_of(row)) {
    const std::string variable = variable_of(key);
    const char* value = std::getenv(variable.c_str());
    if (value == nullptr || *value == '\0') continue;
    return Setting{row.repeatable() ? split_list(value) : std::vector<std::string>{value}, variable};
  }
  for (const std::string_view key : keys_of(row)) {
    const auto found = std::ranges::find(settings_, key, &FileSetting::key);
    if (found == settings_.end()) continue;
    const std::string origin = fmt::format("{}:{}", file_, found->line);
    if (found->array && !row.repeatable()) {
      fail(ErrorCode::kInvalidRequest, "{}: {} takes one value, not an array", origin, found->key);
    }
    return Setting{found->values, origin};
  }
  return {};
}

}  // namespace minicpm::cli

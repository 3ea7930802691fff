// Values of options from elsewhere than the command line: the environment, and a file.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cli/options.h"
#include "cli/settings_file.h"

namespace minicpm::cli {

/// What an option got, and from where.
struct Setting {
  std::vector<std::string> values;
  std::string origin;  // "MINICPM_PORT", or "minicpm.toml:3"
};

class Settings {
 public:
  /// `file` may be empty. Throws Error not_found, io; invalid_request for keys that are no option among `rows`, and for
  /// what parse_settings refuses; refused for a file with API keys that other users can read.
  Settings(const std::string& file, std::span<const OptionRow* const> rows);

  /// The environment comes before the file. A list in the environment has commas between its elements.
  std::optional<Setting> find(const OptionRow& row) const;

 private:
  std::string file_;
  std::vector<FileSetting> settings_;
};

}  // namespace minicpm::cli

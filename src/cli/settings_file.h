// A file of settings: the part of TOML that has keys, strings, numbers, truth values and arrays of them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace minicpm::cli {

struct FileSetting {
  std::string key;
  std::vector<std::string> values;  // numbers and truth values as they are written; one, unless it is an array
  bool array = false;
  int line = 0;
};

/// Throws Error invalid_request with the name and the line of what is not understood: tables, dates, keys with dots or
/// quotes, strings over several lines, and everything that is no TOML. Keys that come twice are refused.
std::vector<FileSetting> parse_settings(std::string_view text, const std::string& name);

}  // namespace minicpm::cli

// Any text as a file of settings: it is read, or refused with the line. What is read and written again is the same.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "cli/settings_file.h"

namespace {

using minicpm::cli::FileSetting;

std::string quoted(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  return result + "\"";
}

/// All values as texts.
std::string written(const std::vector<FileSetting>& settings) {
  std::string text;
  for (const FileSetting& setting : settings) {
    text += setting.key + (setting.array ? " = [\n" : " = ");
    for (const std::string& value : setting.values)
      text += quoted(value) + (setting.array ? ", # a comment\r\n" : "");
    text += setting.array ? "]\n" : "\n";
  }
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using minicpm::cli::parse_settings;
  std::vector<FileSetting> settings;
  try {
    settings = parse_settings({reinterpret_cast<const char*>(data), size}, "fuzz.toml");
  } catch (const minicpm::Error& error) {
    if (error.code() != minicpm::ErrorCode::kInvalidRequest) std::abort();
    return 0;
  }
  const std::vector<FileSetting> again = parse_settings(written(settings), "again.toml");
  if (again.size() != settings.size()) std::abort();
  for (size_t i = 0; i < again.size(); ++i) {
    if (again[i].key != settings[i].key || again[i].values != settings[i].values) std::abort();
    if (!settings[i].array && settings[i].values.size() != 1) std::abort();
  }
  return 0;
}

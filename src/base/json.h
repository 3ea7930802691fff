// JSON with messages that name the file and the key. nlohmann's parser is iterative, so deep nesting cannot overflow
// the stack; sizes are bounded by the caller, who reads the text.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace minicpm {

using Json = nlohmann::ordered_json;

/// Parses `text`; on failure throws Error bad_file: "<source>: not valid JSON at byte N".
Json parse_json(std::string_view text, std::string_view source);

/// Typed access to the members of one JSON object that was read from `source`. Wrong types throw Error bad_file with
/// file, key, expected and found.
class JsonObject {
 public:
  JsonObject(const Json& json, std::string source);

  bool has(std::string_view key) const;  // present and not null
  std::optional<int64_t> find_int(std::string_view key) const;
  std::optional<double> find_number(std::string_view key) const;
  std::optional<bool> find_bool(std::string_view key) const;
  std::optional<std::string> find_string(std::string_view key) const;
  std::optional<JsonObject> find_object(std::string_view key) const;
  const Json* find(std::string_view key) const;  // null when absent or null
  const Json& json() const { return *json_; }
  const std::string& source() const { return source_; }

 private:
  [[noreturn]] void fail_type(std::string_view key, std::string_view expected, const Json& found) const;
  const Json* json_;
  std::string source_;
};

}  // namespace minicpm

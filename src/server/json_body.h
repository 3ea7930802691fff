// JSON of requests and answers: strict reading with limits, and fields with types and ranges.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace minicpm::server {

struct JsonLimits {
  int depth = 64;
  size_t keys = 10'000;       // in the whole document
  size_t values = 1'000'000;  // likewise
};

/// Parses a request's body, which must be one object. Throws ApiError 400: not JSON, not UTF-8, a key twice in one
/// object, or beyond the limits.
Json parse_body(std::string_view text, const JsonLimits& limits = {});

/// Without line breaks. Strings that are not UTF-8 get U+FFFD.
std::string to_text(const Json& json);

/// The members of one object of a request. Absent and null are the same. Everything of another type or out of range
/// throws ApiError 400 that names the field by its path, such as messages[0].content.
class Fields {
 public:
  /// `path` is empty for the body itself.
  explicit Fields(const Json& object, std::string path = {});

  const Json* find(std::string_view key) const;
  bool has(std::string_view key) const { return find(key) != nullptr; }
  std::optional<int64_t> integer(std::string_view key, int64_t least, int64_t most) const;
  std::optional<double> number(std::string_view key, double least, double most) const;
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::string> string(std::string_view key) const;
  const Json* array(std::string_view key) const;
  std::optional<Fields> object(std::string_view key) const;
  /// A string, or an array of strings.
  std::vector<std::string> strings(std::string_view key) const;

  /// Complains of a field that is missing.
  void require(std::string_view key) const;
  std::string required_string(std::string_view key) const;

  std::string path(std::string_view key) const;
  const std::string& path() const { return path_; }
  const Json& json() const { return *json_; }

 private:
  [[noreturn]] void fail_type(std::string_view key, std::string_view expected, const Json& found) const;
  const Json* json_;
  std::string path_;
};

/// Which fields an object may have.
struct FieldTable {
  std::initializer_list<std::string_view> known;    // read by the caller
  std::initializer_list<std::string_view> ignored;  // without effect on the answer
  /// Not supported; harmless when null, false, zero, empty, or the value that stands for "off".
  std::initializer_list<std::string_view> refused;
};

/// Throws ApiError 400 for a field that the table does not have, and for one it refuses.
void check_fields(const Fields& fields, const FieldTable& table);

}  // namespace minicpm::server

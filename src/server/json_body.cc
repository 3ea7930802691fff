#include "server/json_body.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "server/api_error.h"

namespace minicpm::server {
namespace {

/// Counts while the parser works, so that a hostile text is left before it has become large in memory.
class Counter {
 public:
  explicit Counter(const JsonLimits& limits) : limits_(limits) {}

  bool operator()(int depth, Json::parse_event_t event, Json& parsed) {
    using Event = Json::parse_event_t;
    if (depth > limits_.depth) throw ApiError(400, fmt::format("the JSON is nested deeper than {}", limits_.depth));
    if (event == Event::object_start) keys_.emplace_back();
    if (event == Event::object_end) keys_.pop_back();
    if (event == Event::key) add_key(parsed.get_ref<const std::string&>());
    if (event != Event::key && event != Event::object_end && event != Event::array_end && ++values_ > limits_.values) {
      throw ApiError(400, fmt::format("the JSON has more than {} values", limits_.values));
    }
    return true;
  }

 private:
  void add_key(const std::string& key) {
    if (++num_keys_ > limits_.keys) throw ApiError(400, fmt::format("the JSON has more than {} keys", limits_.keys));
    if (!keys_.back().insert(key).second) throw ApiError(400, "the JSON has a key twice in one object", key);
  }

  const JsonLimits& limits_;
  std::vector<std::set<std::string>> keys_;  // of the open objects
  size_t num_keys_ = 0, values_ = 0;
};

}  // namespace

Json parse_body(std::string_view text, const JsonLimits& limits) {
  Json body;
  try {
    body = Json::parse(text.begin(), text.end(), Counter(limits));
  } catch (const Json::parse_error& error) {
    throw ApiError(400, fmt::format("the body is not valid JSON at byte {}", error.byte));
  } catch (const Json::exception&) {
    throw ApiError(400, "the body is not valid JSON: a number is out of range");
  }
  if (!body.is_object()) throw ApiError(400, fmt::format("the body must be a JSON object, found {}", body.type_name()));
  return body;
}

std::string to_text(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Fields::Fields(const Json& object, std::string path) : json_(&object), path_(std::move(path)) {
  if (!object.is_object()) bad_field(path_, "must be an object, found {}", object.type_name());
}

std::string Fields::path(std::string_view key) const {
  return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
}

void Fields::fail_type(std::string_view key, std::string_view expected, const Json& found) const {
  bad_field(path(key), "must be {}, found {}", expected, found.type_name());
}

const Json* Fields::find(std::string_view key) const {
  const auto it = json_->find(key);
  return it == json_->end() || it->is_null() ? nullptr : &*it;
}

std::optional<int64_t> Fields::integer(std::string_view key, int64_t least, int64_t most) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number_integer()) fail_type(key, "a whole number", *value);
  const bool huge = value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
  if (huge || value->get<int64_t>() < least || value->get<int64_t>() > most) {
    bad_field(path(key), "must be between {} and {}", least, most);
  }
  return value->get<int64_t>();
}

std::optional<double> Fields::number(std::string_view key, double least, double most) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) fail_type(key, "a number", *value);
  const double number = value->get<double>();
  if (!(number >= least && number <= most)) bad_field(path(key), "must be between {} and {}", least, most);
  return number;
}

std::optional<bool> Fields::boolean(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) fail_type(key, "true or false", *value);
  return value->get<bool>();
}

std::optional<std::string> Fields::string(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) fail_type(key, "a string", *value);
  return value->get<std::string>();
}

const Json* Fields::array(std::string_view key) const {
  const Json* value = find(key);
  if (value != nullptr && !value->is_array()) fail_type(key, "an array", *value);
  return value;
}

std::optional<Fields> Fields::object(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  return Fields(*value, path(key));
}

std::vector<std::string> Fields::strings(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return {};
  if (value->is_string()) return {value->get<std::string>()};
  if (!value->is_array()) fail_type(key, "a string or an array of strings", *value);
  std::vector<std::string> result;
  for (size_t i = 0; i < value->size(); ++i) {
    const Json& one = (*value)[i];
    if (!one.is_string()) bad_field(fmt::format("{}[{}]", path(key), i), "must be a string, found {}", one.type_name());
    result.push_back(one.get<std::string>());
  }
  return result;
}

void Fields::require(std::string_view key) const {
  if (!has(key)) bad_field(path(key), "is missing");
}

std::string Fields::required_string(std::string_view key) const {
  require(key);
  return *string(key);
}

void check_fields(const Fields& fields, const FieldTable& table) {
  const auto in = [](std::initializer_list<std::string_view> list, const std::string& key) {
    return std::find(list.begin(), list.end(), key) != list.end();
  };
  const auto harmless = [](const Json& value) {
    if (value.is_boolean()) return !value.get<bool>();
    if (value.is_number()) return value.get<double>() == 0;
    if (value.is_string()) return value == "" || value == "none" || value == "auto" || value == "default";
    return value.empty();
  };
  for (const auto& [key, value] : fields.json().items()) {
    if (in(table.known, key) || in(table.ignored, key)) continue;
    const std::string name = fields.path(key).substr(0, 200);
    if (!in(table.refused, key)) throw ApiError(400, name + ": unknown field", name, "unknown_field");
    if (!harmless(value)) throw ApiError(400, name + ": not supported by this server", name, "unsupported_field");
  }
}

}  // namespace minicpm::server

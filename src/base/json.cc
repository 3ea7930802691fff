#include "base/json.h"

#include "base/error.h"

namespace minicpm {

Json parse_json(std::string_view text, std::string_view source) {
  try {
    return Json::parse(text.begin(), text.end());
  } catch (const Json::parse_error& error) {
    fail(ErrorCode::kBadFile, "{}: not valid JSON at byte {}", source, error.byte);
  } catch (const Json::exception&) {  // a number beyond the range of a double
    fail(ErrorCode::kBadFile, "{}: not valid JSON: a number is out of range", source);
  }
}

JsonObject::JsonObject(const Json& json, std::string source) : json_(&json), source_(std::move(source)) {
  if (!json.is_object()) {
    fail(ErrorCode::kBadFile, "{}: expected a JSON object, found {}", source_, json.type_name());
  }
}

void JsonObject::fail_type(std::string_view key, std::string_view expected, const Json& found) const {
  fail(ErrorCode::kBadFile, "{}: \"{}\" must be {}, found {}", source_, key, expected, found.type_name());
}

const Json* JsonObject::find(std::string_view key) const {
  const auto it = json_->find(key);
  return it == json_->end() || it->is_null() ? nullptr : &*it;
}

bool JsonObject::has(std::string_view key) const {
  return find(key) != nullptr;
}

std::optional<int64_t> JsonObject::find_int(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number_integer()) fail_type(key, "a whole number", *value);
  if (value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    fail(ErrorCode::kBadFile, "{}: \"{}\" is too large", source_, key);
  }
  return value->get<int64_t>();
}

std::optional<double> JsonObject::find_number(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) fail_type(key, "a number", *value);
  return value->get<double>();
}

std::optional<bool> JsonObject::find_bool(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) fail_type(key, "true or false", *value);
  return value->get<bool>();
}

std::optional<std::string> JsonObject::find_string(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) fail_type(key, "a string", *value);
  return value->get<std::string>();
}

std::optional<JsonObject> JsonObject::find_object(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) fail_type(key, "an object", *value);
  return JsonObject(*value, source_ + ": " + std::string(key));
}

}  // namespace minicpm

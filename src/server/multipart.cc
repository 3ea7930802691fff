#include "server/multipart.h"

#include <boost/beast/core/string.hpp>
#include <optional>

#include "server/api_error.h"

namespace minicpm::server {
namespace {

constexpr size_t kMaxFields = 64;
constexpr size_t kMaxBoundary = 70;  // RFC 2046

[[noreturn]] void refuse(const char* why) {
  throw ApiError(400, std::string("the form cannot be read: ") + why);
}

/// The value of `name=value` or `name="value"` among the parameters of a header.
std::optional<std::string> parameter(std::string_view header, std::string_view name) {
  for (size_t at = header.find(';'); at != std::string_view::npos; at = header.find(';', at)) {
    at = header.find_first_not_of(" \t;", at);
    if (at == std::string_view::npos) break;
    std::string_view rest = header.substr(at);
    if (rest.size() <= name.size() || rest[name.size()] != '=' ||
        !boost::beast::iequals({rest.data(), name.size()}, {name.data(), name.size()})) {
      continue;
    }
    rest.remove_prefix(name.size() + 1);
    if (!rest.starts_with('"')) return std::string(rest.substr(0, rest.find_first_of("; \t")));
    const size_t end = rest.find('"', 1);
    if (end == std::string_view::npos) return std::nullopt;
    return std::string(rest.substr(1, end - 1));
  }
  return std::nullopt;
}

/// The names that the head of a part gives it.
FormField names_of(std::string_view head) {
  constexpr std::string_view kField = "content-disposition:";
  while (!head.empty()) {
    const size_t end = std::min(head.find("\r\n"), head.size());
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(std::min(end + 2, head.size()));
    if (line.size() < kField.size() ||
        !boost::beast::iequals({line.data(), kField.size()}, {kField.data(), kField.size()}))
      continue;
    if (const auto name = parameter(line, "name")) return {*name, {}, parameter(line, "filename").value_or("")};
  }
  refuse("a part has no name");
}

}  // namespace

std::vector<FormField> parse_form(std::string_view content_type, std::string_view body) {
  constexpr std::string_view kType = "multipart/form-data";
  if (content_type.size() < kType.size() ||
      !boost::beast::iequals({content_type.data(), kType.size()}, {kType.data(), kType.size()})) {
    refuse("the type of the body must be multipart/form-data");
  }
  const auto boundary = parameter(content_type, "boundary");
  if (!boundary || boundary->empty() || boundary->size() > kMaxBoundary) refuse("it has no boundary");
  const std::string mark = "--" + *boundary, next = "\r\n" + mark;
  if (!body.starts_with(mark)) refuse("it does not begin with its boundary");
  body.remove_prefix(mark.size());
  std::vector<FormField> fields;
  while (!body.starts_with("--")) {
    if (!body.starts_with("\r\n")) refuse("a boundary is not followed by a line end");
    body.remove_prefix(2);
    const size_t head = body.find("\r\n\r\n");
    const size_t end = head == std::string_view::npos ? head : body.find(next, head + 4);
    if (end == std::string_view::npos) refuse("a part does not end");
    if (fields.size() == kMaxFields) refuse("it has too many parts");
    fields.push_back(names_of(body.substr(0, head)));
    fields.back().value = body.substr(head + 4, end - head - 4);
    body.remove_prefix(end + next.size());
  }
  return fields;
}

}  // namespace minicpm::server

// Bodies of the type multipart/form-data (RFC 7578).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace minicpm::server {

struct FormField {
  std::string name;
  std::string_view value;  // into the body
  std::string file_name;   // of a file; else empty
};

/// `content_type` is the request's header. Throws ApiError 400: another type, no boundary, broken parts, or more than
/// 64 of them.
std::vector<FormField> parse_form(std::string_view content_type, std::string_view body);

}  // namespace minicpm::server

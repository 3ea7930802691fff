#include "server/route_pattern.h"

namespace minicpm::server {
namespace {

constexpr std::string_view kId = "{id}";

}  // namespace

bool matches_route(std::string_view pattern, std::string_view path) {
  if (pattern.size() > 1 && pattern.ends_with('/')) return path.starts_with(pattern) && path.size() > pattern.size();
  const size_t at = pattern.find(kId);
  if (at == std::string_view::npos) return path == pattern;
  const std::string_view before = pattern.substr(0, at), behind = pattern.substr(at + kId.size());
  return path.starts_with(before) && path.ends_with(behind) && path.size() > before.size() + behind.size() &&
         route_id(pattern, path).find('/') == std::string::npos;
}

std::string route_id(std::string_view pattern, std::string_view path) {
  const size_t at = pattern.find(kId);
  if (at == std::string_view::npos) return {};
  const size_t behind = pattern.size() - at - kId.size();
  return std::string(path.substr(at, path.size() - at - behind));
}

}  // namespace minicpm::server

// Addresses with a part that varies.
#pragma once

#include <string>
#include <string_view>

namespace minicpm::server {

/// Whether `path` has the form of `pattern`: {id} stands for one part that is not empty, a slash at the end for all
/// that begins so.
bool matches_route(std::string_view pattern, std::string_view path);

/// What stands in the place of {id} of a path that matches; empty without one.
std::string route_id(std::string_view pattern, std::string_view path);

}  // namespace minicpm::server

// Names that nobody can guess.
#pragma once

#include <string>
#include <string_view>

namespace minicpm::server {

/// `prefix` and 24 hexadecimal digits.
std::string random_id(std::string_view prefix);

}  // namespace minicpm::server

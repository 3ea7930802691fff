// JSON as Python's json.dumps writes it: chat templates print tools and tool calls in this form.
#pragma once

#include <string>

#include "base/json.h"

namespace minicpm {

/// ", " and ": " between items, keys in order, no ASCII escapes, floats as Python's repr. Throws Error invalid_request
/// beyond 128 levels.
std::string to_python_json(const Json& json);

}  // namespace minicpm

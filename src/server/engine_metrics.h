// What the engines of a server are doing, in the text format of Prometheus.
#pragma once

#include <span>
#include <string>

#include "server/served_models.h"

namespace minicpm::server {

/// One line for each value and model.
std::string engine_metrics(std::span<const ServedModel> models);

}  // namespace minicpm::server

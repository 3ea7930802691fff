// What the engines of a server are doing, in the text format of Prometheus.
#pragma once

#include <string>

#include "server/served_models.h"

namespace minicpm::server {

/// One line for each value and model that is loaded.
std::string engine_metrics(ModelPool& pool);

}  // namespace minicpm::server

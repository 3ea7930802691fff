// One line for each request. Prompts, answers and keys are never in it.
#pragma once

#include <string>

#include "server/http.h"

namespace minicpm::server {

enum class LogFormat { kOff, kText, kJson };

/// Without a line break; empty for kOff.
std::string access_line(LogFormat format, const ExchangeSummary& summary);

}  // namespace minicpm::server

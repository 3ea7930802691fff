// The description of the server's addresses at /openapi.json.
#pragma once

#include <string>

#include "base/json.h"
#include "server/answering.h"

namespace minicpm::server {

/// An OpenAPI 3.1 document.
Json openapi_document(const std::string& version);

void openapi(ApiContext& context, Exchange& exchange);

}  // namespace minicpm::server

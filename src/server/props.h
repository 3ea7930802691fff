// GET /props: what the models of this server can, and their defaults, for pages and programs that show settings.
#pragma once

#include "server/answering.h"

namespace minicpm::server {

/// The members that llama.cpp's /props has for its one model say the same of the first model here; `models` has all.
void props(ApiContext& context, Exchange& exchange);

}  // namespace minicpm::server

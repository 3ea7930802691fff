// OpenAI's responses: conversations of items. Nothing is stored.
#pragma once

#include "server/answering.h"

namespace minicpm::server {

void openai_responses(ApiContext& context, Exchange& exchange);

}  // namespace minicpm::server

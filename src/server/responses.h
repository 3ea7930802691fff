// OpenAI's responses: conversations of items. stored_responses.h has those that are kept.
#pragma once

#include "server/answering.h"

namespace minicpm::server {

void openai_responses(ApiContext& context, Exchange& exchange);

}  // namespace minicpm::server

// OpenAI's completions: a text goes on, without a chat template.
#pragma once

#include "server/answering.h"

namespace minicpm::server {

void openai_completions(ApiContext& context, Exchange& exchange);

}  // namespace minicpm::server

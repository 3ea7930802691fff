// OpenAI's transcriptions, for models that hear.
#pragma once

#include "server/answering.h"

namespace minicpm::server {

void openai_transcriptions(ApiContext& context, Exchange& exchange);

}  // namespace minicpm::server

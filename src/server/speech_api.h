// OpenAI's address for reading a text aloud.
#pragma once

#include "server/answering.h"

namespace minicpm::server {

void openai_speech(ApiContext& context, Exchange& exchange);

}  // namespace minicpm::server

// Anthropic's messages.
#pragma once

#include "server/answering.h"

namespace minicpm::server {

void anthropic_messages(ApiContext& context, Exchange& exchange);
void anthropic_count_tokens(ApiContext& context, Exchange& exchange);

}  // namespace minicpm::server

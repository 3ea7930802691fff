// Ollama's API, as far as its client libraries and the tools that speak it need.
#pragma once

#include "server/answering.h"

namespace minicpm::server {

void ollama_chat(ApiContext& context, Exchange& exchange);
void ollama_generate(ApiContext& context, Exchange& exchange);
void ollama_show(ApiContext& context, Exchange& exchange);
void ollama_tags(ApiContext& context, Exchange& exchange);
void ollama_ps(ApiContext& context, Exchange& exchange);
void ollama_version(ApiContext& context, Exchange& exchange);

}  // namespace minicpm::server

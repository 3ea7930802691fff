// Ollama's API, as far as its client libraries and the tools that speak it need.
#pragma once

#include "server/answering.h"

namespace minicpm::server {

/// How long the model is to stay loaded behind this request: seconds, or a text with units; negative: for good. Returns
/// whether it is to go at once. Throws ApiError 400.
bool read_keep_alive(const ApiContext& context, const Fields& body, const ServedModel& model);

void ollama_chat(ApiContext& context, Exchange& exchange);
void ollama_generate(ApiContext& context, Exchange& exchange);
void ollama_show(ApiContext& context, Exchange& exchange);
void ollama_tags(ApiContext& context, Exchange& exchange);
void ollama_ps(ApiContext& context, Exchange& exchange);
void ollama_version(ApiContext& context, Exchange& exchange);

}  // namespace minicpm::server

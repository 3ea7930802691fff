// Tokens and prompts, with llama.cpp's request and reply shapes; health and metrics.
#pragma once

#include "server/answering.h"

namespace minicpm::server {

void tokenize(ApiContext& context, Exchange& exchange);
void detokenize(ApiContext& context, Exchange& exchange);
void apply_template(ApiContext& context, Exchange& exchange);
void health(ApiContext& context, Exchange& exchange);

}  // namespace minicpm::server

// Texts to vectors: OpenAI's /v1/embeddings and Ollama's /api/embed and /api/embeddings.
#pragma once

#include "server/answering.h"

namespace minicpm::server {

void openai_embeddings(ApiContext& context, Exchange& exchange);
void ollama_embed(ApiContext& context, Exchange& exchange);
/// The older address: one text, one vector.
void ollama_embeddings(ApiContext& context, Exchange& exchange);

}  // namespace minicpm::server

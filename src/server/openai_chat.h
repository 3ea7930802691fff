// OpenAI's chat completions.
#pragma once

#include "server/answering.h"

namespace minicpm::server {

/// A body of POST /v1/chat/completions, read.
struct OpenAiChat {
  const ServedModel* model = nullptr;
  ChatRequest chat;
  int choices = 1;
  bool stream = false;
  bool include_usage = false;
};

/// "response_format" of chat completions: the schema of the answer, or nothing. Throws ApiError 400.
std::optional<Json> read_response_format(const Fields& body);
/// The member "schema", which answers can be held to. Throws ApiError 400 for one that cannot be kept.
Json checked_schema(const Fields& holder);
/// "logit_bias": {"ID": -100 to 100}. Throws ApiError 400.
void read_logit_bias(const Fields& body, const ServedModel& model, SamplingParams& sampling);

/// Throws ApiError 400, 404. `media` holds what the request decoded.
std::vector<Message> read_openai_messages(const Fields& body, MediaReader& media);
OpenAiChat read_openai_chat(const Fields& body, const ServedModel& model, MediaReader& media);

void openai_chat(ApiContext& context, Exchange& exchange);
void openai_models(ApiContext& context, Exchange& exchange);
/// GET /v1/models/NAME
void openai_model(ApiContext& context, Exchange& exchange);

}  // namespace minicpm::server

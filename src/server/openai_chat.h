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

/// Throws ApiError 400, 404. `media` holds what the request decoded.
std::vector<Message> read_openai_messages(const Fields& body, MediaReader& media);
OpenAiChat read_openai_chat(const Fields& body, const ServedModel& model, MediaReader& media);

void openai_chat(ApiContext& context, Exchange& exchange);
void openai_models(ApiContext& context, Exchange& exchange);
/// GET /v1/models/NAME
void openai_model(ApiContext& context, Exchange& exchange);

}  // namespace minicpm::server

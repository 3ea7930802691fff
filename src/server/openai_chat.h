// OpenAI's chat completions.
#pragma once

#include <span>

#include "server/answering.h"
#include "server/voices.h"

namespace minicpm::server {

/// How an answer is spoken.
struct SpokenSettings {
  const SoundKind* kind = nullptr;
  std::optional<std::vector<float>> clip;  // of the voice; none: the model's own
  std::string language = "en";             // of the prompt that sets the voice
};

/// A body of POST /v1/chat/completions, read.
struct OpenAiChat {
  const ServedModel* model = nullptr;
  ChatRequest chat;
  int choices = 1;
  bool stream = false;
  bool include_usage = false;
  std::optional<SpokenSettings> spoken;  // the answer is sound, too
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

/// The members that an answer, or each chunk of it, has beside its choices.
Json chat_envelope(const ApiContext& context, const Exchange& exchange, const OpenAiChat& call);
Json chat_usage(const OpenAiChat& call, std::span<const ChatResult> results);

void openai_chat(ApiContext& context, Exchange& exchange);
void openai_models(ApiContext& context, Exchange& exchange);
/// GET /v1/models/NAME
void openai_model(ApiContext& context, Exchange& exchange);

}  // namespace minicpm::server

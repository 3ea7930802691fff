// Chat completions that are also spoken: "modalities" with "audio".
#pragma once

#include "server/openai_chat.h"

namespace minicpm::server {

/// "audio" of a request whose modalities ask for it; nothing where they do not. Throws ApiError 400, also for models
/// that do not speak and for settings that do not go with sound.
std::optional<SpokenSettings> read_spoken(const Fields& body, const ServedModel& model, MediaReader& media);

/// Puts the message that sets the voice into a conversation and asks for speech.
void ask_for_speech(ChatRequest& chat, const SpokenSettings& settings);

/// Answers, with what the answer says as sound: whole, or in chunks of text and of samples as they are made.
void speak_answer(ApiContext& context, Exchange& exchange, const OpenAiChat& call);

}  // namespace minicpm::server

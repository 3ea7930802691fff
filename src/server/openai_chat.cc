#include "server/openai_chat.h"

#include <utility>

#include "models/loaded_model.h"

namespace minicpm::server {
namespace {

Json usage_json(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details", {{"image_tokens", usage.image_tokens}, {"audio_tokens", usage.audio_tokens}}}};
}

/// Choices have one prompt, which counts once.
void add_usage(Usage& sum, const Usage& usage) {
  const int64_t completion = sum.completion_tokens;
  sum = usage;
  sum.completion_tokens += completion;
}

/// The request of choice `index`: equal seeds would give equal answers.
ChatRequest choice(const OpenAiChat& call, int index) {
  ChatRequest request = call.chat;
  request.sampling.seed += static_cast<uint64_t>(index);
  return request;
}

Json envelope(const ApiContext& context, const Exchange& exchange, const OpenAiChat& call) {
  return {{"id", answer_id("chatcmpl-", exchange)},
          {"object", call.stream ? "chat.completion.chunk" : "chat.completion"},
          {"created", unix_time()},
          {"model", call.model->name},
          {"system_fingerprint", "minicpm-" + context.version},
          {"choices", Json::array()}};
}

void answer_whole(ApiContext& context, Exchange& exchange, const OpenAiChat& call) {
  Json body = envelope(context, exchange, call);
  Usage usage;
  for (int i = 0; i < call.choices; ++i) {
    const ChatResult result = answer(context, exchange, *call.model, choice(call, i));
    Json message = {{"role", "assistant"}, {"content", result.text}, {"refusal", nullptr}};
    if (result.reasoning) message["reasoning_content"] = *result.reasoning;
    body["choices"].push_back({{"index", i},
                               {"message", std::move(message)},
                               {"logprobs", nullptr},
                               {"finish_reason", name(result.finish_reason)}});
    add_usage(usage, result.usage);
  }
  body["usage"] = usage_json(usage);
  send_json(exchange, body);
}

void answer_streamed(ApiContext& context, Exchange& exchange, const OpenAiChat& call) {
  PieceStream stream(exchange, kEventStream);
  Json chunk = envelope(context, exchange, call);
  const auto send = [&](int index, Json delta, const Json& finish) {
    chunk["choices"] = Json::array(
        {{{"index", index}, {"delta", std::move(delta)}, {"logprobs", nullptr}, {"finish_reason", finish}}});
    stream.event(chunk);
  };
  Usage usage;
  for (int i = 0; i < call.choices; ++i) {
    bool begun = false;
    const auto begin = [&] {
      if (!std::exchange(begun, true)) send(i, {{"role", "assistant"}, {"content", ""}}, nullptr);
    };
    const ChatResult result = answer(context, exchange, *call.model, choice(call, i), [&](const TextDelta& delta) {
      begin();
      send(i, {{delta.reasoning ? "reasoning_content" : "content", delta.text}}, nullptr);
    });
    begin();
    send(i, Json::object(), name(result.finish_reason));
    add_usage(usage, result.usage);
  }
  if (call.include_usage) {
    chunk["choices"] = Json::array();
    chunk["usage"] = usage_json(usage);
    stream.event(chunk);
  }
  stream.write("data: [DONE]\n\n");
  stream.end();
}

Json model_json(const ServedModel& model) {
  return {{"id", model.name}, {"object", "model"}, {"created", model.modified}, {"owned_by", "minicpm"}};
}

}  // namespace

void openai_chat(ApiContext& context, Exchange& exchange) {
  const Json json = parse_body(exchange.request().body);
  const Fields body(json);
  const ServedModel& model = context.models.find(body.string("model").value_or(""));
  MediaReader media(context.media, model, exchange.cancelled());
  const OpenAiChat call = read_openai_chat(body, model, media);
  call.stream ? answer_streamed(context, exchange, call) : answer_whole(context, exchange, call);
}

void openai_models(ApiContext& context, Exchange& exchange) {
  Json data = Json::array();
  for (const ServedModel& model : context.models.all())
    data.push_back(model_json(model));
  send_json(exchange, {{"object", "list"}, {"data", std::move(data)}});
}

void openai_model(ApiContext& context, Exchange& exchange) {
  const std::string name = exchange.request().path.substr(std::string_view("/v1/models/").size());
  send_json(exchange, model_json(context.models.find(name)));
}

}  // namespace minicpm::server

#include "server/openai_chat.h"

#include <span>
#include <utility>

#include "models/loaded_model.h"
#include "server/adapters.h"
#include "server/conversation.h"
#include "server/logprobs.h"
#include "server/spoken_chat.h"

namespace minicpm::server {

Json chat_usage(const OpenAiChat& call, std::span<const ChatResult> results) {
  const Usage& prompt = results.front().usage;  // choices have one prompt, which counts once
  int64_t completion = 0, reasoning = 0, drafted = 0, accepted = 0;
  for (const ChatResult& result : results) {
    completion += result.usage.completion_tokens;
    drafted += result.timings.drafted;
    accepted += result.timings.accepted;
    reasoning += reasoning_tokens(*call.model, call.chat, result);
  }
  Json details = {{"reasoning_tokens", reasoning}};
  if (drafted > 0) {
    details["accepted_prediction_tokens"] = accepted;
    details["rejected_prediction_tokens"] = drafted - accepted;
  }
  return {{"prompt_tokens", prompt.prompt_tokens},
          {"completion_tokens", completion},
          {"total_tokens", prompt.prompt_tokens + completion},
          {"prompt_tokens_details",
           {{"cached_tokens", prompt.cached_tokens},
            {"image_tokens", prompt.image_tokens},
            {"audio_tokens", prompt.audio_tokens}}},
          {"completion_tokens_details", std::move(details)}};
}

/// What took how long, in milliseconds, in llama.cpp's names; `image_ms` is of the pictures' way through their tower,
/// `preprocess_ms` of what came before it.
Json timings_json(const ChatResult& result) {
  const Timings& timings = result.timings;
  return {{"prompt_n", result.usage.prompt_tokens - result.usage.cached_tokens},
          {"prompt_ms", timings.prefill_ms},
          {"predicted_n", result.usage.completion_tokens},
          {"predicted_ms", timings.decode_ms},
          {"preprocess_ms", timings.preprocess_ms},
          {"image_ms", timings.vision_ms}};
}

Json chat_envelope(const ApiContext& context, const Exchange& exchange, const OpenAiChat& call) {
  return {{"id", answer_id("chatcmpl-", exchange)},
          {"object", call.stream ? "chat.completion.chunk" : "chat.completion"},
          {"created", unix_time()},
          {"model", call.model->name},
          {"system_fingerprint", "minicpm-" + context.version},
          {"choices", Json::array()}};
}

namespace {

std::string call_id(const Exchange& exchange, int choice, size_t call) {
  return fmt::format("{}_{}_{}", answer_id("call_", exchange), choice, call);
}

std::string_view finish_reason(const ChatResult& result) {
  if (result.finish_reason == FinishReason::kStop && !result.tool_calls.empty()) return "tool_calls";
  return name(result.finish_reason);
}

Json logprobs_json(Json list) {
  if (list.empty()) return nullptr;
  return {{"content", std::move(list)}, {"refusal", nullptr}};
}

Json message_json(const Exchange& exchange, const ChatResult& result, int choice) {
  Json message = {{"role", "assistant"}, {"content", result.text}, {"refusal", nullptr}};
  if (result.reasoning) message["reasoning_content"] = *result.reasoning;
  if (result.tool_calls.empty()) return message;
  if (result.text.empty()) message["content"] = nullptr;
  Json calls = Json::array();
  for (const ToolCall& call : result.tool_calls) {
    Json json = tool_call_json(call.name, call.arguments);
    json["id"] = call_id(exchange, choice, calls.size());
    calls.push_back(std::move(json));
  }
  message["tool_calls"] = std::move(calls);
  return message;
}

void answer_whole(ApiContext& context, Exchange& exchange, const OpenAiChat& call) {
  Json body = chat_envelope(context, exchange, call);
  const auto results = answers(context, exchange, *call.model, call.chat, call.choices);
  for (int i = 0; i < call.choices; ++i) {
    const ChatResult& result = results[static_cast<size_t>(i)];
    LogprobList logprobs(*call.model->model().tokenizer(), call.chat);
    body["choices"].push_back({{"index", i},
                               {"message", message_json(exchange, result, i)},
                               {"logprobs", logprobs_json(logprobs.add_rest(result))},
                               {"finish_reason", finish_reason(result)}});
  }
  body["usage"] = chat_usage(call, results);
  body["timings"] = timings_json(results.front());
  send_json(exchange, body);
}

/// The chunks of a streamed answer.
class Chunks {
 public:
  Chunks(ApiContext& context, Exchange& exchange, const OpenAiChat& call)
      : exchange_(exchange),
        call_(call),
        stream_(exchange, kEventStream),
        chunk_(chat_envelope(context, exchange, call)),
        begun_(static_cast<size_t>(call.choices), 0),
        logprobs_(static_cast<size_t>(call.choices), LogprobList(*call.model->model().tokenizer(), call.chat)) {}

  void piece(int choice, const TextDelta& delta) {
    begin(choice);
    send(choice, delta_json(choice, delta), logprobs_[static_cast<size_t>(choice)].add(delta.tokens, delta.logprobs));
  }

  void finish(std::span<const ChatResult> results) {
    for (int i = 0; i < call_.choices; ++i) {
      const ChatResult& result = results[static_cast<size_t>(i)];
      begin(i);
      send(i, Json::object(), logprobs_[static_cast<size_t>(i)].add_rest(result), finish_reason(result));
    }
    if (call_.include_usage) {
      chunk_["choices"] = Json::array();
      chunk_["usage"] = chat_usage(call_, results);
      chunk_["timings"] = timings_json(results.front());
      stream_.event(chunk_);
    }
    stream_.write("data: [DONE]\n\n");
    stream_.end();
  }

 private:
  void begin(int choice) {
    if (std::exchange(begun_[static_cast<size_t>(choice)], 1)) return;
    send(choice, {{"role", "assistant"}, {"content", ""}}, Json::array());
  }

  Json delta_json(int choice, const TextDelta& delta) const {
    if (!delta.call) return {{delta.reasoning ? "reasoning_content" : "content", delta.text}};
    Json call = {{"index", *delta.call}};
    if (!delta.name.empty()) {
      call.update(tool_call_json(delta.name, delta.text));
      call["id"] = call_id(exchange_, choice, static_cast<size_t>(*delta.call));
    } else {
      call["function"] = {{"arguments", delta.text}};
    }
    return {{"tool_calls", Json::array({std::move(call)})}};
  }

  void send(int choice, Json delta, Json logprobs, const Json& finish = nullptr) {
    chunk_["choices"] = Json::array({{{"index", choice},
                                      {"delta", std::move(delta)},
                                      {"logprobs", logprobs_json(std::move(logprobs))},
                                      {"finish_reason", finish}}});
    stream_.event(chunk_);
  }

  Exchange& exchange_;
  const OpenAiChat& call_;
  PieceStream stream_;
  Json chunk_;
  std::vector<char> begun_;  // of each choice
  std::vector<LogprobList> logprobs_;
};

void answer_streamed(ApiContext& context, Exchange& exchange, const OpenAiChat& call) {
  Chunks chunks(context, exchange, call);
  const auto results = answers(context, exchange, *call.model, call.chat, call.choices,
                               [&](int choice, const TextDelta& delta) { chunks.piece(choice, delta); });
  chunks.finish(results);
}

Json model_json(const ServedModel& model) {
  return {{"id", model.name}, {"object", "model"}, {"created", model.modified}, {"owned_by", "minicpm"}};
}

}  // namespace

void openai_chat(ApiContext& context, Exchange& exchange) {
  const Json json = parse_body(exchange.request().body);
  const Fields body(json);
  const ServedModel& model = find_adapted(context.models, body);
  MediaReader media(context.media, model, exchange.cancelled());
  const OpenAiChat call = read_openai_chat(body, model, media);
  if (call.spoken) return speak_answer(context, exchange, call);
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
  send_json(exchange, model_json(context.models.known(name)));
}

}  // namespace minicpm::server

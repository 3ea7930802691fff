#include "server/openapi.h"

#include <algorithm>
#include <initializer_list>
#include <string_view>

namespace minicpm::server {
namespace {

struct Field {
  std::string_view name, type, text;
  bool required = false;
};

enum class Body { kNone, kJson, kForm };
enum class Answer { kJson, kJsonOrEvents, kJsonOrLines, kText, kSound, kBytes, kWebSocket };

struct Operation {
  std::string_view method, path, tag, summary;
  Body body = Body::kNone;
  Answer answer = Answer::kJson;
  std::initializer_list<Field> fields = {};
};

constexpr bool kRequired = true;

constexpr Field kModel{"model", "string", "name of a model; default: the first"};
constexpr Field kLora{"lora", "string", "name of an adapter of that model: the same as MODEL:NAME in model"};
constexpr Field kNeededModel{"model", "string", "name of a model", kRequired};
constexpr Field kStream{"stream", "boolean", "send the answer piece by piece"};
constexpr Field kTemperature{"temperature", "number", "0: the likeliest token each time"};
constexpr Field kTopP{"top_p", "number", "sample from the likeliest tokens that have this share together"};
constexpr Field kTopK{"top_k", "integer", "sample from this many of the likeliest tokens"};
constexpr Field kMinP{"min_p", "number", "leave out tokens less likely than this share of the likeliest"};
constexpr Field kRepetition{"repetition_penalty", "number", "1: off"};
constexpr Field kPresence{"presence_penalty", "number",
                          "-2 to 2, taken off the logit of every token that was generated"};
constexpr Field kFrequency{"frequency_penalty", "number", "-2 to 2, taken off for each time"};
constexpr Field kLogitBias{"logit_bias", "object", "-100 to 100 by the token's id"};
constexpr Field kSeed{"seed", "integer", "equal seeds give equal draws"};
constexpr Field kStop{"stop", "", "a string or strings that end the answer"};
constexpr Field kChoices{"n", "integer", "answers, 1 to 8"};
constexpr Field kMaxTokens{"max_tokens", "integer", "longest answer"};
constexpr Field kStreamOptions{"stream_options", "object", "include_usage: a last chunk with the usage"};
constexpr Field kTools{"tools", "array", "functions that the model may call"};
constexpr Field kOptions{"options", "object",
                         "temperature, top_p, top_k, min_p, repeat_penalty, presence_penalty, frequency_penalty, seed, "
                         "num_predict, stop"};
constexpr Field kDimensions{"dimensions", "integer", "keep this many numbers of each vector"};
constexpr Field kFormat{"format", "", "json, or a JSON schema that the answer satisfies"};
constexpr Field kThink{"think", "boolean", "reason before the answer"};

const Operation kOperations[] = {
    {"GET", "/", "server", "Says that the server runs", Body::kNone, Answer::kText},
    {"GET", "/page/{name}", "server", "Scripts that the web page loads when it needs them", Body::kNone, Answer::kText},
    {"GET", "/health", "server", "Whether the server answers"},
    {"GET", "/metrics", "server", "Counters in the text format of Prometheus", Body::kNone, Answer::kText},
    {"GET", "/openapi.json", "server", "This document"},
    {"GET", "/props", "server", "What the models can and their defaults"},
    {"GET", "/v1/realtime", "OpenAI", "A live session over a WebSocket; the query names the model", Body::kNone,
     Answer::kWebSocket},
    {"POST",
     "/v1/chat/completions",
     "OpenAI",
     "Answers a conversation",
     Body::kJson,
     Answer::kJsonOrEvents,
     {kModel,
      kLora,
      {"messages", "array", "the conversation: text, pictures, sound, videos, results of calls", kRequired},
      kStream,
      kStreamOptions,
      kMaxTokens,
      {"max_completion_tokens", "integer", "longest answer"},
      kTemperature,
      kTopP,
      kTopK,
      kMinP,
      kRepetition,
      kPresence,
      kFrequency,
      kLogitBias,
      kSeed,
      kStop,
      kChoices,
      {"logprobs", "boolean", "log probabilities of the answer's tokens"},
      {"top_logprobs", "integer", "and of this many of the likeliest, up to 20"},
      {"response_format", "object", "text, json_object, or json_schema with a schema that the answer satisfies"},
      kTools,
      {"tool_choice", "", "none, auto, required, or an object that names a function"},
      {"parallel_tool_calls", "boolean", "false: one call at most"},
      {"enable_thinking", "boolean", "reason before the answer"},
      {"reasoning_effort", "string", "none, minimal: no reasoning; low to xhigh: reasoning"},
      {"num_beams", "integer", "beam search with 1 to 8 beams"},
      {"min_tokens", "integer", "shortest answer"},
      {"modalities", "array", "text, or text and audio from models that speak"},
      {"audio", "object", "of answers that are sound: voice, format"},
      {"max_slices", "integer", "most slices of a picture"}}},
    {"POST",
     "/v1/completions",
     "OpenAI",
     "Goes on with a text, without a chat template",
     Body::kJson,
     Answer::kJsonOrEvents,
     {kModel,
      kLora,
      {"prompt", "", "a string, strings, ids of tokens, or lists of them", kRequired},
      kMaxTokens,
      {"min_tokens", "integer", "shortest answer"},
      kTemperature,
      kTopP,
      kTopK,
      kMinP,
      kRepetition,
      kPresence,
      kFrequency,
      kLogitBias,
      {"logprobs", "integer", "of each token and of this many of the likeliest, up to 5"},
      {"echo", "boolean", "begin the answer with the prompt"},
      kStop,
      kChoices,
      kSeed,
      kStream,
      kStreamOptions}},
    {"POST",
     "/v1/responses",
     "OpenAI",
     "Answers a conversation of items, and keeps the answer",
     Body::kJson,
     Answer::kJsonOrEvents,
     {kModel,
      {"input", "", "a string, or items: messages, function_call, function_call_output, reasoning", kRequired},
      {"previous_response_id", "string", "a response that this one goes on from"},
      {"store", "boolean", "false: the response is not kept"},
      {"instructions", "string", "what the model is told first"},
      kStream,
      {"max_output_tokens", "integer", "longest answer"},
      kTemperature,
      kTopP,
      kTools,
      {"tool_choice", "", "none, auto, required, or an object that names a function"},
      {"parallel_tool_calls", "boolean", "false: one call at most"},
      {"reasoning", "object", "effort: none, minimal: no reasoning; low to xhigh: reasoning"},
      {"text", "object", "format: text, json_object, or json_schema"}}},
    {"POST",
     "/v1/embeddings",
     "OpenAI",
     "Texts to vectors",
     Body::kJson,
     Answer::kJson,
     {kModel,
      {"input", "", "a string, strings, ids of tokens, or lists of them", kRequired},
      {"encoding_format", "string", "float, or base64 of f32"},
      kDimensions}},
    {"GET", "/v1/responses/{id}", "OpenAI", "A response that was kept"},
    {"DELETE", "/v1/responses/{id}", "OpenAI", "Forgets a response"},
    {"GET", "/v1/responses/{id}/input_items", "OpenAI", "What a response was made from; limit, order, after"},
    {"POST", "/v1/responses/{id}/cancel", "OpenAI", "Refused: nothing is answered in the background"},
    {"POST",
     "/v1/files",
     "OpenAI",
     "Leaves a file with the server",
     Body::kForm,
     Answer::kJson,
     {{"file", "string", "the file", kRequired}, {"purpose", "string", "batch, or what else it is for", kRequired}}},
    {"GET", "/v1/files", "OpenAI", "The files; purpose, limit, after, order"},
    {"GET", "/v1/files/{id}", "OpenAI", "Facts of a file"},
    {"DELETE", "/v1/files/{id}", "OpenAI", "Deletes a file"},
    {"GET", "/v1/files/{id}/content", "OpenAI", "The content of a file", Body::kNone, Answer::kBytes},
    {"POST",
     "/v1/batches",
     "OpenAI",
     "Answers the requests of a file when there is time",
     Body::kJson,
     Answer::kJson,
     {{"input_file_id", "string", "a file of requests, one a line", kRequired},
      {"endpoint", "string", "the address of all of them", kRequired},
      {"completion_window", "string", "24h"},
      {"metadata", "object", "comes back with the batch"}}},
    {"GET", "/v1/batches", "OpenAI", "The batches; limit, after, order"},
    {"GET", "/v1/batches/{id}", "OpenAI", "How far a batch is"},
    {"POST", "/v1/batches/{id}/cancel", "OpenAI", "Ends a batch; what is answered is kept"},
    {"GET", "/v1/models", "OpenAI", "The models of this server"},
    {"GET", "/v1/models/{name}", "OpenAI", "One model"},
    {"POST",
     "/v1/audio/transcriptions",
     "OpenAI",
     "What is said in a sound file",
     Body::kForm,
     Answer::kJson,
     {{"file", "string", "sound file", kRequired},
      kModel,
      {"language", "string", "en or zh"},
      {"prompt", "string", "takes the place of the instruction"},
      {"response_format", "string", "json, text, srt, vtt or verbose_json"}}},
    {"POST",
     "/v1/audio/speech",
     "OpenAI",
     "Reads a text aloud",
     Body::kJson,
     Answer::kSound,
     {kModel,
      {"input", "string", "the text", kRequired},
      {"voice", "", "default, female, male, or an object with a clip to imitate: data in base64"},
      {"instructions", "string", "the voice in words"},
      {"response_format", "string", "mp3, wav, flac, opus, aac, ogg or pcm"},
      kSeed,
      {"language", "string", "of the instructions: en or zh"}}},
    {"POST",
     "/v1/messages",
     "Anthropic",
     "Answers a conversation",
     Body::kJson,
     Answer::kJsonOrEvents,
     {kNeededModel,
      {"messages", "array", "text, pictures, calls and their results", kRequired},
      {"max_tokens", "integer", "longest answer", kRequired},
      {"system", "", "instructions: a string or blocks of text"},
      kStream,
      kTemperature,
      kTopP,
      kTopK,
      {"stop_sequences", "array", "strings that end the answer"},
      {"thinking", "object", "type: enabled, adaptive or disabled"},
      kTools,
      {"tool_choice", "object", "type: auto, any, tool or none"},
      {"output_config", "object", "format: a JSON schema that the answer satisfies"}}},
    {"POST",
     "/v1/messages/count_tokens",
     "Anthropic",
     "The length of a prompt",
     Body::kJson,
     Answer::kJson,
     {kNeededModel, {"messages", "array", "as in /v1/messages", kRequired}, {"system", "", "instructions"}, kTools}},
    {"POST",
     "/api/chat",
     "Ollama",
     "Answers a conversation",
     Body::kJson,
     Answer::kJsonOrLines,
     {kNeededModel,
      {"messages", "array", "role, content, images, tool_calls"},
      kStream,
      kOptions,
      kThink,
      kFormat,
      kTools,
      {"logprobs", "boolean", "log probabilities of the answer's tokens"},
      {"top_logprobs", "integer", "and of this many of the likeliest, up to 20"}}},
    {"POST",
     "/api/generate",
     "Ollama",
     "Answers a prompt",
     Body::kJson,
     Answer::kJsonOrLines,
     {kNeededModel,
      {"prompt", "string", "the question"},
      {"images", "array", "pictures in base64"},
      {"system", "string", "instructions"},
      kStream,
      kOptions,
      kThink,
      kFormat,
      {"logprobs", "boolean", "log probabilities of the answer's tokens"},
      {"top_logprobs", "integer", "and of this many of the likeliest, up to 20"}}},
    {"POST",
     "/api/embed",
     "Ollama",
     "Texts to vectors",
     Body::kJson,
     Answer::kJson,
     {kNeededModel,
      {"input", "", "a string or strings", kRequired},
      {"truncate", "boolean", "false: a text that is too long is refused"},
      kDimensions}},
    {"POST",
     "/api/embeddings",
     "Ollama",
     "A text to a vector",
     Body::kJson,
     Answer::kJson,
     {kNeededModel, {"prompt", "string", "the text", kRequired}}},
    {"POST", "/api/show", "Ollama", "Facts of one model", Body::kJson, Answer::kJson, {kNeededModel}},
    {"POST",
     "/api/pull",
     "Ollama",
     "Fetches a model from the hub, where that is allowed",
     Body::kJson,
     Answer::kJsonOrLines,
     {{"model", "string", "ORG/NAME, ORG/NAME@REVISION or ORG/NAME:FORMAT", kRequired}, kStream}},
    {"DELETE",
     "/api/delete",
     "Ollama",
     "Deletes a model of the store, where that is allowed",
     Body::kJson,
     Answer::kJson,
     {kNeededModel}},
    {"POST", "/api/copy", "Ollama", "Refused", Body::kJson},
    {"POST", "/api/create", "Ollama", "Refused", Body::kJson},
    {"POST", "/api/push", "Ollama", "Refused", Body::kJson},
    {"GET", "/api/tags", "Ollama", "The models of this server"},
    {"GET", "/api/ps", "Ollama", "The models that are loaded"},
    {"GET", "/api/version", "Ollama", "The version of the program"},
    {"GET", "/v1/sessions", "minicpm", "The computed prompts that this client keeps"},
    {"POST",
     "/v1/sessions/{id}",
     "minicpm",
     "Computes a prompt if need be, and keeps it on disk",
     Body::kJson,
     Answer::kJson,
     {kModel, kLora, {"messages", "array", "as in /v1/chat/completions, whose other fields count, too", kRequired}}},
    {"DELETE", "/v1/sessions/{id}", "minicpm", "Deletes a session"},
    {"POST",
     "/v1/sessions/{id}/restore",
     "minicpm",
     "Takes a session up again, so that prompts that begin like it need not be computed",
     Body::kJson,
     Answer::kJson,
     {kModel, kLora}},
    {"GET", "/lora-adapters", "llama.cpp", "The adapters that are served"},
    {"POST",
     "/v1/load_lora_adapter",
     "vLLM",
     "Serves an adapter from the server's folder of adapters, where that is allowed",
     Body::kJson,
     Answer::kText,
     {{"lora_name", "string", "MODEL:NAME is what requests call it", kRequired},
      {"lora_path", "string", "its folder in the server's folder of adapters", kRequired},
      {"load_inplace", "boolean", "take the place of the adapter of that name"}}},
    {"POST",
     "/v1/unload_lora_adapter",
     "vLLM",
     "Forgets an adapter that a request loaded",
     Body::kJson,
     Answer::kText,
     {{"lora_name", "string", "its name", kRequired}}},
    {"POST",
     "/tokenize",
     "llama.cpp",
     "Text to ids",
     Body::kJson,
     Answer::kJson,
     {kModel,
      {"content", "string", "the text", kRequired},
      {"parse_special", "boolean", "special tokens in it count; default: true"},
      {"with_pieces", "boolean", "give each token's text, too"}}},
    {"POST",
     "/detokenize",
     "llama.cpp",
     "Ids to text",
     Body::kJson,
     Answer::kJson,
     {kModel, {"tokens", "array", "ids", kRequired}}},
    {"POST",
     "/apply-template",
     "llama.cpp",
     "The prompt of a conversation",
     Body::kJson,
     Answer::kJson,
     {kModel, {"messages", "array", "as in /v1/chat/completions", kRequired}, kTools}},
};

Json schema_of(const Operation& operation) {
  Json properties = Json::object(), required = Json::array();
  for (const Field& field : operation.fields) {
    Json property = {{"description", field.text}};
    if (!field.type.empty()) property["type"] = field.type;
    if (field.name == "file") property["format"] = "binary";
    properties[std::string(field.name)] = std::move(property);
    if (field.required) required.push_back(field.name);
  }
  Json schema = {{"type", "object"}, {"properties", std::move(properties)}};
  if (!required.empty()) schema["required"] = std::move(required);
  return schema;
}

Json content_of(Answer answer) {
  const Json object = {{"schema", {{"type", "object"}}}}, text = {{"schema", {{"type", "string"}}}};
  switch (answer) {
    case Answer::kText:
      return {{"text/plain", text}};
    case Answer::kSound:
      return {{"audio/*", {{"schema", {{"type", "string"}, {"contentEncoding", "binary"}}}}}};
    case Answer::kBytes:
      return {{"application/octet-stream", {{"schema", {{"type", "string"}, {"contentEncoding", "binary"}}}}}};
    case Answer::kJsonOrEvents:
      return {{"application/json", object}, {"text/event-stream", text}};
    case Answer::kJsonOrLines:
      return {{"application/json", object}, {"application/x-ndjson", text}};
    case Answer::kJson:
    case Answer::kWebSocket:
      break;
  }
  return {{"application/json", object}};
}

/// "POST" as "post".
std::string method_key(const Operation& operation) {
  std::string key(operation.method);
  std::ranges::transform(key, key.begin(), [](char c) { return static_cast<char>(c - 'A' + 'a'); });
  return key;
}

/// "post /v1/chat/completions" as "post_v1_chat_completions".
std::string operation_id(const Operation& operation) {
  std::string id = method_key(operation);
  for (const char c : operation.path)
    id += (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '_';
  return id;
}

Json operation_json(const Operation& operation) {
  Json json = {{"operationId", operation_id(operation)},
               {"tags", Json::array({operation.tag})},
               {"summary", operation.summary},
               {"responses", {{"default", {{"$ref", "#/components/responses/Error"}}}}}};
  if (operation.answer == Answer::kWebSocket) {
    json["responses"]["101"] = {{"description", "The connection is a WebSocket from here on"}};
  } else {
    json["responses"]["200"] = {{"description", "The answer"}, {"content", content_of(operation.answer)}};
  }
  if (const size_t brace = operation.path.find('{'); brace != std::string_view::npos) {
    const auto name = operation.path.substr(brace + 1, operation.path.find('}') - brace - 1);
    json["parameters"] =
        Json::array({{{"name", name}, {"in", "path"}, {"required", true}, {"schema", {{"type", "string"}}}}});
  }
  const bool open = operation.path == "/" || operation.path == "/health" || operation.path.starts_with("/page/");
  if (open) json["security"] = Json::array();
  if (operation.body == Body::kNone) return json;
  const char* type = operation.body == Body::kForm ? "multipart/form-data" : "application/json";
  json["requestBody"] = {{"required", true}, {"content", {{type, {{"schema", schema_of(operation)}}}}}};
  return json;
}

}  // namespace

Json openapi_document(const std::string& version) {
  Json paths = Json::object();
  for (const Operation& operation : kOperations) {
    paths[std::string(operation.path)][method_key(operation)] = operation_json(operation);
  }
  const Json error = {{"description", "What is wrong, in the shape of the API that was asked"},
                      {"content", {{"application/json", {{"schema", {{"type", "object"}}}}}}}};
  return {{"openapi", "3.1.0"},
          {"info", {{"title", "minicpm"}, {"version", version}}},
          {"security", Json::array({{{"bearer", Json::array()}}, {{"key", Json::array()}}, Json::object()})},
          {"paths", std::move(paths)},
          {"components",
           {{"responses", {{"Error", error}}},
            {"securitySchemes",
             {{"bearer", {{"type", "http"}, {"scheme", "bearer"}}},
              {"key", {{"type", "apiKey"}, {"in", "header"}, {"name", "x-api-key"}}}}}}}};
}

void openapi(ApiContext& context, Exchange& exchange) {
  send_json(exchange, openapi_document(context.version));
}

}  // namespace minicpm::server

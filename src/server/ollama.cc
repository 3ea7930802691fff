#include "server/ollama.h"

#include <openssl/sha.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>

#include "models/loaded_model.h"
#include "server/conversation.h"
#include "server/logprobs.h"
#include "text/tool_calls.h"

namespace minicpm::server {
namespace {

/// What /api/chat and /api/generate share.
struct OllamaCall {
  const ServedModel* model = nullptr;
  ChatRequest chat;
  bool stream = true;
  bool unload = false;
};

/// "5m", "1h30m", "300s", "500ms": numbers with units, one behind the other.
std::optional<double> duration_seconds(const std::string& text) {
  constexpr std::pair<std::string_view, double> kUnits[] = {{"ms", 1e-3}, {"h", 3600}, {"m", 60}, {"s", 1}};
  double seconds = 0;
  for (std::string_view rest = text; !rest.empty();) {
    double number = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    if (error != std::errc()) return std::nullopt;
    rest.remove_prefix(static_cast<size_t>(end - rest.data()));
    const auto unit = std::ranges::find_if(kUnits, [&](const auto& row) { return rest.starts_with(row.first); });
    if (unit == std::end(kUnits)) return std::nullopt;
    seconds += number * unit->second;
    rest.remove_prefix(unit->first.size());
  }
  return text.empty() ? std::nullopt : std::optional(seconds);
}

std::optional<bool> read_think(const Fields& body) {
  const Json* think = body.find("think");
  if (think == nullptr) return std::nullopt;
  if (think->is_boolean()) return think->get<bool>();
  if (*think == "low" || *think == "medium" || *think == "high") return true;
  bad_field(body.path("think"), "must be true, false, low, medium or high");
}

void read_options(const Fields& body, ChatRequest& chat) {
  const Json none = Json::object();
  const Fields options = body.object("options").value_or(Fields(none, "options"));
  check_fields(options,
               {{"temperature", "top_p", "top_k", "min_p", "repeat_penalty", "presence_penalty", "frequency_penalty",
                 "seed", "num_predict", "stop"},
                {"num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "use_mmap", "use_mlock", "low_vram",
                 "num_keep", "repeat_last_n", "numa", "f16_kv", "vocab_only", "logits_all", "penalize_newline"},
                {"mirostat", "mirostat_tau", "mirostat_eta", "tfs_z", "typical_p", "embedding_only"}});
  read_sampling(options, chat.sampling);
  // -1 and -2 stand for "as many as fit".
  if (const auto value = options.integer("num_predict", -2, kMaxCount)) {
    if (*value == 0) bad_field(options.path("num_predict"), "must not be 0");
    chat.sampling.max_tokens = static_cast<int>(*value < 0 ? kMaxCount : *value);
  }
  chat.stop = read_stops(options, "stop");
}

/// "json", or a schema.
std::optional<Json> read_format(const Fields& body) {
  const Json* format = body.find("format");
  if (format == nullptr || *format == "") return std::nullopt;
  if (*format == "json") return Json{{"type", "object"}};
  if (!format->is_object()) bad_field(body.path("format"), "must be json or a JSON schema");
  return *format;
}

void read_call(const Fields& body, OllamaCall& call) {
  call.stream = body.boolean("stream").value_or(true);
  call.chat.thinking = read_think(body).value_or(false);
  call.chat.sampling = call.model->engine->default_sampling(call.chat.thinking, true);
  read_options(body, call.chat);
  call.chat.json_schema = read_format(body);
  const auto top = body.integer("top_logprobs", 0, 20);
  if (body.boolean("logprobs").value_or(false)) call.chat.sampling.top_logprobs = static_cast<int>(top.value_or(0));
}

void add_pictures(const Fields& holder, MediaReader& media, std::vector<ContentPart>& content) {
  const std::vector<std::string> images = holder.strings("images");
  for (size_t i = 0; i < images.size(); ++i) {
    const std::string path = fmt::format("{}[{}]", holder.path("images"), i);
    const bool url = images[i].starts_with("data:") || images[i].starts_with("http:") ||
                     images[i].starts_with("https:") || images[i].starts_with("file:");
    content.push_back(media.picture(url ? media.from_url(images[i], path) : media.from_base64(images[i], path), path));
  }
}

/// [{"function": {"name", "arguments": OBJECT}}, ...]
Json read_calls(const Fields& message) {
  const Json* list = message.array("tool_calls");
  if (list == nullptr || list->empty()) return nullptr;
  Json calls = Json::array();
  for (size_t i = 0; i < list->size(); ++i) {
    const Fields call((*list)[i], fmt::format("{}[{}]", message.path("tool_calls"), i));
    check_fields(call, {{"function"}, {"id", "type"}, {}});
    call.require("function");
    const Fields function = *call.object("function");
    check_fields(function, {{"name", "arguments"}, {"index", "description"}, {}});
    const std::string name = function.required_string("name");
    if (!is_tool_name(name)) bad_field(function.path("name"), "is not the name of a tool");
    function.require("arguments");
    calls.push_back(tool_call_json(name, function.object("arguments")->json()));
  }
  return calls;
}

std::vector<Message> read_messages(const Fields& body, MediaReader& media) {
  Conversation conversation;
  const Json& list = *body.array("messages");
  for (size_t i = 0; i < list.size(); ++i) {
    const Fields field(list[i], fmt::format("{}[{}]", body.path("messages"), i));
    check_fields(field,
                 {{"role", "content", "images", "thinking", "tool_calls"}, {"name", "tool_name", "tool_call_id"}, {}});
    Message message{field.required_string("role"), {}, field.string("thinking")};
    add_pictures(field, media, message.content);
    const auto text = field.string("content");
    if (text && (!text->empty() || message.content.empty())) message.content.push_back(ContentPart::from_text(*text));
    if (message.role == "assistant") message.tool_calls = read_calls(field);
    conversation.add(std::move(message), field.path());
  }
  return conversation.take();
}

int64_t nanoseconds(double milliseconds) {
  return static_cast<int64_t>(milliseconds * 1e6);
}

Json line_of(const OllamaCall& call) {
  return {{"model", call.model->name}, {"created_at", utc_time()}};
}

void add_end(Json& line, const ChatResult& result) {
  const Timings& t = result.timings;
  line["done"] = true;
  line["done_reason"] = name(result.finish_reason);
  line["total_duration"] = nanoseconds(t.preprocess_ms + t.vision_ms + t.prefill_ms + t.decode_ms);
  line["load_duration"] = 0;
  line["prompt_eval_count"] = result.usage.prompt_tokens;
  line["prompt_eval_duration"] = nanoseconds(t.preprocess_ms + t.vision_ms + t.prefill_ms);
  line["eval_count"] = result.usage.completion_tokens;
  line["eval_duration"] = nanoseconds(t.decode_ms);
}

/// Puts text and reasoning where the endpoint has them.
using Place = void (*)(Json& line, std::string text, std::optional<std::string> reasoning);

void place_message(Json& line, std::string text, std::optional<std::string> reasoning) {
  line["message"] = {{"role", "assistant"}, {"content", std::move(text)}};
  if (reasoning) line["message"]["thinking"] = std::move(*reasoning);
}

void place_response(Json& line, std::string text, std::optional<std::string> reasoning) {
  line["response"] = std::move(text);
  if (reasoning) line["thinking"] = std::move(*reasoning);
}

/// Calls that are whole, with their arguments as objects.
Json calls_json(const ChatResult& result) {
  Json calls = Json::array();
  for (const ToolCall& call : result.tool_calls) {
    if (!call.complete) continue;
    const int index = static_cast<int>(calls.size());
    calls.push_back(
        {{"function", {{"index", index}, {"name", call.name}, {"arguments", parse_json(call.arguments, "call")}}}});
  }
  return calls;
}

void add_logprobs(Json& line, Json list) {
  if (!list.empty()) line["logprobs"] = std::move(list);
}

void reply_whole(ApiContext& context, Exchange& exchange, const OllamaCall& call, Place place) {
  const ChatResult result = answer(context, exchange, *call.model, call.chat);
  Json line = line_of(call);
  place(line, result.text, result.reasoning);
  if (Json calls = calls_json(result); !calls.empty()) line["message"]["tool_calls"] = std::move(calls);
  add_logprobs(line, LogprobList(*call.model->model().tokenizer(), call.chat).add_rest(result));
  add_end(line, result);
  send_json(exchange, line);
}

void reply(ApiContext& context, Exchange& exchange, const OllamaCall& call, Place place) {
  if (!call.stream) return reply_whole(context, exchange, call, place);
  PieceStream stream(exchange, kJsonLines);
  LogprobList logprobs(*call.model->model().tokenizer(), call.chat);
  const ChatResult result = answer(context, exchange, *call.model, call.chat, [&](const TextDelta& delta) {
    Json list = logprobs.add(delta.tokens, delta.logprobs);
    if (delta.call && list.empty()) return;  // calls are sent when they are whole
    Json line = line_of(call);
    const std::string text = delta.call ? "" : delta.text;
    delta.reasoning ? place(line, "", text) : place(line, text, std::nullopt);
    add_logprobs(line, std::move(list));
    line["done"] = false;
    stream.line(line);
  });
  if (Json calls = calls_json(result); !calls.empty()) {
    Json line = line_of(call);
    place(line, "", std::nullopt);
    line["message"]["tool_calls"] = std::move(calls);
    line["done"] = false;
    stream.line(line);
  }
  Json line = line_of(call);
  place(line, "", std::nullopt);
  add_logprobs(line, logprobs.add_rest(result));
  add_end(line, result);
  stream.line(line);
  stream.end();
}

/// The client wants the model to be ready, or gone (keep_alive 0).
void reply_without_question(Exchange& exchange, const OllamaCall& call, Place place) {
  Json line = line_of(call);
  place(line, "", std::nullopt);
  line["done"] = true;
  line["done_reason"] = call.unload ? "unload" : "load";
  send_json(exchange, line);
}

Json details(const ServedModel& model) {
  return {{"parent_model", ""},     {"format", model.gguf ? "gguf" : "safetensors"},
          {"family", model.family}, {"families", {model.family}},
          {"parameter_size", ""},   {"quantization_level", ""}};
}

/// Tools take it for the name of a content; ours names the model's name, size and time.
std::string digest(const ServedModel& model) {
  const std::string text = fmt::format("{}\n{}\n{}", model.name, model.bytes, model.modified);
  unsigned char hash[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), hash);
  std::string hex;
  for (const unsigned char byte : hash)
    hex += fmt::format("{:02x}", byte);
  return hex;
}

Json list_row(const ServedModel& model) {
  return {{"name", model.name},  {"model", model.name},     {"modified_at", utc_time(model.modified)},
          {"size", model.bytes}, {"digest", digest(model)}, {"details", details(model)}};
}

}  // namespace

bool read_keep_alive(const ApiContext& context, const Fields& body, const ServedModel& model) {
  const Json* value = body.find("keep_alive");
  if (value == nullptr || !model.on_demand) return false;
  constexpr double kLongest = 1e9;  // 30 years; what is longer stays for good
  std::optional<double> seconds;
  if (value->is_number()) seconds = value->get<double>();
  if (value->is_string()) {
    const std::string text = value->get<std::string>();
    seconds = text.starts_with('-') ? -1 : duration_seconds(text);
  }
  if (!seconds || !std::isfinite(*seconds)) bad_field(body.path("keep_alive"), "must be seconds, or a text such as 5m");
  const bool forever = *seconds < 0 || *seconds > kLongest;
  context.models.pool().set_keep_alive(
      model, forever ? std::nullopt : std::optional(std::chrono::milliseconds(static_cast<int64_t>(*seconds * 1000))));
  return *seconds == 0;
}

void ollama_chat(ApiContext& context, Exchange& exchange) {
  const Json json = parse_body(exchange.request().body);
  const Fields body(json);
  check_fields(body,
               {{"model", "messages", "stream", "options", "think", "format", "tools", "logprobs", "top_logprobs"},
                {"keep_alive"},
                {}});
  OllamaCall call;
  call.model = &context.models.find(body.required_string("model"));
  call.unload = read_keep_alive(context, body, *call.model);
  read_call(body, call);
  if (Json tools = read_tools(body); !tools.empty()) call.chat.tools = ToolUse{std::move(tools)};
  const Json* messages = body.array("messages");
  if (messages == nullptr || messages->empty()) return reply_without_question(exchange, call, place_message);
  MediaReader media(context.media, *call.model, exchange.cancelled());
  call.chat.messages = read_messages(body, media);
  reply(context, exchange, call, place_message);
}

void ollama_generate(ApiContext& context, Exchange& exchange) {
  const Json json = parse_body(exchange.request().body);
  const Fields body(json);
  check_fields(body, {{"model", "prompt", "images", "system", "stream", "options", "think", "format", "logprobs",
                       "top_logprobs"},
                      {"keep_alive"},
                      {"suffix", "template", "raw", "context"}});
  OllamaCall call;
  call.model = &context.models.find(body.required_string("model"));
  call.unload = read_keep_alive(context, body, *call.model);
  read_call(body, call);
  const std::string prompt = body.string("prompt").value_or("");
  MediaReader media(context.media, *call.model, exchange.cancelled());
  Message question{"user", {}};
  add_pictures(body, media, question.content);
  if (prompt.empty() && question.content.empty()) return reply_without_question(exchange, call, place_response);
  if (!prompt.empty()) question.content.push_back(ContentPart::from_text(prompt));
  if (const auto system = body.string("system"); system && !system->empty()) {
    call.chat.messages.push_back({"system", {ContentPart::from_text(*system)}});
  }
  call.chat.messages.push_back(std::move(question));
  reply(context, exchange, call, place_response);
}

void ollama_show(ApiContext& context, Exchange& exchange) {
  const Json json = parse_body(exchange.request().body);
  const Fields body(json);
  check_fields(body, {{"model", "name"}, {"verbose", "system", "template", "options"}, {}});
  const auto name = body.string("model");
  const ServedModel& model = context.models.known(name ? *name : body.required_string("name"));
  Json capabilities = Json::array({"completion"}), info = {{"general.architecture", model.family}};
  if (model.config != nullptr) {
    const ModelConfig& config = *model.config;
    const DecoderConfig& decoder = config.decoder;
    if (config.has_vision()) capabilities.push_back("vision");
    if (has_tools(config.version->chat)) capabilities.push_back("tools");
    if (config.version->thinking) capabilities.push_back("thinking");
    if (config.has_audio()) capabilities.push_back("audio");
    info["general.name"] = config.version->title;
    info[model.family + ".context_length"] = decoder.max_positions;
    info[model.family + ".embedding_length"] = decoder.hidden_size;
    info[model.family + ".block_count"] = decoder.num_layers;
  }
  send_json(exchange, {{"license", ""},
                       {"modelfile", ""},
                       {"parameters", ""},
                       {"template", ""},
                       {"details", details(model)},
                       {"model_info", std::move(info)},
                       {"capabilities", std::move(capabilities)},
                       {"modified_at", utc_time(model.modified)}});
}

void ollama_tags(ApiContext& context, Exchange& exchange) {
  Json models = Json::array();
  for (const ServedModel& model : context.models.all())
    models.push_back(list_row(model));
  send_json(exchange, {{"models", std::move(models)}});
}

void ollama_ps(ApiContext& context, Exchange& exchange) {
  Json models = Json::array();
  for (const ServedModel& model : context.models.all()) {
    if (!context.models.pool().loaded(model)) continue;
    Json row = list_row(model);
    const auto expires = context.models.pool().expires(model);
    const auto since_1970 = expires.value_or(std::chrono::system_clock::time_point()).time_since_epoch();
    row["expires_at"] = expires ? utc_time(std::chrono::duration_cast<std::chrono::seconds>(since_1970).count())
                                : "2318-01-01T00:00:00Z";  // as long as the server
    row["size_vram"] = 0;
    models.push_back(std::move(row));
  }
  send_json(exchange, {{"models", std::move(models)}});
}

void ollama_version(ApiContext& context, Exchange& exchange) {
  send_json(exchange, {{"version", context.version}});
}

}  // namespace minicpm::server

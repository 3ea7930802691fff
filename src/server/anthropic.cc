#include "server/anthropic.h"

#include <algorithm>
#include <utility>

#include "models/loaded_model.h"

namespace minicpm::server {
namespace {

constexpr size_t kMaxMessages = 4096;

struct Call {
  const ServedModel* model = nullptr;
  ChatRequest chat;
  bool stream = false;
};

ContentPart read_image(const Fields& block, MediaReader& media) {
  block.require("source");
  const Fields source = *block.object("source");
  const std::string type = source.required_string("type");
  if (type == "url") {
    bad_field(source.path("url"), "this server fetches no URLs; send the file itself as base64");
  }
  if (type != "base64") bad_field(source.path("type"), "must be base64");
  check_fields(source, {{"type", "data"}, {"media_type"}, {}});
  const std::string path = source.path("data");
  return media.picture(media.from_base64(source.required_string("data"), path), path);
}

/// A string, or blocks of text and pictures.
std::vector<ContentPart> read_content(const Fields& holder, std::string_view key, MediaReader& media) {
  const Json& content = *holder.find(key);
  if (content.is_string()) return {ContentPart::from_text(content.get<std::string>())};
  if (!content.is_array()) {
    bad_field(holder.path(key), "must be a string or an array of blocks, found {}", content.type_name());
  }
  std::vector<ContentPart> parts;
  for (size_t i = 0; i < content.size(); ++i) {
    const Fields block(content[i], fmt::format("{}[{}]", holder.path(key), i));
    const std::string type = block.required_string("type");
    if (type == "text") {
      check_fields(block, {{"type", "text"}, {"cache_control", "citations"}, {}});
      parts.push_back(ContentPart::from_text(block.required_string("text")));
    } else if (type == "image") {
      check_fields(block, {{"type", "source"}, {"cache_control"}, {}});
      parts.push_back(read_image(block, media));
    } else if (type != "thinking" && type != "redacted_thinking") {  // earlier reasoning is not shown to the model
      bad_field(block.path("type"), "\"{}\" is not known; known are text, image and thinking", type.substr(0, 100));
    }
  }
  return parts;
}

std::vector<Message> read_messages(const Fields& body, MediaReader& media) {
  std::vector<Message> messages;
  if (body.has("system")) messages.push_back({"system", read_content(body, "system", media)});
  body.require("messages");
  const Json& list = *body.array("messages");
  if (list.empty()) bad_field(body.path("messages"), "is empty");
  if (list.size() > kMaxMessages) bad_field(body.path("messages"), "has more than {} messages", kMaxMessages);
  for (size_t i = 0; i < list.size(); ++i) {
    const Fields message(list[i], fmt::format("{}[{}]", body.path("messages"), i));
    check_fields(message, {{"role", "content"}, {}, {}});
    std::string role = message.required_string("role");
    if (role != "user" && role != "assistant") bad_field(message.path("role"), "must be user or assistant");
    message.require("content");
    messages.push_back({std::move(role), read_content(message, "content", media)});
  }
  return messages;
}

bool read_thinking(const Fields& body) {
  const auto thinking = body.object("thinking");
  if (!thinking) return false;
  check_fields(*thinking, {{"type"}, {"budget_tokens", "display"}, {}});
  const std::string type = thinking->required_string("type");
  if (type != "enabled" && type != "disabled" && type != "adaptive") {
    bad_field(thinking->path("type"), "must be enabled, adaptive or disabled");
  }
  return type != "disabled";
}

const std::initializer_list<std::string_view> kIgnored = {"metadata", "service_tier", "cache_control", "container",
                                                          "inference_geo"};
const std::initializer_list<std::string_view> kRefused = {
    "tools", "tool_choice", "mcp_servers", "context_management", "output_config", "output_format"};

Call read_call(const Fields& body, const ServedModel& model, MediaReader& media) {
  check_fields(body, {{"model", "messages", "system", "max_tokens", "stop_sequences", "stream", "temperature", "top_p",
                       "top_k", "thinking"},
                      kIgnored,
                      kRefused});
  Call call;
  call.model = &model;
  call.chat.thinking = read_thinking(body);
  call.chat.sampling = model.engine->default_sampling(call.chat.thinking, true);
  read_sampling(body, call.chat.sampling);
  body.require("max_tokens");
  call.chat.sampling.max_tokens = static_cast<int>(*body.integer("max_tokens", 1, kMaxCount));
  call.chat.stop = read_stops(body, "stop_sequences");
  call.stream = body.boolean("stream").value_or(false);
  call.chat.messages = read_messages(body, media);
  return call;
}

/// Which stop string ended the answer, if one did: the engine leaves it out of the text, but not out of the tokens.
std::optional<std::string> stop_sequence(const Call& call, const ChatResult& result) {
  if (result.finish_reason != FinishReason::kStop || call.chat.stop.empty()) return std::nullopt;
  std::string text = call.model->model().tokenizer()->decode(result.tokens, true);
  if (const size_t end = text.rfind("</think>"); end != std::string::npos) text.erase(0, end);
  std::optional<std::string> found;
  size_t first = std::string::npos;
  for (const std::string& stop : call.chat.stop) {
    const size_t at = text.find(stop);
    if (at < first) {
      first = at;
      found = stop;
    }
  }
  return found;
}

Json end_of(const Call& call, const ChatResult& result) {
  const auto stop = stop_sequence(call, result);
  if (stop) return {{"stop_reason", "stop_sequence"}, {"stop_sequence", *stop}};
  const bool length = result.finish_reason == FinishReason::kLength;
  return {{"stop_reason", length ? "max_tokens" : "end_turn"}, {"stop_sequence", nullptr}};
}

Json message_json(const Exchange& exchange, const Call& call) {
  return {{"id", answer_id("msg_", exchange)},
          {"type", "message"},
          {"role", "assistant"},
          {"model", call.model->name},
          {"content", Json::array()},
          {"stop_reason", nullptr},
          {"stop_sequence", nullptr},
          {"usage", {{"input_tokens", 0}, {"output_tokens", 0}}}};
}

Json usage_json(const Usage& usage) {
  return {{"input_tokens", usage.prompt_tokens}, {"output_tokens", usage.completion_tokens}};
}

void answer_whole(ApiContext& context, Exchange& exchange, const Call& call) {
  const ChatResult result = answer(context, exchange, *call.model, call.chat);
  Json message = message_json(exchange, call);
  if (result.reasoning && !result.reasoning->empty()) {
    message["content"].push_back({{"type", "thinking"}, {"thinking", *result.reasoning}, {"signature", ""}});
  }
  message["content"].push_back({{"type", "text"}, {"text", result.text}});
  message.update(end_of(call, result));
  message["usage"] = usage_json(result.usage);
  send_json(exchange, message);
}

/// The events of a streamed answer: blocks of thinking and text, one after another.
class Events {
 public:
  Events(Exchange& exchange, const Call& call) : stream_(exchange, kEventStream), exchange_(exchange), call_(call) {}

  void piece(const TextDelta& delta) {
    open(delta.reasoning ? Block::kThinking : Block::kText);
    const Json part = delta.reasoning ? Json{{"type", "thinking_delta"}, {"thinking", delta.text}}
                                      : Json{{"type", "text_delta"}, {"text", delta.text}};
    send("content_block_delta", {{"index", index_}, {"delta", part}});
  }

  void finish(const ChatResult& result) {
    if (block_ != Block::kText) open(Block::kText);
    close();
    send("message_delta", {{"delta", end_of(call_, result)}, {"usage", usage_json(result.usage)}});
    send("message_stop", Json::object());
    stream_.end();
  }

 private:
  enum class Block { kNone, kThinking, kText };

  void send(std::string_view type, Json data) {
    Json event = {{"type", type}};
    event.update(data);
    stream_.event(event, type);
  }

  void open(Block block) {
    if (block == block_) return;
    if (!std::exchange(begun_, true)) send("message_start", {{"message", message_json(exchange_, call_)}});
    close();
    block_ = block;
    const Json empty = block == Block::kThinking ? Json{{"type", "thinking"}, {"thinking", ""}, {"signature", ""}}
                                                 : Json{{"type", "text"}, {"text", ""}};
    send("content_block_start", {{"index", ++index_}, {"content_block", empty}});
  }

  void close() {
    if (block_ != Block::kNone) send("content_block_stop", {{"index", index_}});
    block_ = Block::kNone;
  }

  PieceStream stream_;
  Exchange& exchange_;
  const Call& call_;
  bool begun_ = false;
  Block block_ = Block::kNone;
  int index_ = -1;
};

}  // namespace

void anthropic_messages(ApiContext& context, Exchange& exchange) {
  const Json json = parse_body(exchange.request().body);
  const Fields body(json);
  const ServedModel& model = context.models.find(body.required_string("model"));
  MediaReader media(context.media, model, exchange.cancelled());
  const Call call = read_call(body, model, media);
  if (!call.stream) return answer_whole(context, exchange, call);
  Events events(exchange, call);
  const ChatResult result =
      answer(context, exchange, *call.model, call.chat, [&](const TextDelta& delta) { events.piece(delta); });
  events.finish(result);
}

void anthropic_count_tokens(ApiContext& context, Exchange& exchange) {
  const Json json = parse_body(exchange.request().body);
  const Fields body(json);
  check_fields(body, {{"model", "messages", "system", "thinking"}, kIgnored, kRefused});
  const ServedModel& model = context.models.find(body.required_string("model"));
  MediaReader media(context.media, model, exchange.cancelled());
  ChatRequest request;
  request.thinking = read_thinking(body);
  request.messages = read_messages(body, media);
  exchange.note.model = model.name;
  send_json(exchange, {{"input_tokens", context.models.prepare(model, request).usage.prompt_tokens}});
}

}  // namespace minicpm::server

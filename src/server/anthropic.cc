#include "server/anthropic.h"

#include <algorithm>
#include <utility>

#include "models/loaded_model.h"
#include "server/conversation.h"
#include "text/tool_calls.h"

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
    check_fields(source, {{"type", "url"}, {}, {}});
    const std::string path = source.path("url");
    return media.picture(media.from_url(source.required_string("url"), path), path);
  }
  if (type != "base64") bad_field(source.path("type"), "must be base64 or url");
  check_fields(source, {{"type", "data"}, {"media_type"}, {}});
  const std::string path = source.path("data");
  return media.picture(media.from_base64(source.required_string("data"), path), path);
}

/// What the blocks of a message hold. Results of calls go to the conversation at once, for they stand before the rest.
class MessageReader {
 public:
  MessageReader(MediaReader& media, Conversation& conversation, std::string role)
      : media_(media), conversation_(conversation), message_{std::move(role), {}} {}

  /// A string, or blocks.
  void read(const Fields& holder, std::string_view key) {
    const Json& content = *holder.find(key);
    path_ = holder.path(key);
    if (content.is_string()) return message_.content.push_back(ContentPart::from_text(content.get<std::string>()));
    if (!content.is_array()) bad_field(path_, "must be a string or an array of blocks, found {}", content.type_name());
    for (size_t i = 0; i < content.size(); ++i)
      read_block(Fields(content[i], fmt::format("{}[{}]", path_, i)));
  }

  std::vector<ContentPart> take_content() { return std::move(message_.content); }

  void finish() {
    if (!ids_.empty()) return conversation_.add_calls(std::move(message_), std::move(ids_), path_);
    const bool results_only = results_ && message_.content.empty();
    if (!results_only) conversation_.add(std::move(message_), path_);
  }

 private:
  void read_block(const Fields& block) {
    const std::string type = block.required_string("type");
    const bool assistant = message_.role == "assistant", user = message_.role == "user";
    if (type == "text") {
      check_fields(block, {{"type", "text"}, {"cache_control", "citations"}, {}});
      message_.content.push_back(ContentPart::from_text(block.required_string("text")));
    } else if (type == "image") {
      check_fields(block, {{"type", "source"}, {"cache_control"}, {}});
      message_.content.push_back(read_image(block, media_));
    } else if (type == "tool_use" && assistant) {
      read_call(block);
    } else if (type == "tool_result" && user) {
      read_result(block);
    } else if (type == "thinking" && assistant) {
      message_.reasoning = message_.reasoning.value_or("") + block.required_string("thinking");
    } else if (type != "thinking" && type != "redacted_thinking") {
      bad_field(block.path("type"),
                "\"{}\" is not known here; known are text, image, thinking, tool_use (assistant) and "
                "tool_result (user)",
                type.substr(0, 100));
    }
  }

  void read_call(const Fields& block) {
    check_fields(block, {{"type", "id", "name", "input"}, {"cache_control", "caller"}, {}});
    ids_.push_back(block.required_string("id"));
    const std::string name = block.required_string("name");
    if (!is_tool_name(name)) bad_field(block.path("name"), "is not the name of a tool");
    block.require("input");
    if (message_.tool_calls.is_null()) message_.tool_calls = Json::array();
    message_.tool_calls.push_back(tool_call_json(name, block.object("input")->json()));
  }

  void read_result(const Fields& block) {
    check_fields(block, {{"type", "tool_use_id", "content"}, {"is_error", "cache_control"}, {}});
    const std::string id = block.required_string("tool_use_id");
    MessageReader result(media_, conversation_, "tool");
    if (block.has("content")) result.read(block, "content");
    conversation_.add_result(id, result.take_content(), block.path("tool_use_id"));
    results_ = true;
  }

  MediaReader& media_;
  Conversation& conversation_;
  Message message_;
  std::vector<std::string> ids_;  // of calls
  bool results_ = false;
  std::string path_;
};

std::vector<Message> read_messages(const Fields& body, MediaReader& media) {
  Conversation conversation;
  const auto add = [&](std::string role, const Fields& holder, std::string_view key) {
    MessageReader reader(media, conversation, std::move(role));
    reader.read(holder, key);
    reader.finish();
  };
  if (body.has("system")) add("system", body, "system");
  body.require("messages");
  const Json& list = *body.array("messages");
  if (list.empty()) bad_field(body.path("messages"), "is empty");
  if (list.size() > kMaxMessages) bad_field(body.path("messages"), "has more than {} messages", kMaxMessages);
  for (size_t i = 0; i < list.size(); ++i) {
    const Fields message(list[i], fmt::format("{}[{}]", body.path("messages"), i));
    check_fields(message, {{"role", "content"}, {}, {}});
    const std::string role = message.required_string("role");
    if (role != "user" && role != "assistant") bad_field(message.path("role"), "must be user or assistant");
    message.require("content");
    add(role, message, "content");
  }
  return conversation.take();
}

/// [{"name", "description", "input_schema"}, ...] in OpenAI's form.
Json read_own_tools(const Fields& body) {
  Json tools = Json::array();
  const Json* list = body.array("tools");
  for (size_t i = 0; list != nullptr && i < list->size(); ++i) {
    const Fields tool((*list)[i], fmt::format("{}[{}]", body.path("tools"), i));
    if (const auto type = tool.string("type"); type && *type != "custom") {
      bad_field(tool.path("type"), "this server has no tools of its own; must be custom");
    }
    check_fields(tool, {{"type", "name", "description", "input_schema", "strict"},
                        {"cache_control", "eager_input_streaming", "input_examples", "allowed_callers"},
                        {"defer_loading"}});
    Json function = {{"name", tool.required_string("name")}};
    if (const auto text = tool.string("description")) function["description"] = *text;
    tool.require("input_schema");
    function["parameters"] = tool.object("input_schema")->json();
    if (const auto strict = tool.boolean("strict")) function["strict"] = *strict;
    tools.push_back(tool_json(Fields(function, tool.path())));
  }
  return tools;
}

std::optional<ToolUse> read_own_tool_use(const Fields& body) {
  ToolUse use{read_own_tools(body)};
  const auto choice = body.object("tool_choice");
  if (!choice) return use.tools.empty() ? std::nullopt : std::optional(std::move(use));
  check_fields(*choice, {{"type", "name", "disable_parallel_tool_use"}, {}, {}});
  use.several = !choice->boolean("disable_parallel_tool_use").value_or(false);
  const std::string type = choice->required_string("type");
  if (type != "auto" && type != "any" && type != "tool" && type != "none") {
    bad_field(choice->path("type"), "must be auto, any, tool or none");
  }
  use.must = type == "any" || type == "tool";
  if (use.must && use.tools.empty()) bad_field(body.path("tool_choice"), "there are no tools to call");
  if (type == "tool") {
    use.only = choice->required_string("name");
    check_tool_name(use.tools, use.only, choice->path("name"));
  }
  if (type == "none" || use.tools.empty()) return std::nullopt;
  return use;
}

/// output_config.format: {"type": "json_schema", "schema"}.
std::optional<Json> read_output_schema(const Fields& body) {
  const auto config = body.object("output_config");
  if (!config) return std::nullopt;
  check_fields(*config, {{"format"}, {"effort"}, {}});
  const auto format = config->object("format");
  if (!format) return std::nullopt;
  check_fields(*format, {{"type", "schema"}, {}, {}});
  if (format->required_string("type") != "json_schema") bad_field(format->path("type"), "must be json_schema");
  format->require("schema");
  return format->object("schema")->json();
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
const std::initializer_list<std::string_view> kRefused = {"mcp_servers", "context_management", "output_format"};

Call read_call(const Fields& body, const ServedModel& model, MediaReader& media) {
  check_fields(body, {{"model", "messages", "system", "max_tokens", "stop_sequences", "stream", "temperature", "top_p",
                       "top_k", "thinking", "tools", "tool_choice", "output_config"},
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
  call.chat.tools = read_own_tool_use(body);
  call.chat.json_schema = read_output_schema(body);
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
  const char* reason = length ? "max_tokens" : result.tool_calls.empty() ? "end_turn" : "tool_use";
  return {{"stop_reason", reason}, {"stop_sequence", nullptr}};
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

/// input_tokens are those that had to be computed.
Json usage_json(const Usage& usage) {
  return {{"input_tokens", usage.prompt_tokens - usage.cached_tokens},
          {"cache_creation_input_tokens", 0},
          {"cache_read_input_tokens", usage.cached_tokens},
          {"output_tokens", usage.completion_tokens}};
}

Json tool_use_json(const Exchange& exchange, int call, const std::string& name) {
  return {{"type", "tool_use"},
          {"id", fmt::format("{}_{}", answer_id("toolu_", exchange), call)},
          {"name", name},
          {"input", Json::object()}};
}

void answer_whole(ApiContext& context, Exchange& exchange, const Call& call) {
  const ChatResult result = answer(context, exchange, *call.model, call.chat);
  Json message = message_json(exchange, call);
  if (result.reasoning && !result.reasoning->empty()) {
    message["content"].push_back({{"type", "thinking"}, {"thinking", *result.reasoning}, {"signature", ""}});
  }
  if (!result.text.empty() || result.tool_calls.empty()) {
    message["content"].push_back({{"type", "text"}, {"text", result.text}});
  }
  for (size_t i = 0; i < result.tool_calls.size(); ++i) {
    const ToolCall& made = result.tool_calls[i];
    if (!made.complete) continue;
    message["content"].push_back(tool_use_json(exchange, static_cast<int>(i), made.name));
    message["content"].back()["input"] = parse_json(made.arguments, "call");
  }
  message.update(end_of(call, result));
  message["usage"] = usage_json(result.usage);
  send_json(exchange, message);
}

/// The events of a streamed answer: blocks of thinking and text, one after another.
class Events {
 public:
  Events(Exchange& exchange, const Call& call) : stream_(exchange, kEventStream), exchange_(exchange), call_(call) {}

  void piece(const TextDelta& delta) {
    if (delta.call) return call_piece(delta);
    open(delta.reasoning ? Block::kThinking : Block::kText);
    const Json part = delta.reasoning ? Json{{"type", "thinking_delta"}, {"thinking", delta.text}}
                                      : Json{{"type", "text_delta"}, {"text", delta.text}};
    send("content_block_delta", {{"index", index_}, {"delta", part}});
  }

  void finish(const ChatResult& result) {
    if (block_ != Block::kText && block_ != Block::kCall) open(Block::kText);
    close();
    send("message_delta", {{"delta", end_of(call_, result)}, {"usage", usage_json(result.usage)}});
    send("message_stop", Json::object());
    stream_.end();
  }

 private:
  enum class Block { kNone, kThinking, kText, kCall };

  void send(std::string_view type, Json data) {
    Json event = {{"type", type}};
    event.update(data);
    stream_.event(event, type);
  }

  void call_piece(const TextDelta& delta) {
    if (!delta.name.empty()) begin(Block::kCall, tool_use_json(exchange_, *delta.call, delta.name));
    if (delta.text.empty()) return;
    const Json part = {{"type", "input_json_delta"}, {"partial_json", delta.text}};
    send("content_block_delta", {{"index", index_}, {"delta", part}});
  }

  void open(Block block) {
    if (block == block_) return;
    begin(block, block == Block::kThinking ? Json{{"type", "thinking"}, {"thinking", ""}, {"signature", ""}}
                                           : Json{{"type", "text"}, {"text", ""}});
  }

  void begin(Block block, const Json& empty) {
    if (!std::exchange(begun_, true)) send("message_start", {{"message", message_json(exchange_, call_)}});
    close();
    block_ = block;
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
  check_fields(
      body, {{"model", "messages", "system", "thinking", "tools", "tool_choice", "output_config"}, kIgnored, kRefused});
  const ServedModel& model = context.models.find(body.required_string("model"));
  MediaReader media(context.media, model, exchange.cancelled());
  ChatRequest request;
  request.thinking = read_thinking(body);
  request.tools = read_own_tool_use(body);
  request.messages = read_messages(body, media);
  exchange.note.model = model.name;
  send_json(exchange, {{"input_tokens", context.models.prepare(model, request).usage.prompt_tokens}});
}

}  // namespace minicpm::server

#include "server/response_items.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "models/loaded_model.h"
#include "server/conversation.h"
#include "server/openai_chat.h"
#include "text/tool_calls.h"

namespace minicpm::server {
namespace {

constexpr size_t kMaxItems = 4096;

void add_part(const Fields& part, MediaReader& media, std::vector<ContentPart>& content) {
  const std::string type = part.required_string("type");
  if (type == "input_text" || type == "output_text") {
    check_fields(part, {{"type", "text"}, {"annotations", "logprobs", "parsed"}, {}});
    content.push_back(ContentPart::from_text(part.required_string("text")));
  } else if (type == "input_image") {
    check_fields(part, {{"type", "image_url"}, {"detail"}, {"file_id"}});
    const std::string path = part.path("image_url");
    content.push_back(media.picture(media.from_url(part.required_string("image_url"), path), path));
  } else {
    bad_field(part.path("type"), "\"{}\" is not known; known are input_text, output_text and input_image",
              type.substr(0, 100));
  }
}

/// A string, or parts.
std::vector<ContentPart> read_content(const Fields& holder, std::string_view key, MediaReader& media) {
  holder.require(key);
  const Json& content = *holder.find(key);
  if (content.is_string()) return {ContentPart::from_text(content.get<std::string>())};
  if (!content.is_array()) {
    bad_field(holder.path(key), "must be a string or an array of parts, found {}", content.type_name());
  }
  std::vector<ContentPart> parts;
  for (size_t i = 0; i < content.size(); ++i)
    add_part(Fields(content[i], fmt::format("{}[{}]", holder.path(key), i)), media, parts);
  return parts;
}

/// Items become messages: what the assistant wrote, thought and called in a row is one.
class ItemReader {
 public:
  explicit ItemReader(MediaReader& media) : media_(media) {}

  void read(const Fields& item) {
    const std::string type = item.string("type").value_or("message");
    if (type == "message") return read_message(item);
    if (type == "function_call") return read_call(item);
    if (type == "function_call_output") return read_result(item);
    if (type == "reasoning") return read_reasoning(item);
    bad_field(item.path("type"),
              "\"{}\" is not known; known are message, function_call, function_call_output and reasoning",
              type.substr(0, 100));
  }

  void instruct(const std::string& text) {
    conversation_.add({"system", {ContentPart::from_text(text)}}, "instructions");
  }

  std::vector<Message> take() {
    flush();
    return conversation_.take();
  }

 private:
  void read_message(const Fields& item) {
    check_fields(item, {{"type", "role", "content"}, {"id", "status", "phase"}, {}});
    std::string role = item.required_string("role");
    if (role == "developer") role = "system";
    if (role != "user" && role != "system" && role != "assistant") {
      bad_field(item.path("role"), "must be user, assistant, system or developer");
    }
    auto content = read_content(item, "content", media_);
    if (role != "assistant") {
      flush();
      return conversation_.add({std::move(role), std::move(content)}, item.path());
    }
    if (!ids_.empty()) flush();
    std::ranges::move(content, std::back_inserter(assistant(item).content));
  }

  void read_call(const Fields& item) {
    check_fields(item, {{"type", "call_id", "name", "arguments"}, {"id", "status", "parsed_arguments"}, {}});
    Message& message = assistant(item);
    const std::string name = item.required_string("name");
    if (!is_tool_name(name)) bad_field(item.path("name"), "is not the name of a tool");
    ids_.push_back(item.required_string("call_id"));
    if (message.tool_calls.is_null()) message.tool_calls = Json::array();
    message.tool_calls.push_back(tool_call_json(name, item.required_string("arguments")));
  }

  void read_result(const Fields& item) {
    check_fields(item, {{"type", "call_id", "output"}, {"id", "status"}, {}});
    flush();
    conversation_.add_result(item.required_string("call_id"), read_content(item, "output", media_),
                             item.path("call_id"));
  }

  void read_reasoning(const Fields& item) {
    check_fields(item, {{"type", "content"}, {"id", "status", "summary", "encrypted_content"}, {}});
    if (!ids_.empty()) flush();
    Message& message = assistant(item);
    const Json* parts = item.array("content");
    for (size_t i = 0; parts != nullptr && i < parts->size(); ++i) {
      const Fields part((*parts)[i], fmt::format("{}[{}]", item.path("content"), i));
      check_fields(part, {{"text"}, {"type"}, {}});
      message.reasoning = message.reasoning.value_or("") + part.required_string("text");
    }
  }

  Message& assistant(const Fields& item) {
    if (!assistant_) assistant_ = Message{"assistant", {}};
    path_ = item.path();
    return *assistant_;
  }

  void flush() {
    if (!assistant_) return;
    Message message = std::move(*std::exchange(assistant_, std::nullopt));
    if (ids_.empty()) {
      conversation_.add(std::move(message), path_);
    } else {
      conversation_.add_calls(std::move(message), std::exchange(ids_, {}), path_);
    }
  }

  MediaReader& media_;
  Conversation conversation_;
  std::optional<Message> assistant_;  // being put together
  std::vector<std::string> ids_;      // of its calls
  std::string path_;
};

std::vector<Message> read_input(const Fields& body, MediaReader& media, const Json& history) {
  ItemReader reader(media);
  if (const auto text = body.string("instructions"); text && !text->empty()) reader.instruct(*text);
  for (size_t i = 0; i < history.size(); ++i)
    reader.read(Fields(history[i], fmt::format("{}[{}]", body.path("previous_response_id"), i)));
  body.require("input");
  const Json& input = *body.find("input");
  if (input.is_string()) {
    const Json item = {{"role", "user"}, {"content", input}};
    reader.read(Fields(item, body.path("input")));
    return reader.take();
  }
  const Json& items = *body.array("input");
  if (items.empty()) bad_field(body.path("input"), "is empty");
  if (items.size() + history.size() > kMaxItems) bad_field(body.path("input"), "has more than {} items", kMaxItems);
  for (size_t i = 0; i < items.size(); ++i)
    reader.read(Fields(items[i], fmt::format("{}[{}]", body.path("input"), i)));
  return reader.take();
}

/// Tools here are flat: {"type": "function", "name", "description", "parameters", "strict"}. Brings them, and the
/// choice, into the form of chat completions.
std::optional<ToolUse> read_flat_tools(const Fields& body) {
  Json nested = Json::object();
  if (const Json* list = body.array("tools")) {
    nested["tools"] = Json::array();
    for (size_t i = 0; i < list->size(); ++i) {
      const Fields tool((*list)[i], fmt::format("{}[{}]", body.path("tools"), i));
      if (tool.required_string("type") != "function") {
        bad_field(tool.path("type"), "this server has no tools of its own; must be function");
      }
      Json function = tool.json();
      function.erase("type");
      tool_json(Fields(function, tool.path()));
      nested["tools"].push_back({{"type", "function"}, {"function", std::move(function)}});
    }
  }
  if (const Json* choice = body.find("tool_choice")) {
    nested["tool_choice"] = *choice;
    if (choice->is_object()) {
      const Fields named(*choice, body.path("tool_choice"));
      check_fields(named, {{"type", "name"}, {}, {}});
      nested["tool_choice"] = {{"type", named.required_string("type")},
                               {"function", {{"name", named.required_string("name")}}}};
    }
  }
  if (const Json* several = body.find("parallel_tool_calls")) nested["parallel_tool_calls"] = *several;
  return read_tool_use(Fields(nested));
}

std::optional<Json> read_text_format(const Fields& body) {
  const auto text = body.object("text");
  if (!text) return std::nullopt;
  check_fields(*text, {{"format"}, {"verbosity"}, {}});
  const auto format = text->object("format");
  if (!format) return std::nullopt;
  check_fields(*format, {{"type", "schema"}, {"name", "description", "strict"}, {}});
  const std::string type = format->required_string("type");
  if (type == "text") return std::nullopt;
  if (type == "json_object") return Json{{"type", "object"}};
  if (type != "json_schema") bad_field(format->path("type"), "must be text, json_object or json_schema");
  return checked_schema(*format);
}

bool read_reasoning(const Fields& body) {
  const auto reasoning = body.object("reasoning");
  if (!reasoning) return false;
  check_fields(*reasoning, {{"effort"}, {"summary", "generate_summary"}, {}});
  const std::string effort = reasoning->string("effort").value_or("none");
  constexpr std::string_view kKnown[] = {"none", "minimal", "low", "medium", "high", "xhigh"};
  if (std::ranges::find(kKnown, effort) == std::end(kKnown)) {
    bad_field(reasoning->path("effort"), "must be none, minimal, low, medium, high or xhigh");
  }
  return effort != "none" && effort != "minimal";
}

void check_body(const Fields& body) {
  if (body.has("conversation")) {
    throw ApiError(400, "conversation: not supported by this server; use previous_response_id", "conversation",
                   "unsupported_field");
  }
  check_fields(body, {{"model", "input", "instructions", "max_output_tokens", "temperature", "top_p", "stream", "tools",
                       "tool_choice", "parallel_tool_calls", "text", "reasoning", "previous_response_id", "store",
                       "conversation"},
                      {"metadata", "user", "service_tier", "include", "truncation", "prompt_cache_key",
                       "prompt_cache_retention", "safety_identifier", "stream_options"},
                      {"background", "top_logprobs", "max_tool_calls", "prompt", "context_management"}});
}

}  // namespace

ResponseCall read_response_call(const Fields& body, const ServedModel& model, MediaReader& media, const Json& history) {
  check_body(body);
  ResponseCall call;
  call.model = &model;
  call.chat.thinking = read_reasoning(body);
  SamplingParams& sampling = call.chat.sampling;
  sampling = model.engine->default_sampling(call.chat.thinking, true);
  read_sampling(body, sampling);
  const auto most = body.integer("max_output_tokens", 1, kMaxCount);
  if (most) sampling.max_tokens = static_cast<int>(*most);
  call.chat.json_schema = read_text_format(body);
  call.chat.tools = read_flat_tools(body);
  call.stream = body.boolean("stream").value_or(false);
  call.chat.messages = read_input(body, media, history);
  const auto given = [&](const char* key, Json missing) {
    const Json* value = body.find(key);
    return value != nullptr ? *value : std::move(missing);
  };
  call.echo = {{"instructions", given("instructions", nullptr)},
               {"max_output_tokens", given("max_output_tokens", nullptr)},
               {"metadata", given("metadata", Json::object())},
               {"parallel_tool_calls", given("parallel_tool_calls", true)},
               {"previous_response_id", given("previous_response_id", nullptr)},
               {"reasoning", given("reasoning", {{"effort", nullptr}, {"summary", nullptr}})},
               {"store", false},
               {"temperature", sampling.temperature},
               {"text", given("text", {{"format", {{"type", "text"}}}})},
               {"tool_choice", given("tool_choice", "auto")},
               {"tools", given("tools", Json::array())},
               {"top_p", sampling.top_p},
               {"truncation", "disabled"}};
  return call;
}

}  // namespace minicpm::server

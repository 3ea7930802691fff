// OpenAI's messages and settings to what the engine takes.
#include <algorithm>
#include <charconv>
#include <iterator>
#include <utility>

#include "models/loaded_model.h"
#include "server/conversation.h"
#include "server/openai_chat.h"
#include "server/spoken_chat.h"
#include "text/json_schema.h"
#include "text/tool_calls.h"

namespace minicpm::server {
namespace {

constexpr size_t kMaxMessages = 4096;

/// A string, or an object with a member "url".
std::string url_of(const Fields& part, std::string_view key, std::initializer_list<std::string_view> more) {
  part.require(key);
  if (part.find(key)->is_string()) return *part.string(key);
  const Fields holder = *part.object(key);
  for (const auto& [name, value] : holder.json().items()) {
    if (name != "url" && std::find(more.begin(), more.end(), name) == more.end()) {
      throw ApiError(400, holder.path(name) + ": unknown field", holder.path(name), "unknown_field");
    }
  }
  return holder.required_string("url");
}

VideoSampling video_sampling(const Fields& part) {
  VideoSampling sampling;
  if (!part.find("video_url")->is_object()) return sampling;
  const Fields settings = *part.object("video_url");
  sampling.fps = settings.number("fps", 0.001, 1000);
  const auto as_int = [&](std::string_view key, int64_t most) -> std::optional<int> {
    const auto value = settings.integer(key, 1, most);
    return value ? std::optional(static_cast<int>(*value)) : std::nullopt;
  };
  sampling.max_frames = as_int("max_frames", 65536);
  sampling.pack = as_int("pack", kLargestPacking);
  sampling.max_slices = as_int("max_slices", 1000);
  return sampling;
}

void add_part(const Fields& part, MediaReader& media, std::vector<ContentPart>& content) {
  const std::string type = part.required_string("type");
  if (type == "text" || type == "refusal") {
    check_fields(part, {{"type", "text", "refusal"}, {"cache_control", "annotations"}, {}});
    content.push_back(ContentPart::from_text(part.required_string(type)));
  } else if (type == "image_url") {
    check_fields(part, {{"type", "image_url"}, {"cache_control"}, {}});
    const std::string path = part.path("image_url.url");
    content.push_back(media.picture(media.from_url(url_of(part, "image_url", {"detail"}), path), path));
  } else if (type == "input_audio") {
    check_fields(part, {{"type", "input_audio"}, {"cache_control"}, {}});
    part.require("input_audio");
    const Fields audio = *part.object("input_audio");
    const std::string path = audio.path("data"), format = audio.required_string("format");
    if (format != "wav" && format != "mp3") bad_field(audio.path("format"), "must be wav or mp3");
    content.push_back(media.sound(media.from_base64(audio.required_string("data"), path), path));
  } else if (type == "audio_url") {
    check_fields(part, {{"type", "audio_url"}, {"cache_control"}, {}});
    const std::string path = part.path("audio_url.url");
    content.push_back(media.sound(media.from_url(url_of(part, "audio_url", {}), path), path));
  } else if (type == "video_url") {
    check_fields(part, {{"type", "video_url"}, {"cache_control"}, {}});
    const std::string path = part.path("video_url.url");
    const std::string url = url_of(part, "video_url", {"fps", "max_frames", "pack", "max_slices"});
    auto frames = media.video(media.from_url(url, path), path, video_sampling(part));
    std::ranges::move(frames, std::back_inserter(content));
  } else {
    bad_field(part.path("type"), "\"{}\" is not known; known are text, image_url, input_audio, audio_url and video_url",
              type.substr(0, 100));
  }
}

std::vector<ContentPart> read_content(const Fields& message, MediaReader& media, bool may_lack) {
  const Json* content = message.find("content");
  if (content == nullptr) {
    if (may_lack) return {};
    bad_field(message.path("content"), "is missing");
  }
  if (content->is_string()) return {ContentPart::from_text(content->get<std::string>())};
  if (!content->is_array()) {
    bad_field(message.path("content"), "must be a string or an array of parts, found {}", content->type_name());
  }
  std::vector<ContentPart> parts;
  for (size_t i = 0; i < content->size(); ++i)
    add_part(Fields((*content)[i], fmt::format("{}[{}]", message.path("content"), i)), media, parts);
  return parts;
}

/// Off, on, or not said.
std::optional<bool> read_thinking(const Fields& body) {
  std::optional<bool> thinking = body.boolean("enable_thinking");
  if (const auto arguments = body.object("chat_template_kwargs")) {
    check_fields(*arguments, {{"enable_thinking"}, {}, {}});
    if (const auto value = arguments->boolean("enable_thinking")) thinking = value;
  }
  if (const auto effort = body.string("reasoning_effort")) {
    constexpr std::string_view kOff[] = {"none", "minimal"}, kOn[] = {"low", "medium", "high", "xhigh"};
    const bool off = std::ranges::find(kOff, *effort) != std::end(kOff);
    if (!off && std::ranges::find(kOn, *effort) == std::end(kOn)) {
      bad_field(body.path("reasoning_effort"), "must be none, minimal, low, medium, high or xhigh");
    }
    if (!thinking) thinking = !off;
  }
  return thinking;
}

void check_body(const Fields& body) {
  check_fields(body, {{"model",
                       "lora",
                       "messages",
                       "max_tokens",
                       "max_completion_tokens",
                       "min_tokens",
                       "temperature",
                       "top_p",
                       "top_k",
                       "min_p",
                       "repetition_penalty",
                       "repeat_penalty",
                       "seed",
                       "stop",
                       "n",
                       "stream",
                       "stream_options",
                       "enable_thinking",
                       "chat_template_kwargs",
                       "reasoning_effort",
                       "num_beams",
                       "max_slices",
                       "response_format",
                       "modalities",
                       "audio",
                       "frequency_penalty",
                       "presence_penalty",
                       "logprobs",
                       "top_logprobs",
                       "logit_bias",
                       "tools",
                       "tool_choice",
                       "parallel_tool_calls"},
                      {"user", "metadata", "store", "service_tier", "prompt_cache_key", "safety_identifier",
                       "prompt_cache_retention", "verbosity", "cache_prompt", "keep_alive"},
                      {"functions", "function_call", "web_search_options", "prediction", "grammar", "json_schema",
                       "best_of", "ignore_eos", "length_penalty"}});
}

}  // namespace

std::optional<Json> read_response_format(const Fields& body) {
  const auto format = body.object("response_format");
  if (!format) return std::nullopt;
  check_fields(*format, {{"type", "json_schema"}, {}, {}});
  const std::string type = format->required_string("type");
  if (type == "text") return std::nullopt;
  if (type == "json_object") return Json{{"type", "object"}};
  if (type != "json_schema") bad_field(format->path("type"), "must be text, json_object or json_schema");
  format->require("json_schema");
  const Fields holder = *format->object("json_schema");
  check_fields(holder, {{"schema"}, {"name", "description", "strict"}, {}});
  return checked_schema(holder);
}

Json checked_schema(const Fields& holder) {
  holder.require("schema");
  const Json& schema = holder.object("schema")->json();
  try {
    json_schema_grammar(schema);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kInvalidRequest) throw;
    throw ApiError(400, error.what(), holder.path("schema"), "unsupported_schema");
  }
  return schema;
}

void read_logit_bias(const Fields& body, const ServedModel& model, SamplingParams& sampling) {
  const auto bias = body.object("logit_bias");
  if (!bias) return;
  constexpr size_t kMost = 1024;
  const int64_t vocabulary = model.model().config().decoder.vocab_size;
  if (bias->json().size() > kMost) bad_field(body.path("logit_bias"), "has more than {} tokens", kMost);
  for (const auto& [key, value] : bias->json().items()) {
    int32_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0 || id >= vocabulary) {
      bad_field(body.path("logit_bias"), "\"{}\" is not an id from 0 to {}", key.substr(0, 100), vocabulary - 1);
    }
    if (const auto score = bias->number(key, -100, 100))
      sampling.logit_bias.push_back({id, static_cast<float>(*score)});
  }
}

namespace {

/// [{"id", "type", "function": {"name", "arguments": TEXT}}, ...]
void add_assistant(const Fields& fields, Message message, Conversation& conversation) {
  const Json* list = fields.array("tool_calls");
  if (list == nullptr || list->empty()) return conversation.add(std::move(message), fields.path());
  message.tool_calls = Json::array();
  std::vector<std::string> ids;
  for (size_t i = 0; i < list->size(); ++i) {
    const Fields call((*list)[i], fmt::format("{}[{}]", fields.path("tool_calls"), i));
    check_fields(call, {{"id", "type", "function"}, {"index"}, {}});
    ids.push_back(call.required_string("id"));
    call.require("function");
    const Fields function = *call.object("function");
    check_fields(function, {{"name", "arguments"}, {"parsed_arguments"}, {}});
    const std::string name = function.required_string("name");
    if (!is_tool_name(name)) bad_field(function.path("name"), "is not the name of a tool");
    message.tool_calls.push_back(tool_call_json(name, function.required_string("arguments")));
  }
  conversation.add_calls(std::move(message), std::move(ids), fields.path("tool_calls"));
}

void add_message(const Fields& message, MediaReader& media, Conversation& conversation) {
  check_fields(message, {{"role", "content", "tool_calls", "tool_call_id", "reasoning_content", "reasoning", "audio"},
                         {"name", "refusal", "annotations", "parsed"},  // the last: what clients add to answers
                         {"function_call"}});
  std::string role = message.required_string("role");
  if (role == "developer") role = "system";
  if (role != "system" && role != "user" && role != "assistant" && role != "tool") {
    bad_field(message.path("role"), "\"{}\" is not known; known are system, developer, user, assistant and tool",
              role.substr(0, 100));
  }
  auto content = read_content(message, media, role == "assistant");
  if (const auto audio = message.object("audio")) {
    check_fields(*audio, {{"transcript"}, {"id", "data", "expires_at"}, {}});
    if (!audio->has("transcript")) bad_field(audio->path("id"), "sounds are not kept; give the transcript beside it");
    content = {ContentPart::from_text(audio->required_string("transcript"))};
  }
  if (role == "tool") {
    return conversation.add_result(message.required_string("tool_call_id"), std::move(content),
                                   message.path("tool_call_id"));
  }
  if (role != "assistant") return conversation.add({std::move(role), std::move(content)}, message.path());
  auto reasoning = message.string("reasoning_content");
  if (!reasoning) reasoning = message.string("reasoning");
  add_assistant(message, {std::move(role), std::move(content), std::move(reasoning)}, conversation);
}

}  // namespace

std::vector<Message> read_openai_messages(const Fields& body, MediaReader& media) {
  body.require("messages");
  const Json& list = *body.array("messages");
  if (list.empty()) bad_field(body.path("messages"), "is empty");
  if (list.size() > kMaxMessages) bad_field(body.path("messages"), "has more than {} messages", kMaxMessages);
  Conversation conversation;
  for (size_t i = 0; i < list.size(); ++i)
    add_message(Fields(list[i], fmt::format("{}[{}]", body.path("messages"), i)), media, conversation);
  return conversation.take();
}

namespace {

void read_logprobs(const Fields& body, SamplingParams& sampling) {
  const auto top = body.integer("top_logprobs", 0, 20);
  if (body.boolean("logprobs").value_or(false)) {
    if (sampling.num_beams > 1) bad_field(body.path("logprobs"), "does not go with beam search");
    sampling.top_logprobs = static_cast<int>(top.value_or(0));
  } else if (top.value_or(0) > 0) {
    bad_field(body.path("top_logprobs"), "goes with logprobs only");
  }
}

}  // namespace

OpenAiChat read_openai_chat(const Fields& body, const ServedModel& model, MediaReader& media) {
  check_body(body);
  OpenAiChat call;
  call.model = &model;
  call.chat.thinking = read_thinking(body).value_or(false);
  const auto beams = body.integer("num_beams", 1, 8);
  SamplingParams& sampling = call.chat.sampling;
  sampling = model.engine->default_sampling(call.chat.thinking, beams.value_or(1) == 1);
  sampling.num_beams = static_cast<int>(beams.value_or(1));
  read_sampling(body, sampling);
  for (const char* name : {"max_tokens", "max_completion_tokens"}) {
    if (const auto value = body.integer(name, 1, kMaxCount)) sampling.max_tokens = static_cast<int>(*value);
  }
  if (const auto value = body.integer("min_tokens", 0, kMaxCount)) sampling.min_new_tokens = static_cast<int>(*value);
  if (const auto value = body.integer("max_slices", 1, 1000)) call.chat.max_slices = static_cast<int>(*value);
  call.chat.stop = read_stops(body, "stop");
  call.chat.json_schema = read_response_format(body);
  call.chat.tools = read_tool_use(body);
  read_logit_bias(body, model, sampling);
  read_logprobs(body, sampling);
  call.choices = static_cast<int>(body.integer("n", 1, 8).value_or(1));
  call.stream = body.boolean("stream").value_or(false);
  if (const auto options = body.object("stream_options")) {
    check_fields(*options, {{"include_usage"}, {"include_obfuscation"}, {}});
    if (!call.stream) bad_field(body.path("stream_options"), "goes with stream only");
    call.include_usage = options->boolean("include_usage").value_or(false);
  }
  // Media last: it costs most, and what is wrong elsewhere should be told first.
  call.spoken = read_spoken(body, model, media);
  call.chat.messages = read_openai_messages(body, media);
  if (call.spoken) ask_for_speech(call.chat, *call.spoken);
  return call;
}

}  // namespace minicpm::server

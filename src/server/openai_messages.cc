// OpenAI's messages and settings to what the engine takes.
#include <algorithm>
#include <iterator>

#include "models/loaded_model.h"
#include "server/openai_chat.h"

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
    content.push_back(media.picture(media.from_data_url(url_of(part, "image_url", {"detail"}), path), path));
  } else if (type == "input_audio") {
    check_fields(part, {{"type", "input_audio"}, {"cache_control"}, {}});
    part.require("input_audio");
    const Fields audio = *part.object("input_audio");
    const std::string path = audio.path("data"), format = audio.required_string("format");
    if (format != "wav" && format != "mp3") bad_field(audio.path("format"), "must be wav or mp3");
    content.push_back(media.sound(media.from_base64(audio.required_string("data"), path), path));
  } else if (type == "video_url") {
    check_fields(part, {{"type", "video_url"}, {"cache_control"}, {}});
    const std::string path = part.path("video_url.url");
    const std::string url = url_of(part, "video_url", {"fps", "max_frames", "pack", "max_slices"});
    auto frames = media.video(media.from_data_url(url, path), path, video_sampling(part));
    std::ranges::move(frames, std::back_inserter(content));
  } else {
    bad_field(part.path("type"), "\"{}\" is not known; known are text, image_url, input_audio and video_url",
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
                       "modalities"},
                      {"user", "metadata", "store", "service_tier", "parallel_tool_calls", "prompt_cache_key",
                       "safety_identifier", "prompt_cache_retention", "verbosity", "cache_prompt", "keep_alive"},
                      {"frequency_penalty", "presence_penalty", "logprobs", "top_logprobs", "logit_bias", "tools",
                       "tool_choice", "functions", "function_call", "audio", "web_search_options", "prediction",
                       "grammar", "json_schema", "best_of", "ignore_eos", "length_penalty"}});
  if (const auto format = body.object("response_format"); format && format->required_string("type") != "text") {
    throw ApiError(400, "response_format.type: this server writes text only", "response_format", "unsupported_field");
  }
  for (const std::string& modality : body.strings("modalities")) {
    if (modality != "text")
      throw ApiError(400, "modalities: this server answers in text only", "modalities", "unsupported_field");
  }
}

}  // namespace

std::vector<Message> read_openai_messages(const Fields& body, MediaReader& media) {
  body.require("messages");
  const Json& list = *body.array("messages");
  if (list.empty()) bad_field(body.path("messages"), "is empty");
  if (list.size() > kMaxMessages) bad_field(body.path("messages"), "has more than {} messages", kMaxMessages);
  std::vector<Message> messages;
  for (size_t i = 0; i < list.size(); ++i) {
    const Fields message(list[i], fmt::format("{}[{}]", body.path("messages"), i));
    check_fields(message, {{"role", "content"},
                           {"name", "reasoning_content", "reasoning", "refusal", "annotations"},
                           {"tool_calls", "function_call", "tool_call_id", "audio"}});
    std::string role = message.required_string("role");
    if (role == "developer") role = "system";
    if (role != "system" && role != "user" && role != "assistant") {
      bad_field(message.path("role"), "\"{}\" is not known; known are system, developer, user and assistant",
                role.substr(0, 100));
    }
    auto content = read_content(message, media, role == "assistant");
    // Instructions in several messages are one for the model.
    if (role == "system" && messages.size() == 1 && messages[0].role == "system") {
      std::ranges::move(content, std::back_inserter(messages[0].content));
    } else {
      messages.push_back({std::move(role), std::move(content)});
    }
  }
  return messages;
}

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
  call.choices = static_cast<int>(body.integer("n", 1, 8).value_or(1));
  call.stream = body.boolean("stream").value_or(false);
  if (const auto options = body.object("stream_options")) {
    check_fields(*options, {{"include_usage"}, {"include_obfuscation"}, {}});
    if (!call.stream) bad_field(body.path("stream_options"), "goes with stream only");
    call.include_usage = options->boolean("include_usage").value_or(false);
  }
  // Media last: it costs most, and what is wrong elsewhere should be told first.
  call.chat.messages = read_openai_messages(body, media);
  return call;
}

}  // namespace minicpm::server

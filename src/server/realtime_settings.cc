#include "server/realtime_settings.h"

#include <algorithm>

#include "media/log_mel.h"
#include "server/api_error.h"
#include "server/model_voices.h"

namespace minicpm::server {
namespace {

constexpr int64_t kMostTokens = 4096;  // of an answer, as OpenAI's limit
constexpr size_t kMostInstructions = 64u << 10;
constexpr int kLeastRate = 8000, kMostRate = 48000;
constexpr double kLeastSilence = 200, kMostSilence = 5000;  // ms

std::string_view name(OmniMode mode) {
  return mode == OmniMode::kOmni ? "omni" : mode == OmniMode::kAssistant ? "assistant" : "roleplay";
}

void read_turn_detection(const Fields& parent, RealtimeSettings& settings) {
  const auto it = parent.json().find("turn_detection");
  if (it == parent.json().end()) return;
  settings.detect_turns = !it->is_null();
  if (it->is_null()) return;
  const Fields fields = *parent.object("turn_detection");
  check_fields(fields, {{"type", "threshold", "silence_duration_ms", "interrupt_response", "create_response"},
                        {"prefix_padding_ms"},
                        {"idle_timeout_ms", "eagerness"}});
  if (const auto type = fields.string("type"); type && *type != "server_vad") {
    bad_field(fields.path("type"), "must be server_vad; or set {} to null", parent.path("turn_detection"));
  }
  settings.threshold = fields.number("threshold", 0.01, 1).value_or(settings.threshold);
  settings.silence_ms = fields.number("silence_duration_ms", kLeastSilence, kMostSilence).value_or(settings.silence_ms);
  settings.interrupt = fields.boolean("interrupt_response").value_or(settings.interrupt);
  settings.answer = fields.boolean("create_response").value_or(settings.answer);
}

std::shared_ptr<const std::vector<float>> shared_clip(std::vector<float> clip) {
  clip.resize(std::min(clip.size(), static_cast<size_t>(kMaxMelSamples)));
  return std::make_shared<const std::vector<float>>(std::move(clip));
}

/// A name that is none of the model's voices changes nothing: clients of OpenAI's send the names of theirs.
void read_voice(const Fields& fields, const ServedModel& model, RealtimeSettings& settings) {
  const Json* voice = fields.find("voice");
  if (voice == nullptr) return;
  if (!voice->is_string()) bad_field(fields.path("voice"), "must be a name; voice_clip takes a sound");
  const std::string name = voice->get<std::string>().substr(0, 100);
  settings.voice_name = name;
  if (name == "default") settings.voice = nullptr;
  if (auto clip = voice_clip(model, name)) settings.voice = shared_clip(std::move(*clip));
}

void read_clip(const Fields& fields, MediaReader& media, RealtimeSettings& settings) {
  const auto it = fields.json().find("voice_clip");
  if (it == fields.json().end()) return;
  settings.voice = nullptr;
  if (it->is_null()) return;
  const std::string path = fields.path("voice_clip"), text = fields.required_string("voice_clip");
  const std::string bytes = text.starts_with("data:") ? media.from_data_url(text, path) : media.from_base64(text, path);
  settings.voice = shared_clip(*media.sound(bytes, path).sound);
}

/// audio.input.format and audio.output.format of the present form.
void read_format(const Fields& fields, int* rate) {
  const auto format = fields.object("format");
  if (!format) return;
  check_fields(*format, {{"type", "rate"}, {}, {}});
  if (format->required_string("type") != "audio/pcm") bad_field(format->path("type"), "must be audio/pcm");
  const int least = rate != nullptr ? kLeastRate : 24000, most = rate != nullptr ? kMostRate : 24000;
  const auto given = format->integer("rate", least, most);
  if (rate != nullptr && given) *rate = static_cast<int>(*given);
}

void read_audio(const Fields& audio, const ServedModel& model, RealtimeSettings& settings) {
  check_fields(audio, {{"input", "output"}, {}, {}});
  if (const auto input = audio.object("input")) {
    check_fields(*input, {{"format", "turn_detection"}, {"transcription", "noise_reduction"}, {}});
    read_format(*input, &settings.input_rate);
    read_turn_detection(*input, settings);
  }
  if (const auto output = audio.object("output")) {
    check_fields(*output, {{"format", "voice", "speed"}, {}, {}});
    read_format(*output, nullptr);
    read_voice(*output, model, settings);
    if (output->number("speed", 0, 100).value_or(1) != 1) bad_field(output->path("speed"), "must be 1");
  }
}

void read_beta_formats(const Fields& fields, RealtimeSettings& settings) {
  for (const char* key : {"input_audio_format", "output_audio_format"}) {
    if (const auto format = fields.string(key); format && *format != "pcm16")
      bad_field(fields.path(key), "must be pcm16");
  }
  if (const auto rate = fields.integer("input_audio_rate", kLeastRate, kMostRate)) {
    settings.input_rate = static_cast<int>(*rate);
  }
}

void check_session_fields(const Fields& session) {
  check_fields(
      session,
      {{"type", "instructions", "output_modalities", "modalities", "max_output_tokens", "max_response_output_tokens",
        "temperature", "audio", "voice", "voice_clip", "mode", "language", "hd", "input_audio_format",
        "output_audio_format", "input_audio_rate", "turn_detection"},
       {"id", "object", "model", "tool_choice", "parallel_tool_calls", "tracing", "include", "truncation",
        "input_audio_transcription", "input_audio_noise_reduction", "reasoning", "expires_at", "client_secret"},
       {"tools", "prompt", "speed"}});
}

Json turn_detection_json(const RealtimeSettings& settings) {
  if (!settings.detect_turns) return nullptr;
  return {{"type", "server_vad"},
          {"threshold", settings.threshold},
          {"silence_duration_ms", settings.silence_ms},
          {"interrupt_response", settings.interrupt},
          {"create_response", settings.answer}};
}

/// The window is judged as a whole, so that it has to hold the silence that ends a turn.
TurnParams turn_params(const RealtimeSettings& settings) {
  TurnParams params;
  const double silence = settings.silence_ms / 1000;
  params.threshold = static_cast<float>(settings.threshold);
  params.release = std::min(params.release, params.threshold / 2);
  params.min_silence = std::min(params.min_silence, silence);
  params.window = std::max(params.window, silence + params.end_speech);
  params.end_speech = params.window - silence;
  return params;
}

}  // namespace

std::optional<std::optional<int64_t>> read_max_tokens(const Fields& fields, std::string_view key) {
  const Json* value = fields.find(key);
  if (value == nullptr) return std::nullopt;
  if (*value == "inf") return std::optional<int64_t>();
  if (!value->is_number_integer()) bad_field(fields.path(key), "must be \"inf\" or a whole number");
  return fields.integer(key, 1, kMostTokens);
}

std::optional<bool> read_modalities(const Fields& fields, std::string_view key) {
  if (!fields.has(key)) return std::nullopt;
  bool text = false, audio = false;
  for (const std::string& one : fields.strings(key)) {
    text |= one == "text";
    audio |= one == "audio";
    if (one != "text" && one != "audio") bad_field(fields.path(key), "knows \"text\" and \"audio\"");
  }
  if (!text && !audio) bad_field(fields.path(key), "must not be empty");
  return audio;
}

void RealtimeSettings::update(const Fields& session, const ServedModel& model, MediaReader& media) {
  check_session_fields(session);
  if (session.string("type").value_or("realtime") != "realtime") {
    bad_field(session.path("type"), "must be realtime");
  }
  RealtimeSettings next = *this;
  if (const auto text = session.string("instructions")) {
    if (text->size() > kMostInstructions) {
      bad_field(session.path("instructions"), "has more than {} bytes", kMostInstructions);
    }
    next.instructions = *text;
  }
  next.speak = read_modalities(session, "output_modalities").value_or(next.speak);
  next.speak = read_modalities(session, "modalities").value_or(next.speak);
  next.max_tokens = read_max_tokens(session, "max_output_tokens").value_or(next.max_tokens);
  next.max_tokens = read_max_tokens(session, "max_response_output_tokens").value_or(next.max_tokens);
  if (const auto value = session.number("temperature", 0, 2)) next.temperature = value;
  if (const auto value = session.string("mode")) next.mode = omni_mode(*value);
  if (const auto value = session.string("language")) next.language = omni_language(*value);
  next.hd = session.boolean("hd").value_or(next.hd);
  if (const auto audio = session.object("audio")) read_audio(*audio, model, next);
  read_voice(session, model, next);
  read_clip(session, media, next);
  read_beta_formats(session, next);
  read_turn_detection(session, next);
  *this = std::move(next);
}

Json session_json(const RealtimeSettings& settings, RealtimeDialect dialect, const std::string& id,
                  const std::string& model) {
  const Json most = settings.max_tokens ? Json(*settings.max_tokens) : Json("inf");
  Json json = {{"id", id},
               {"object", "realtime.session"},
               {"model", model},
               {"instructions", settings.instructions},
               {"tools", Json::array()},
               {"tool_choice", "none"},
               {"mode", name(settings.mode)},
               {"language", settings.language == OmniLanguage::kEnglish ? "en" : "zh"},
               {"hd", settings.hd},
               {"voice_clip", settings.voice != nullptr}};
  if (settings.temperature) json["temperature"] = *settings.temperature;
  if (dialect == RealtimeDialect::kBeta) {
    json["modalities"] = settings.speak ? Json::array({"text", "audio"}) : Json::array({"text"});
    json["voice"] = settings.voice_name;
    json["input_audio_format"] = json["output_audio_format"] = "pcm16";
    json["input_audio_rate"] = settings.input_rate;
    json["input_audio_transcription"] = nullptr;
    json["turn_detection"] = turn_detection_json(settings);
    json["max_response_output_tokens"] = most;
    return json;
  }
  json["type"] = "realtime";
  json["output_modalities"] = settings.speak ? Json::array({"audio"}) : Json::array({"text"});
  json["max_output_tokens"] = most;
  json["audio"] = {
      {"input",
       {{"format", {{"type", "audio/pcm"}, {"rate", settings.input_rate}}},
        {"transcription", nullptr},
        {"noise_reduction", nullptr},
        {"turn_detection", turn_detection_json(settings)}}},
      {"output", {{"format", {{"type", "audio/pcm"}, {"rate", 24000}}}, {"voice", settings.voice_name}, {"speed", 1}}}};
  return json;
}

OmniConfig omni_config(const RealtimeSettings& settings, const OmniConfig& base) {
  OmniConfig config = base;
  config.role.mode = settings.mode;
  config.role.language = settings.language;
  config.role.voice = settings.voice;
  config.role.instruction = settings.instructions;
  config.hd = settings.hd;
  config.speak = settings.speak;
  config.detect_turns = settings.detect_turns;
  config.answer_turns = settings.answer;
  config.while_answering = settings.interrupt ? WhileAnswering::kListen : WhileAnswering::kIgnore;
  config.turns = turn_params(settings);
  if (settings.temperature) {
    config.sampling.do_sample = *settings.temperature > 0;
    if (*settings.temperature > 0) config.sampling.temperature = static_cast<float>(*settings.temperature);
  }
  // An answer may take a quarter of the context.
  const int64_t most = std::min(kMostTokens, config.context_limit / 4);
  config.sampling.max_tokens = static_cast<int>(std::min(most, settings.max_tokens.value_or(most)));
  return config;
}

}  // namespace minicpm::server

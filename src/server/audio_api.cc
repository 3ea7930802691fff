#include "server/audio_api.h"

#include <algorithm>

#include "base/error.h"
#include "engine/transcript.h"
#include "media/log_mel.h"
#include "models/loaded_model.h"
#include "server/multipart.h"

namespace minicpm::server {
namespace {

constexpr double kTextWindow = 30, kSubtitleWindow = 10;  // seconds that are heard at once
constexpr int kMaxTokens = 512;                           // of one part; fast speech has about 8 a second

struct Call {
  const ServedModel* model = nullptr;
  std::string_view file;
  std::string instruction;
  std::string language = "en";
  std::string format = "json";
};

Call read_call(ApiContext& context, const HttpRequest& request) {
  Call call;
  std::string name, prompt;
  bool has_file = false;
  for (const FormField& field : parse_form(request.header("content-type"), request.body)) {
    const std::string value(field.name == "file" ? std::string_view() : field.value.substr(0, 10'000));
    if (field.name == "file") {
      call.file = field.value;
      has_file = true;
    } else if (field.name == "model") {
      name = value;
    } else if (field.name == "language") {
      call.language = value;
    } else if (field.name == "prompt") {
      prompt = value;
    } else if (field.name == "response_format") {
      call.format = value;
    } else if (field.name == "stream") {
      if (value != "false") throw ApiError(400, "stream: not supported by this server", "stream", "unsupported_field");
    } else if (field.name != "temperature" && !field.name.starts_with("timestamp_granularities")) {
      throw ApiError(400, field.name.substr(0, 100) + ": unknown field", field.name.substr(0, 100), "unknown_field");
    }
  }
  if (!has_file) bad_field("file", "is missing");
  constexpr std::string_view kFormats[] = {"json", "text", "srt", "vtt", "verbose_json"};
  if (std::ranges::find(kFormats, call.format) == std::end(kFormats)) {
    bad_field("response_format", "must be json, text, srt, vtt or verbose_json");
  }
  if (call.language != "en" && call.language != "zh") bad_field("language", "must be en or zh");
  call.instruction = prompt.empty() ? transcript_instruction(call.language) : prompt;
  call.model = &context.models.find(name);
  return call;
}

Transcript transcribe(ApiContext& context, Exchange& exchange, const Call& call) {
  Engine& engine = *call.model->engine;
  MediaReader media(context.media, *call.model, exchange.cancelled());
  const ContentPart part = media.sound(std::string(call.file), "file");
  SamplingParams sampling = engine.default_sampling(false, true);
  sampling.do_sample = false;
  sampling.max_tokens = kMaxTokens;
  const std::string scope = context.access.scope(exchange.request());
  const bool subtitles = call.format == "srt" || call.format == "vtt";
  const auto window = static_cast<int64_t>((subtitles ? kSubtitleWindow : kTextWindow) * kAudioRate);
  Transcript transcript{"", static_cast<double>(part.sound->size()) / kAudioRate, {}};
  for (const SoundCut& cut : cut_sound(*part.sound, kAudioRate, window)) {
    transcript.segments.push_back(
        transcribe_part(engine, *part.sound, cut, call.instruction, sampling, &exchange.cancelled(), scope));
  }
  return transcript;
}

std::string plain_text(const Transcript& transcript) {
  std::string text = transcript_text(transcript);
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

Json verbose_json(const Call& call, const Transcript& transcript) {
  Json segments = Json::array();
  for (const TranscriptSegment& segment : transcript.segments) {
    segments.push_back(
        {{"id", segments.size()}, {"start", segment.begin}, {"end", segment.end}, {"text", segment.text}});
  }
  return {{"task", "transcribe"},
          {"language", call.language},
          {"duration", transcript.seconds},
          {"text", plain_text(transcript)},
          {"segments", std::move(segments)}};
}

}  // namespace

void openai_transcriptions(ApiContext& context, Exchange& exchange) {
  const Call call = read_call(context, exchange.request());
  exchange.note.model = call.model->name;
  const Transcript transcript = transcribe(context, exchange, call);
  const auto send_text = [&](std::string text, const char* type) {
    exchange.send({.content_type = type, .body = std::move(text)});
  };
  if (call.format == "text") return send_text(transcript_text(transcript), "text/plain; charset=utf-8");
  if (call.format == "srt") return send_text(transcript_srt(transcript), "application/x-subrip; charset=utf-8");
  if (call.format == "vtt") return send_text(transcript_vtt(transcript), "text/vtt; charset=utf-8");
  send_json(exchange, call.format == "json" ? Json{{"text", plain_text(transcript)}} : verbose_json(call, transcript));
}

}  // namespace minicpm::server

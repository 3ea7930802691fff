#include "server/speech_api.h"

#include <random>

#include "base/error.h"
#include "engine/audio_modes.h"
#include "media/sound_writer.h"
#include "media/vocoder_mel.h"
#include "media/wav.h"
#include "server/voices.h"

namespace minicpm::server {
namespace {

constexpr size_t kMaxTextBytes = 16'384;

struct Call {
  const ServedModel* model = nullptr;
  std::string text;
  ChatRequest voice;
  const SoundKind* format = nullptr;
  SpeechOptions speech;
};

Call read_call(const Fields& body, const ServedModel& model, MediaReader& media) {
  check_fields(body, {{"model", "input", "voice", "instructions", "response_format", "speed", "seed", "language",
                       "stream_format"},
                      {},
                      {}});
  Call call;
  call.model = &model;
  call.text = body.required_string("input");
  if (call.text.size() > kMaxTextBytes) bad_field(body.path("input"), "is longer than {} bytes", kMaxTextBytes);
  if (call.text.find_first_not_of(" \t\r\n") == std::string::npos) bad_field(body.path("input"), "is empty");
  const std::string format = body.string("response_format").value_or("mp3");
  call.format = find_sound_kind(format);
  if (call.format == nullptr || format == "pcm16") {
    bad_field(body.path("response_format"), "must be mp3, wav, flac, opus, aac, ogg or pcm");
  }
  if (body.number("speed", 0.25, 4).value_or(1) != 1) bad_field(body.path("speed"), "only 1 is supported");
  if (body.string("stream_format").value_or("audio") != "audio") bad_field(body.path("stream_format"), "must be audio");
  const auto seed = body.integer("seed", INT64_MIN, INT64_MAX);
  call.speech.seed = seed ? static_cast<uint64_t>(*seed) : std::random_device()();
  call.speech.streaming = !call.format->file;
  const std::string language = body.string("language").value_or("en");
  if (language != "en" && language != "zh") bad_field(body.path("language"), "must be en or zh");
  const std::string description = body.string("instructions").value_or("");
  if (!description.empty() && body.has("voice") && *body.find("voice") != "default") {
    bad_field(body.path("instructions"), "goes with the default voice only");
  }
  const auto clip = read_voice(body, model, media);
  call.voice = reading_request(call.text, prompt_language(language), {clip ? &*clip : nullptr, description});
  return call;
}

/// Raw samples are sent as they are made.
void speak_raw(Exchange& exchange, const Call& call, SpeechMaker& maker, std::span<const float> voice) {
  PieceStream stream(exchange, std::string(call.format->content_type));
  const auto result = maker.say(
      call.text, voice, call.speech, [&](std::span<const float> part) { stream.write(pcm16(part)); },
      &exchange.cancelled());
  if (result.segments == 0) bad_field("input", "holds nothing that can be spoken");
  stream.end();
}

void speak_whole(Exchange& exchange, const Call& call, SpeechMaker& maker, std::span<const float> voice) {
  std::vector<float> samples;
  const auto take = [&](std::span<const float> part) { samples.insert(samples.end(), part.begin(), part.end()); };
  const auto result = maker.say(call.text, voice, call.speech, take, &exchange.cancelled());
  if (result.segments == 0) bad_field("input", "holds nothing that can be spoken");
  exchange.send({.content_type = std::string(call.format->content_type),
                 .body = encode_sound(samples, static_cast<int>(kSpeechRate), *call.format->file)});
}

}  // namespace

void openai_speech(ApiContext& context, Exchange& exchange) {
  const Json json = parse_body(exchange.request().body);
  const Fields body(json);
  const ServedModel& model = context.models.find(body.string("model").value_or(""));
  exchange.note.model = model.name;
  MediaReader media(context.media, model, exchange.cancelled());
  Call call = read_call(body, model, media);
  call.voice.cache_scope = context.access.scope(exchange.request());
  const Speakers::Turn turn = context.speakers.turn(model, exchange.cancelled());
  const std::vector<float> voice = model.engine->speaker_state(call.voice);
  call.format->file ? speak_whole(exchange, call, *turn.maker, voice) : speak_raw(exchange, call, *turn.maker, voice);
}

}  // namespace minicpm::server

#include "server/spoken_chat.h"

#include <algorithm>
#include <mutex>

#include "base/base64.h"
#include "engine/audio_modes.h"
#include "engine/speech_thread.h"
#include "media/vocoder_mel.h"
#include "media/wav.h"

namespace minicpm::server {
namespace {

/// Sounds are not kept: they have expired when they are sent.
int64_t expiry() {
  return unix_time();
}

bool wants_sound(const Fields& body) {
  bool sound = false;
  for (const std::string& modality : body.strings("modalities")) {
    if (modality != "text" && modality != "audio")
      bad_field(body.path("modalities"), "must be text, or text and audio");
    sound |= modality == "audio";
  }
  return sound;
}

void check_settings(const Fields& body) {
  for (const char* key : {"tools", "response_format", "logprobs", "num_beams"}) {
    if (body.has(key)) bad_field(body.path(key), "does not go with audio answers");
  }
  if (body.integer("n", 1, 8).value_or(1) > 1) bad_field(body.path("n"), "must be 1 for audio answers");
}

/// An answer that is being spoken. The sound comes on a thread of its own.
class SpokenAnswer {
 public:
  SpokenAnswer(ApiContext& context, Exchange& exchange, const OpenAiChat& call,
               std::function<void(std::span<const float>)> on_samples)
      : turn_(context.speakers.turn(*call.model, exchange.cancelled())),
        thread_(turn_.maker->stream(speaker(context, exchange, call), options(call), std::move(on_samples),
                                    &exchange.cancelled())) {}

  void push(const TextDelta& delta) {
    if (!delta.reasoning) thread_.push(delta.text);
  }
  SpeechResult finish() { return thread_.finish(); }

 private:
  static std::vector<float> speaker(const ApiContext& context, const Exchange& exchange, const OpenAiChat& call) {
    ChatRequest request = call.chat;
    request.cache_scope = context.access.scope(exchange.request());
    request.priority = priority_of(exchange);
    return call.model->engine->speaker_state(request);
  }
  static SpeechOptions options(const OpenAiChat& call) {
    SpeechOptions speech;
    speech.seed = call.chat.sampling.seed;
    return speech;
  }

  const Speakers::Turn turn_;
  SpeechThread thread_;
};

Json usage_with_sound(const OpenAiChat& call, const ChatResult& result, const SpeechResult& speech) {
  Json usage = chat_usage(call, {&result, 1});
  usage["completion_tokens_details"]["audio_tokens"] = speech.frames;
  return usage;
}

void speak_whole(ApiContext& context, Exchange& exchange, const OpenAiChat& call) {
  std::vector<float> samples;
  SpokenAnswer spoken(context, exchange, call,
                      [&](std::span<const float> part) { samples.insert(samples.end(), part.begin(), part.end()); });
  const ChatResult result =
      answer(context, exchange, *call.model, call.chat, [&](const TextDelta& delta) { spoken.push(delta); });
  const SpeechResult speech = spoken.finish();
  const SoundKind& kind = *call.spoken->kind;
  const std::string sound = samples.empty() ? std::string()
                            : kind.file     ? encode_sound(samples, static_cast<int>(kSpeechRate), *kind.file)
                                            : pcm16(samples);
  Json message = {{"role", "assistant"}, {"content", nullptr}, {"refusal", nullptr}};
  if (result.reasoning) message["reasoning_content"] = *result.reasoning;
  message["audio"] = {{"id", answer_id("audio_", exchange)},
                      {"data", encode_base64(sound)},
                      {"expires_at", expiry()},
                      {"transcript", result.text}};
  Json body = chat_envelope(context, exchange, call);
  body["choices"].push_back({{"index", 0},
                             {"message", std::move(message)},
                             {"logprobs", nullptr},
                             {"finish_reason", name(result.finish_reason)}});
  body["usage"] = usage_with_sound(call, result, speech);
  send_json(exchange, body);
}

/// The chunks of a streamed answer; two threads send them.
class SpokenChunks {
 public:
  SpokenChunks(ApiContext& context, Exchange& exchange, const OpenAiChat& call)
      : call_(call),
        id_(answer_id("audio_", exchange)),
        stream_(exchange, kEventStream),
        chunk_(chat_envelope(context, exchange, call)) {}

  void text(const TextDelta& delta) {
    if (delta.reasoning) return send({{"reasoning_content", delta.text}});
    send({{"audio", {{"id", id_}, {"transcript", delta.text}}}});
  }
  void sound(std::span<const float> samples) {
    send({{"audio", {{"id", id_}, {"data", encode_base64(pcm16(samples))}}}});
  }
  void finish(const ChatResult& result, const SpeechResult& speech) {
    send({{"audio", {{"id", id_}, {"expires_at", expiry()}}}});
    send(Json::object(), name(result.finish_reason));
    if (call_.include_usage) {
      chunk_["choices"] = Json::array();
      chunk_["usage"] = usage_with_sound(call_, result, speech);
      stream_.event(chunk_);
    }
    stream_.write("data: [DONE]\n\n");
    stream_.end();
  }

 private:
  void send(Json delta, const Json& finish = nullptr) {
    const std::scoped_lock lock(mutex_);
    if (!std::exchange(begun_, true)) write({{"role", "assistant"}, {"content", nullptr}}, nullptr);
    write(std::move(delta), finish);
  }
  void write(Json delta, const Json& finish) {
    chunk_["choices"] =
        Json::array({{{"index", 0}, {"delta", std::move(delta)}, {"logprobs", nullptr}, {"finish_reason", finish}}});
    stream_.event(chunk_);
  }

  const OpenAiChat& call_;
  const std::string id_;
  std::mutex mutex_;  // guards what follows
  PieceStream stream_;
  Json chunk_;
  bool begun_ = false;
};

void speak_streamed(ApiContext& context, Exchange& exchange, const OpenAiChat& call) {
  SpokenChunks chunks(context, exchange, call);
  SpokenAnswer spoken(context, exchange, call, [&](std::span<const float> part) { chunks.sound(part); });
  const ChatResult result = answer(context, exchange, *call.model, call.chat, [&](const TextDelta& delta) {
    chunks.text(delta);
    spoken.push(delta);
  });
  const SpeechResult speech = spoken.finish();
  chunks.finish(result, speech);
}

}  // namespace

std::optional<SpokenSettings> read_spoken(const Fields& body, const ServedModel& model, MediaReader& media) {
  if (!wants_sound(body)) {
    if (body.has("audio")) bad_field(body.path("audio"), "goes with modalities that have audio only");
    return std::nullopt;
  }
  check_speaks(model, body.path("modalities"));
  check_settings(body);
  const bool stream = body.boolean("stream").value_or(false);
  const Json none = Json::object();
  const Fields audio = body.object("audio").value_or(Fields(none, body.path("audio")));
  check_fields(audio, {{"voice", "format", "language"}, {}, {}});
  SpokenSettings settings;
  const std::string format = audio.string("format").value_or(stream ? "pcm16" : "wav");
  settings.kind = find_sound_kind(format);
  if (settings.kind == nullptr || format == "pcm") {
    bad_field(audio.path("format"), "must be wav, mp3, flac, opus, aac, ogg or pcm16");
  }
  if (stream && settings.kind->file) bad_field(audio.path("format"), "must be pcm16 with stream");
  settings.language = audio.string("language").value_or("en");
  if (settings.language != "en" && settings.language != "zh") bad_field(audio.path("language"), "must be en or zh");
  settings.clip = read_voice(audio, model, media);
  return settings;
}

void ask_for_speech(ChatRequest& chat, const SpokenSettings& settings) {
  const bool instructed = !chat.messages.empty() && chat.messages.front().role == "system";
  chat.messages.insert(chat.messages.begin() + (instructed ? 1 : 0),
                       voice_message(audio_mode("audio-assistant"), prompt_language(settings.language),
                                     settings.clip ? &*settings.clip : nullptr));
  chat.speech = true;
}

void speak_answer(ApiContext& context, Exchange& exchange, const OpenAiChat& call) {
  exchange.note.model = call.model->name;
  call.stream ? speak_streamed(context, exchange, call) : speak_whole(context, exchange, call);
}

}  // namespace minicpm::server

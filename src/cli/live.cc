// `live`: a conversation that is heard and seen as it happens, and answered aloud.
#include <fmt/format.h>

#include <thread>

#include "base/error.h"
#include "cli/live_sink.h"
#include "cli/live_source.h"
#include "cli/request.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "cli/voice.h"
#include "engine/omni_parts.h"
#include "media/log_mel.h"
#include "media/sound.h"
#include "models/loaded_model.h"

namespace minicpm::cli {
namespace {

constexpr int kAnswerTokens = 512;  // most, as in the official demonstration
constexpr int64_t kContext = 8192;  // tokens, likewise

LiveInput live_input(const Options& options) {
  LiveInput input{options.audio_in, options.video_in, options.realtime};
  if (input.sound.empty() && input.pictures.empty()) input.sound = "microphone";
  if (input.sound.empty() && is_device(input.pictures)) input.sound = "microphone";
  return input;
}

bool from_files(const LiveInput& input) {
  return !is_device(input.sound);
}

std::string speech_target(const Options& options, const LiveInput& input) {
  if (!options.audio_out.empty()) return options.audio_out == "none" ? "" : options.audio_out;
  return from_files(input) ? "" : "speaker";
}

bool is_speaker(const std::string& target) {
  return target == "speaker" || target.starts_with("alsa:");
}

OmniRole role_of(const Options& options, const LiveInput& input) {
  OmniRole role;
  role.mode = options.mode.empty() ? (input.pictures.empty() ? OmniMode::kAssistant : OmniMode::kOmni)
                                   : omni_mode(options.mode);
  if (!options.language.empty()) role.language = omni_language(options.language);
  if (options.system) role.instruction = *options.system;
  std::optional<std::vector<float>> clip = voice_clip(options);
  if (!clip) return role;
  if (clip->size() > static_cast<size_t>(kMaxMelSamples)) {
    note(fmt::format("{}: the first 30 seconds are the voice\n", one_line(options.voice)));
    clip->resize(static_cast<size_t>(kMaxMelSamples));
  }
  role.voice = std::make_shared<const std::vector<float>>(*std::move(clip));
  return role;
}

OmniConfig omni_config(const Options& options, const LiveInput& input, bool echo_free) {
  OmniConfig config;
  config.role = role_of(options, input);
  config.hd = options.hd;
  if (!options.hear_silence.empty()) config.hear_silence = options.hear_silence == "on";
  const bool waits = from_files(input) && !options.realtime;
  const bool barge_in = options.barge_in.empty() ? echo_free : options.barge_in == "on";
  config.while_answering =
      waits ? WhileAnswering::kWait : (barge_in ? WhileAnswering::kListen : WhileAnswering::kIgnore);
  if (options.vad_threshold) config.turns.threshold = static_cast<float>(*options.vad_threshold);
  if (options.idle) config.idle_seconds = *options.idle;
  if (options.when_full == "reset") config.when_full = WhenFull::kReset;
  return config;
}

Json timings_json(const OmniTimings& t) {
  return {{"capture_ms", t.capture_ms},
          {"encode_ms", t.encode_ms},
          {"prefill_ms", t.prefill_ms},
          {"first_text_ms", t.first_text_ms},
          {"first_audio_ms", t.first_audio_ms},
          {"answer_ms", t.answer_ms},
          {"units", t.units},
          {"heard_seconds", t.heard_seconds},
          {"spoken_seconds", t.spoken_seconds},
          {"perceive_ms", t.perceive_ms},
          {"think_ms", t.think_ms},
          {"speak_ms", t.speak_ms},
          {"tokens", t.tokens},
          {"context_tokens", t.context_tokens}};
}

Json event_json(const OmniEvent& event) {
  Json json = {{"event", name(event.kind)}};
  if (event.turn > 0) json["turn"] = event.turn;
  if (!event.text.empty()) json["text"] = event.text;
  if (!event.samples.empty()) json["samples"] = event.samples.size();
  if (event.count > 0) json["tokens"] = event.count;
  if (event.kind == OmniEvent::Kind::kAnswerEnds) {
    json["finish_reason"] = name(event.finish_reason);
    if (event.finish_reason != FinishReason::kCancelled) json["timings"] = timings_json(event.timings);
  }
  return json;
}

std::string latency_text(const OmniEvent& event) {
  const OmniTimings& t = event.timings;
  std::string text = fmt::format(
      "turn {}: {:.1f} s heard in {} units | capture {:.0f} ms, encode {:.0f} ms, prefill {:.0f} ms | first text "
      "{:.0f} ms",
      event.turn, t.heard_seconds, t.units, t.capture_ms, t.encode_ms, t.prefill_ms, t.first_text_ms);
  if (t.spoken_seconds > 0) text += fmt::format(", first sound {:.0f} ms", t.first_audio_ms);
  text += fmt::format(" | {} tokens, {:.1f} s spoken | real-time factors: perceive {:.2f}", t.tokens, t.spoken_seconds,
                      t.perceive_factor());
  if (t.spoken_seconds > 0) text += fmt::format(", speak {:.2f}", t.speak_factor());
  return text + fmt::format(" | context {}\n", t.context_tokens);
}

/// Shows what comes out of a session, and hands the sound on.
class Listener {
 public:
  Listener(const Options& options, LiveSink* sink) : options_(options), sink_(sink) {}

  void take(const OmniEvent& event) {
    using Kind = OmniEvent::Kind;
    if (event.kind == Kind::kAudio && sink_ != nullptr) sink_->take(event.samples);
    if (event.kind == Kind::kSilence && sink_ != nullptr) sink_->silence();
    if (event.kind == Kind::kTurnEnds) answering_ = true;
    if (event.kind == Kind::kAnswerEnds) answering_ = false;
    if (event.kind == Kind::kError) failed_ = exit_code(event.error);
    if (options_.json) {
      print(event_json(event).dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
    } else {
      show(event);
    }
    flush_output();
    const bool complete = event.kind == Kind::kAnswerEnds && event.finish_reason != FinishReason::kCancelled;
    if (complete && options_.verbose) note(latency_text(event));
  }
  bool answering() const { return answering_; }
  int failed() const { return failed_; }

 private:
  void show(const OmniEvent& event) {
    switch (event.kind) {
      case OmniEvent::Kind::kText:
        print(printable(event.text));
        break;
      case OmniEvent::Kind::kAnswerEnds:
        print(event.finish_reason == FinishReason::kCancelled ? " ...\n" : "\n");
        break;
      case OmniEvent::Kind::kError:
        print_error(event.text);
        break;
      case OmniEvent::Kind::kForgotten:
        if (options_.verbose) note(fmt::format("the oldest {} tokens are forgotten\n", event.count));
        break;
      case OmniEvent::Kind::kReady:
        if (options_.verbose) note(fmt::format("ready; the first message has {} tokens\n", event.count));
        break;
      case OmniEvent::Kind::kClosed:
        if (event.text == "idle") note("nothing came for a long time: the session has ended\n");
        break;
      default:
        break;
    }
  }

  const Options& options_;
  LiveSink* sink_;
  bool answering_ = false;
  int failed_ = kExitOk;
};

/// Until the files are at their end, the session closes, or Ctrl-C comes while nothing is answered.
int converse(OmniSession& session, LiveSource& source, Listener& listener) {
  const AtPrompt interruptible;
  bool interrupted = false, started = false;
  for (;;) {
    const std::optional<OmniEvent> event = session.next_event(std::chrono::milliseconds(50));
    if (event) listener.take(*event);
    if (event && !std::exchange(started, true)) source.start(session);  // the first says that it is ready, or why not
    if (event && event->kind == OmniEvent::Kind::kClosed) break;
    if (AtPrompt::take_interrupt()) {
      if (!listener.answering()) {
        interrupted = true;
        session.close();
      } else {
        session.interrupt();
      }
    }
    if (const std::string error = source.error(); !error.empty()) fail(ErrorCode::kIo, "{}", error);
  }
  return interrupted && !source.endless() ? kExitInterrupted : listener.failed();
}

void check_options(const Options& options, const std::string& target) {
  check_sampling(options);
  if (!target.empty() && !is_speaker(target)) {
    if (target == "-") fail(ErrorCode::kInvalidRequest, "--audio-out needs a file: standard output has the text");
    check_speech_target(target);
  }
  if (options.vad == "off" && !options.vad_threshold && options.barge_in == "on") {
    fail(ErrorCode::kInvalidRequest, "--barge-in on needs a voice detector (--vad)");
  }
}

/// What a session needs beside its parts, in the order in which it must not end.
struct Ends {
  std::unique_ptr<OmniSession> session;
  std::unique_ptr<LiveSink> sink;
  std::unique_ptr<LiveSource> source;
  ~Ends() {
    if (session != nullptr) session->close();  // lets the source go
    source = nullptr;
    sink = nullptr;
  }
};

int run_session(Ends& ends, OmniParts parts, const OmniConfig& config, const Options& options,
                const std::string& target, EchoCanceller* echo) {
  if (is_speaker(target)) {
    const std::string device = target == "speaker" ? "default" : target.substr(5);
    ends.sink = make_speaker_sink(device, echo, [&](int64_t samples) { ends.session->played(samples); });
  } else if (!target.empty()) {
    ends.sink = make_file_sink(target);
  }
  ends.session = OmniSession::open(std::move(parts), config);
  Listener listener(options, ends.sink.get());
  const int code = converse(*ends.session, *ends.source, listener);
  if (ends.sink != nullptr) ends.sink->finish();
  return code;
}

}  // namespace

int run_live(const Options& options) {
  const LiveInput input = live_input(options);
  const std::string target = speech_target(options, input);
  check_options(options, target);
  const bool speaker = is_speaker(target), open_air = speaker && !from_files(input);
  const std::unique_ptr<EchoCanceller> echo = open_air && options.echo != "off" ? make_echo_canceller() : nullptr;
  OmniConfig config = omni_config(options, input, !open_air || echo != nullptr);
  config.reports_playback = speaker;
  auto source = std::make_unique<LiveSource>(input, echo.get());

  const auto engine = Engine::load(model_spec(options), engine_options(options));
  const auto maker = target.empty() ? nullptr : load_speech(options);
  config.context_limit = std::min(options.context.value_or(kContext), engine->model().config().decoder.max_positions);
  const uint64_t seed = choose_seed(options);
  config.sampling = sampling_params(options, *engine, false, seed);
  if (!options.max_tokens) config.sampling.max_tokens = kAnswerTokens;
  OmniPartsOptions settings;
  settings.backend = engine_options(options).backend;
  settings.precision = engine_options(options).precision;
  settings.speech = speech_options(options, seed);
  settings.detector = options.vad.empty() ? "auto" : options.vad;
  const Processor processor(engine->model().config(), *engine->model().tokenizer());

  Ends ends;
  ends.source = std::move(source);
  return run_session(ends, make_omni_parts(*engine, processor, maker.get(), settings), config, options, target,
                     echo.get());
}

}  // namespace minicpm::cli

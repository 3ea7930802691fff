#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "base/error.h"
#include "cli/answer_printer.h"
#include "cli/chat.h"
#include "cli/media.h"
#include "cli/request.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "cli/voice.h"
#include "engine/audio_modes.h"
#include "engine/chat.h"

namespace minicpm::cli {
namespace {

// Tokens of the context for question and answer when videos decide its size.
constexpr int64_t kRoomBesideVideos = 4096;

[[noreturn]] void unsupported(std::string_view flag) {
  fail(ErrorCode::kInvalidRequest, "{} is not supported by this build yet", flag);
}

/// A mode asks a question of its own, or takes a sound for one.
bool is_one_shot(const Options& options) {
  return options.prompt || !options.prompt_file.empty() || !options.mode.empty();
}

/// What --speak, --mode and --voice need of each other.
void check_speech(const Options& options) {
  if (!options.speak.empty()) {
    check_speech_target(options.speak);
    if (options.speak == "-") fail(ErrorCode::kInvalidRequest, "--speak needs a file: standard output has the answer");
    if (!is_one_shot(options)) fail(ErrorCode::kInvalidRequest, "--speak needs a question (-p or -f)");
  } else if (options.check_speech || options.hold_first || !options.numbers.empty()) {
    fail(ErrorCode::kInvalidRequest, "--check-speech, --hold-first and --numbers go with --speak");
  }
  if (!options.voice.empty()) {
    if (options.mode.empty() && options.speak.empty()) {
      fail(ErrorCode::kInvalidRequest, "--voice goes with --speak or --mode");
    }
    if (!options.mode.empty() && !audio_mode(options.mode).has_voice()) {
      fail(ErrorCode::kInvalidRequest, "--mode {} takes no --voice", options.mode);
    }
  }
  if (!options.language.empty() && options.mode.empty() && options.speak.empty()) {
    fail(ErrorCode::kInvalidRequest, "--language goes with --mode or --speak");
  }
}

void check_options(const Options& options) {
  if (options.prompt && !options.prompt_file.empty()) {
    fail(ErrorCode::kInvalidRequest, "--prompt and --file exclude each other");
  }
  int readers = (options.prompt == "-" || options.prompt_file == "-") ? 1 : 0;
  for (const MediaFile& media : options.media) {
    if (media.kind == MediaFile::Kind::kPdf) unsupported("--pdf");
    readers += media.file == "-" ? 1 : 0;
  }
  video_sampling(options);
  check_speech(options);
  if (readers > 1) fail(ErrorCode::kInvalidRequest, "standard input (`-`) can be read for one thing only");
  const bool one_shot = is_one_shot(options);
  if (readers == 1 && !one_shot) {
    fail(ErrorCode::kInvalidRequest, "a file from standard input needs a question (-p): a chat reads its lines there");
  }
  if (options.json && !one_shot) fail(ErrorCode::kInvalidRequest, "--json needs a question (-p or -f)");
  if (!options.json_schema.empty() && !one_shot) {
    fail(ErrorCode::kInvalidRequest, "--json-schema needs a question (-p or -f)");
  }
  check_sampling(options);
}

Json result_json(const Options& options, const ChatResult& result, uint64_t seed) {
  const Usage& usage = result.usage;
  const Timings& t = result.timings;
  Json json = {{"text", result.text},
               {"finish_reason", name(result.finish_reason)},
               {"tokens", result.tokens},
               {"seed", seed},
               {"usage",
                {{"prompt_tokens", usage.prompt_tokens},
                 {"completion_tokens", usage.completion_tokens},
                 {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
                 {"cached_tokens", usage.cached_tokens},
                 {"image_tokens", usage.image_tokens},
                 {"audio_tokens", usage.audio_tokens},
                 {"images", usage.images},
                 {"frames", usage.frames},
                 {"slices", usage.slices}}},
               {"timings",
                {{"load_ms", t.load_ms},
                 {"preprocess_ms", t.preprocess_ms},
                 {"vision_ms", t.vision_ms},
                 {"prefill_ms", t.prefill_ms},
                 {"decode_ms", t.decode_ms},
                 {"ttft_ms", t.ttft_ms},
                 {"prefill_tokens_per_second", t.prefill_tokens_per_second},
                 {"decode_tokens_per_second", t.decode_tokens_per_second},
                 {"drafted", t.drafted},
                 {"accepted", t.accepted}}}};
  if (result.reasoning) json["reasoning"] = *result.reasoning;
  if (!options.lora.empty()) json["lora"] = options.lora;
  return json;
}

std::string question(const Options& options) {
  const bool typed = options.prompt && *options.prompt != "-";
  std::string text = typed ? *options.prompt : read_text(options.prompt ? "-" : options.prompt_file);
  // The line end that `echo` and editors put last is not meant as part of the question.
  if (!typed && text.ends_with('\n')) text.pop_back();
  if (text.find_first_not_of(" \t\r\n") != std::string::npos) return text;
  const auto is_sound = [](const MediaFile& media) { return media.kind == MediaFile::Kind::kAudio; };
  if (std::ranges::none_of(options.media, is_sound)) fail(ErrorCode::kInvalidRequest, "the question is empty");
  return "";  // it is spoken
}

/// System message, the message that sets the voice, and the question with its media.
std::vector<Message> messages_of(const Options& options, const std::string& text,
                                 const std::vector<NamedMedia>& media) {
  std::vector<Message> messages;
  if (options.system) messages.push_back({"system", {ContentPart::from_text(*options.system)}});
  const bool spoken = !options.speak.empty();
  if (options.mode.empty() && !spoken) {
    messages.push_back({"user", message_content(media, text)});
    return messages;
  }
  const AudioMode& mode = audio_mode(options.mode.empty() ? "audio-assistant" : options.mode);
  const PromptLanguage language = prompt_language(options.language);
  if (mode.has_voice()) {
    const auto clip = voice_clip(options);
    messages.push_back(voice_message(mode, language, clip ? &*clip : nullptr));
  }
  std::vector<ContentPart> parts;
  for (const NamedMedia& one : media)
    parts.insert(parts.end(), one.parts.begin(), one.parts.end());
  messages.push_back(task_message(mode, language, text, std::move(parts)));
  return messages;
}

int answer_once(Engine& engine, const Options& options, const std::string& text, const std::vector<NamedMedia>& media) {
  const bool thinking = options.think == "on";
  const uint64_t seed = choose_seed(options);
  ChatRequest request;
  request.messages = messages_of(options, text, media);
  request.speech = !options.speak.empty() || !options.mode.empty();
  request.sampling = sampling_params(options, engine, thinking, seed);
  request.stop = options.stop;
  request.thinking = thinking;
  if (!options.json_schema.empty()) {
    request.json_schema = parse_json(read_text(options.json_schema), options.json_schema);
  }
  if (options.max_slices) request.max_slices = static_cast<int>(*options.max_slices);

  AnswerPrinter printer(!options.json && !options.no_stream);
  const Answering answering;
  std::optional<SpokenAnswer> spoken;
  OnDelta on_delta = printer.on_delta();
  if (!options.speak.empty()) {
    spoken.emplace(options, engine.speaker_state(request), seed, answering.cancel());
    on_delta = spoken->on_delta(std::move(on_delta));
  }
  const ChatResult result = engine.chat(request, on_delta, answering.cancel());
  if (options.json) {
    print_json(result_json(options, result, seed));
  } else {
    printer.finish(result);
  }
  if (options.verbose) print_timings(engine, result);
  if (result.finish_reason == FinishReason::kCancelled) return kExitInterrupted;
  if (spoken && spoken->finish().segments == 0) note("there is nothing to speak in the answer\n");
  return kExitOk;
}

/// Whether there is a session to go on with; then the engine must name media as it does. A folder that is missing is
/// told before the answer is made.
bool prepare_session(const Options& options, EngineOptions& settings) {
  if (options.session.empty()) return false;
  const std::filesystem::path file = options.session;
  if (std::filesystem::exists(file)) {
    settings.media_key = session_media_key(file);
    return true;
  }
  if (!file.has_parent_path() || std::filesystem::is_directory(file.parent_path())) return false;
  fail(ErrorCode::kNotFound, "{}: there is no such folder (--session)", file.parent_path().string());
}

}  // namespace

int run_run(const Options& options) {
  check_options(options);
  const bool one_shot = is_one_shot(options);
  const bool asked = options.prompt || !options.prompt_file.empty();
  const std::string text = asked ? question(options) : std::string();
  // Files first: a wrong path is told before a large model is loaded.
  std::vector<OpenedMedia> opened;
  for (const MediaFile& media : options.media)
    opened.push_back(open_media(media.kind, media.file, options));

  EngineOptions settings = engine_options(options);
  settings.default_context = std::max(settings.default_context, video_tokens(opened, options) + kRoomBesideVideos);
  const bool continues = prepare_session(options, settings);
  const auto engine = Engine::load(model_spec(options), settings);
  if (continues) engine->restore_session(options.session, "");
  std::vector<NamedMedia> media;
  for (OpenedMedia& one : opened) {
    media.push_back(decode_media(one, options, *engine));
    one = {};
  }
  const int code =
      one_shot ? answer_once(*engine, options, text, media) : chat_loop(*engine, options, std::move(media));
  if (!options.session.empty()) engine->save_session(options.session, "");
  return code;
}

}  // namespace minicpm::cli

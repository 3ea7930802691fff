// `speak`: a text to a sound file, in the model's own voice, in that of a clip, or in one described in words.
#include <fmt/format.h>

#include "base/error.h"
#include "cli/request.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "cli/voice.h"
#include "engine/audio_modes.h"
#include "media/vocoder_mel.h"

namespace minicpm::cli {
namespace {

std::string text_to_speak(const Options& options) {
  const bool typed = options.prompt && *options.prompt != "-";
  const std::string text = typed ? *options.prompt : read_text(options.prompt_file.empty() ? "-" : options.prompt_file);
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) {
    fail(ErrorCode::kInvalidRequest, "there is nothing to speak in the text");
  }
  return text;
}

ChatRequest request_for(const Options& options, const std::string& text) {
  const auto clip = options.instruct.empty() ? voice_clip(options) : std::nullopt;
  return reading_request(text, prompt_language(options.language), {clip ? &*clip : nullptr, options.instruct});
}

}  // namespace

int run_speak(const Options& options) {
  check_speech_target(options.out);
  if (!options.instruct.empty() && !options.voice.empty()) {
    fail(ErrorCode::kInvalidRequest, "--instruct and --voice exclude each other");
  }
  const std::string text = text_to_speak(options);
  const ChatRequest request = request_for(options, text);
  const auto maker = load_speech(options);
  std::vector<float> speaker;
  {
    const auto engine = Engine::load(model_spec(options), engine_options(options));  // gone before the speaking begins
    speaker = engine->speaker_state(request);
  }
  const uint64_t seed = choose_seed(options);
  SpeechOptions speech = speech_options(options, seed);
  speech.streaming = options.out == "-";
  const Answering interruptible;
  SoundTarget target(options.out, progress_style(options.json || options.out == "-"));
  const auto take = [&](std::span<const float> part) { target.add(part); };
  const SpeechResult result = maker->say(text, speaker, speech, take, interruptible.cancel());
  target.finish(result);
  if (result.segments == 0) fail(ErrorCode::kInvalidRequest, "there is nothing to speak in the text");
  if (options.out == "-") return kExitOk;
  const double seconds = static_cast<double>(result.samples) / static_cast<double>(kSpeechRate);
  if (options.json) {
    print_json({{"file", options.out},
                {"seconds", seconds},
                {"frames", result.frames},
                {"segments", result.segments},
                {"redrawn", result.redrawn},
                {"cut_short", result.cut_short},
                {"seed", seed}});
  } else {
    note(fmt::format("wrote {}: {:.1f} s\n", one_line(options.out), seconds));
  }
  return kExitOk;
}

}  // namespace minicpm::cli

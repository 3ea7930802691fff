// `speak`: a text to a sound file, in the model's own voice or in that of a clip.
#include <fmt/format.h>

#include "base/error.h"
#include "cli/request.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "cli/voice.h"
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

}  // namespace

int run_speak(const Options& options) {
  check_speech_target(options.out);
  const std::string text = text_to_speak(options);
  ChatRequest request;
  request.messages = {voice_message(options.voice, options.language == "zh"),
                      {"user", {ContentPart::from_text("Please read the text below."), ContentPart::from_text(text)}}};
  request.speech = true;
  const auto maker = load_speech(options);
  std::vector<float> speaker;
  {
    const auto engine = Engine::load(model_spec(options), engine_options(options));  // gone before the speaking begins
    speaker = engine->speaker_state(request);
  }
  const uint64_t seed = choose_seed(options);
  const SpeechResult result = speak_to(*maker, text, speaker, seed, options.out, options.json);
  if (result.segments == 0) fail(ErrorCode::kInvalidRequest, "there is nothing to speak in the text");
  if (options.out == "-") return kExitOk;
  const double seconds = static_cast<double>(result.samples) / static_cast<double>(kSpeechRate);
  if (options.json) {
    print_json({{"file", options.out},
                {"seconds", seconds},
                {"frames", result.frames},
                {"segments", result.segments},
                {"cut_short", result.cut_short},
                {"seed", seed}});
  } else {
    note(fmt::format("wrote {}: {:.1f} s\n", one_line(options.out), seconds));
  }
  return kExitOk;
}

}  // namespace minicpm::cli

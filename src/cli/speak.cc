// `speak`: a text to a sound file, in the model's own voice or in that of a clip.
#include <fmt/format.h>

#include "base/error.h"
#include "base/file_map.h"
#include "cli/progress.h"
#include "cli/request.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "engine/speech.h"
#include "io/model_files.h"
#include "media/sound.h"
#include "media/vocoder_mel.h"
#include "media/wav.h"

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

/// The published prompts: a message that sets the voice, then the one that asks to read.
ChatRequest reading_request(const Options& options, const std::string& text) {
  const bool chinese = options.language == "zh";
  Message voice{"user", {}};
  if (options.voice.empty() || options.voice == "default") {
    ContentPart part = ContentPart::from_text(
        chinese ? "Use the <reserved_53> voice.作为助手，你将使用这种声音风格说话。"
                : "Use the <reserved_53> voice.You are a helpful assistant with the above voice style.");
    part.control = true;  // <reserved_53> is a token
    voice.content.push_back(std::move(part));
  } else {
    Sound clip = read_sound(options.voice);
    if (clip.samples.empty()) fail(ErrorCode::kBadFile, "{}: holds no sound", options.voice);
    voice.content.push_back(ContentPart::from_text(chinese ? "模仿输入音频中的声音特征。"
                                                           : "Clone the voice in the provided audio prompt."));
    voice.content.push_back(ContentPart::from_sound(std::move(clip.samples)));
  }
  ChatRequest request;
  request.messages = {std::move(voice),
                      {"user", {ContentPart::from_text("Please read the text below."), ContentPart::from_text(text)}}};
  request.speech = true;
  return request;
}

void check_target(const std::string& out) {
  if (out == "-" || out.ends_with(".wav")) return;
  fail(ErrorCode::kInvalidRequest, "--out {}: speech is written as .wav, or as raw samples to `-`", out);
}

}  // namespace

int run_speak(const Options& options) {
  check_target(options.out);
  const std::string text = text_to_speak(options);
  const ChatRequest request = reading_request(options, text);
  const ModelFiles files = find_model_files(options.model, "");
  if (files.kind != ModelFiles::Kind::kHuggingFace) {
    fail(ErrorCode::kInvalidRequest, "{}: speaking needs the Hugging Face folder of MiniCPM-o 2.6", options.model);
  }
  const EngineOptions settings = engine_options(options);
  const auto maker = SpeechMaker::load(files.folder, settings.backend);
  std::vector<float> speaker;
  {
    const auto engine = Engine::load(model_spec(options), settings);  // gone before the speaking begins
    speaker = engine->speaker_state(request);
  }
  SpeechOptions speech;
  speech.seed = choose_seed(options);
  speech.streaming = options.out == "-";
  std::vector<float> samples;
  const Answering interruptible;
  Progress progress(0, {.label = "speaking",
                        .unit_name = "samples",
                        .unit = {},
                        .style = progress_style(options.json || options.out == "-"),
                        .line_seconds = 10,
                        .columns = 0,
                        .clock = {},
                        .sink = {}});
  int64_t made = 0;
  const SpeechResult result = maker->say(
      text, speaker, speech,
      [&](std::span<const float> part) {
        made += static_cast<int64_t>(part.size());
        if (options.out == "-") {
          print(pcm16(part));
          flush_output();
        } else {
          samples.insert(samples.end(), part.begin(), part.end());
        }
        progress.update(made);
      },
      interruptible.cancel());
  progress.finish();
  if (options.out != "-") write_file_atomically(options.out, wav_file(samples, static_cast<int>(kSpeechRate)));
  const double seconds = static_cast<double>(result.samples) / static_cast<double>(kSpeechRate);
  if (options.json && options.out != "-") {
    print_json({{"file", options.out},
                {"seconds", seconds},
                {"frames", result.frames},
                {"segments", result.segments},
                {"cut_short", result.cut_short},
                {"seed", speech.seed}});
  } else if (options.out != "-") {
    note(fmt::format("wrote {}: {:.1f} s\n", one_line(options.out), seconds));
  }
  if (result.cut_short) note("a part of the text did not end by itself and was cut\n");
  return kExitOk;
}

}  // namespace minicpm::cli

#include "cli/voice.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/file_map.h"
#include "cli/progress.h"
#include "cli/request.h"
#include "cli/terminal.h"
#include "io/model_files.h"
#include "media/sound.h"
#include "media/vocoder_mel.h"
#include "media/wav.h"

namespace minicpm::cli {

Message voice_message(const std::string& voice, bool chinese) {
  Message message{"user", {}};
  if (voice.empty() || voice == "default") {
    ContentPart part = ContentPart::from_text(
        chinese ? "Use the <reserved_53> voice.作为助手，你将使用这种声音风格说话。"
                : "Use the <reserved_53> voice.You are a helpful assistant with the above voice style.");
    part.control = true;  // <reserved_53> is a token
    message.content.push_back(std::move(part));
    return message;
  }
  Sound clip = read_sound(voice);
  if (clip.samples.empty()) fail(ErrorCode::kBadFile, "{}: holds no sound", voice);
  message.content.push_back(
      ContentPart::from_text(chinese ? "模仿输入音频中的声音特征。" : "Clone the voice in the provided audio prompt."));
  message.content.push_back(ContentPart::from_sound(std::move(clip.samples)));
  return message;
}

void check_speech_target(const std::string& out) {
  if (out == "-" || out.ends_with(".wav")) return;
  fail(ErrorCode::kInvalidRequest, "{}: speech is written as .wav, or as raw samples to `-`", out);
}

std::unique_ptr<SpeechMaker> load_speech(const Options& options) {
  const ModelFiles files = find_model_files(options.model, "");
  if (files.kind != ModelFiles::Kind::kHuggingFace) {
    fail(ErrorCode::kInvalidRequest, "{}: speaking needs the Hugging Face folder of MiniCPM-o 2.6", options.model);
  }
  return SpeechMaker::load(files.folder, engine_options(options).backend);
}

SpeechResult speak_to(SpeechMaker& maker, const std::string& text, std::span<const float> speaker, uint64_t seed,
                      const std::string& out, bool quiet) {
  SpeechOptions speech;
  speech.seed = seed;
  speech.streaming = out == "-";
  std::vector<float> samples;
  int64_t made = 0;
  const Answering interruptible;
  ProgressOptions bar;
  bar.label = "speaking";
  bar.unit_name = "samples";
  bar.style = progress_style(quiet || out == "-");
  Progress progress(0, bar);
  const SpeechResult result = maker.say(
      text, speaker, speech,
      [&](std::span<const float> part) {
        made += static_cast<int64_t>(part.size());
        if (out == "-") {
          print(pcm16(part));
          flush_output();
        } else {
          samples.insert(samples.end(), part.begin(), part.end());
        }
        progress.update(made);
      },
      interruptible.cancel());
  progress.finish();
  if (result.segments == 0) return result;
  if (out != "-") write_file_atomically(out, wav_file(samples, static_cast<int>(kSpeechRate)));
  if (result.cut_short) note("a part of the text did not end by itself and was cut\n");
  return result;
}

}  // namespace minicpm::cli

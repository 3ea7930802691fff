#include "cli/voice.h"

#include <fmt/format.h>

#include <filesystem>

#include "base/error.h"
#include "base/file_map.h"
#include "cli/request.h"
#include "cli/terminal.h"
#include "io/model_files.h"
#include "media/sound.h"
#include "media/sound_writer.h"
#include "media/vocoder_mel.h"
#include "media/wav.h"
#include "models/speech_files.h"

namespace minicpm::cli {

std::optional<std::vector<float>> voice_clip(const Options& options) {
  std::filesystem::path file = options.voice;
  if (file.empty() || file == "default") return std::nullopt;
  if (file == "female" || file == "male") {
    file = voice_folder(find_model_files(options.model, options.mmproj)) / "assets/ref_audios" /
           (options.voice + "_example.wav");
    if (!std::filesystem::exists(file)) {
      fail(ErrorCode::kNotFound, "{}: no such file; it comes with the web demonstration of MiniCPM-o 2.6",
           file.string());
    }
  }
  Sound clip = read_sound(file);
  if (clip.samples.empty()) fail(ErrorCode::kBadFile, "{}: holds no sound", file.string());
  return std::move(clip.samples);
}

void check_speech_target(const std::string& out) {
  if (out != "-") sound_format(out);
}

std::unique_ptr<SpeechMaker> load_speech(const Options& options) {
  const ModelFiles files = find_model_files(options.model, options.mmproj);
  if (!has_speech_files(files)) {
    fail(ErrorCode::kInvalidRequest,
         "{}: does not speak; MiniCPM-o 2.6 does, as a Hugging Face folder with the tokenizer and the vocoder in "
         "assets/, "
         "or as a GGUF pair that was made from one",
         options.model);
  }
  return SpeechMaker::load(files, engine_options(options).backend);
}

SpeechOptions speech_options(const Options& options, uint64_t seed) {
  SpeechOptions speech;
  speech.seed = seed;
  speech.check = options.check_speech;
  speech.hold_first = options.hold_first;
  if (options.numbers == "digits") speech.text.digits = SpokenDigits::kOneByOne;
  return speech;
}

SoundTarget::SoundTarget(std::string file, ProgressOptions::Style style)
    : file_(std::move(file)), progress_(0, {.label = "speaking", .unit_name = "samples", .style = style}) {}

void SoundTarget::add(std::span<const float> samples) {
  made_ += static_cast<int64_t>(samples.size());
  if (file_ == "-") {
    print(pcm16(samples));
    flush_output();
  } else {
    samples_.insert(samples_.end(), samples.begin(), samples.end());
  }
  progress_.update(made_);
}

void SoundTarget::finish(const SpeechResult& result) {
  progress_.finish();
  if (result.segments == 0) return;
  if (file_ != "-") {
    write_file_atomically(file_, encode_sound(samples_, static_cast<int>(kSpeechRate), sound_format(file_)));
  }
  if (result.cut_short) note("a part of the text did not end by itself and was cut\n");
}

SpokenAnswer::SpokenAnswer(const Options& options, std::span<const float> speaker, uint64_t seed,
                           const std::atomic<bool>* cancel)
    : maker_(load_speech(options)),
      target_(options.speak, ProgressOptions::Style::kQuiet),
      thread_(maker_->stream(
          speaker, speech_options(options, seed), [this](std::span<const float> part) { target_.add(part); }, cancel)) {
}

OnDelta SpokenAnswer::on_delta(OnDelta next) {
  return [this, next = std::move(next)](const TextDelta& delta) {
    if (next) next(delta);
    if (!delta.reasoning) thread_.push(delta.text);
  };
}

SpeechResult SpokenAnswer::finish() {
  const SpeechResult result = thread_.finish();
  target_.finish(result);
  return result;
}

}  // namespace minicpm::cli

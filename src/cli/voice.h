// The voice that answers and texts are spoken in, and where their sound goes.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cli/options.h"
#include "cli/progress.h"
#include "engine/chat.h"
#include "engine/speech.h"
#include "engine/speech_thread.h"

namespace minicpm::cli {

/// The clip that --voice names; nothing for the model's own voice, "" and "default". "female" and "male" are the clips
/// of the official demonstration where the model's folder has them. Throws Error as read_sound.
std::optional<std::vector<float>> voice_clip(const Options& options);

/// Speech goes to sound files, or as raw samples to "-". Throws Error invalid_request for other names.
void check_speech_target(const std::string& out);

/// The speech decoder beside the model. Throws Error invalid_request for models that do not speak.
std::unique_ptr<SpeechMaker> load_speech(const Options& options);
SpeechOptions speech_options(const Options& options, uint64_t seed);

/// Takes sound as it is made: to standard output at once, or to a file in the end.
class SoundTarget {
 public:
  SoundTarget(std::string file, ProgressOptions::Style style);
  void add(std::span<const float> samples);
  /// Writes the file, unless there was nothing to speak.
  void finish(const SpeechResult& result);

 private:
  std::string file_;
  Progress progress_;
  std::vector<float> samples_;
  int64_t made_ = 0;
};

/// Speaks an answer on a thread of its own while the answer is written.
class SpokenAnswer {
 public:
  SpokenAnswer(const Options& options, std::span<const float> speaker, uint64_t seed, const std::atomic<bool>* cancel);
  /// What speaks the answer's text and hands it on.
  OnDelta on_delta(OnDelta next);
  /// Waits until all is spoken and written.
  SpeechResult finish();

 private:
  std::unique_ptr<SpeechMaker> maker_;
  SoundTarget target_;
  SpeechThread thread_;
};

}  // namespace minicpm::cli

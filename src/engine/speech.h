// Text to speech with MiniCPM-o 2.6's speech decoder: segments, the schedule of text and frames, drawing of codes, and
// sound piece by piece.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/registry.h"
#include "models/speech_decoder.h"

namespace minicpm {

class WordPiece;

struct SpeechOptions {
  SpeechSampling sampling;
  uint64_t seed = 1;
  int64_t max_frames = 2048;  // of a segment: 43.7 s
  bool streaming = false;     // emit every 25 frames, joined by cross-fades; else each segment is decoded as a whole
};

struct SpeechResult {
  int64_t samples = 0;     // at 24 kHz
  int64_t frames = 0;      // of codes
  int64_t segments = 0;    // of text
  bool cut_short = false;  // a segment did not end by itself
};

/// Text cut into parts of at most `most` tokens: behind sentence ends, else behind commas, else at white space, else
/// anywhere. A full stop behind a digit ends no sentence. Nothing is lost but white space at the cuts.
std::vector<std::string> speech_segments(std::string_view text, int64_t most,
                                         const std::function<int64_t(std::string_view)>& count_tokens);

class SpeechMaker {
 public:
  /// From a Hugging Face folder: config.json, weights under "tts.", assets/chattts_tokenizer/tokenizer.json, and the
  /// vocoder in assets/vocos.safetensors. Throws Error not_found, bad_file, unsupported.
  static std::unique_ptr<SpeechMaker> load(const std::filesystem::path& folder, const BackendOptions& backend = {});
  virtual ~SpeechMaker() = default;

  virtual const SpeechConfig& config() const = 0;

  /// Speaks `text` with the voice of `speaker`, the language model's hidden state at its speaker token [llm_dim].
  /// `on_samples` gets the sound in order, mono at 24 kHz. Equal arguments give equal samples. Text without anything to
  /// speak gives no segments. Throws Error invalid_request for a state of another size, cancelled.
  virtual SpeechResult say(std::string_view text, std::span<const float> speaker, const SpeechOptions& options,
                           const std::function<void(std::span<const float>)>& on_samples,
                           const std::atomic<bool>* cancel = nullptr) = 0;
};

}  // namespace minicpm

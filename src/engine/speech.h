// Text to speech with MiniCPM-o 2.6's speech decoder, also while the text is still being written: segments, the
// schedule of text and frames, drawing of codes, and sound piece by piece.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/registry.h"
#include "io/model_files.h"
#include "models/speech_decoder.h"
#include "text/spoken_text.h"

namespace minicpm {

struct SpeechOptions {
  SpeechSampling sampling;
  uint64_t seed = 1;
  int64_t max_frames = 2048;  // of a segment: 43.7 s
  bool streaming = false;     // of say(): a piece every 25 frames, joined by cross-fades; else one for each segment
  bool hold_first = false;  // the first piece of a stream comes together with the second, as official code had it first
  bool check = false;       // frames that are silence or one tone for too long are drawn anew
  SpokenTextOptions text;
};

struct SpeechResult {
  int64_t samples = 0;     // at 24 kHz
  int64_t frames = 0;      // of codes
  int64_t segments = 0;    // of text
  int64_t redrawn = 0;     // rounds that the check did not let pass
  bool cut_short = false;  // a segment did not end by itself
};

/// Speaks a text while it is written. The sound depends on the text alone, not on how it is cut into pieces.
class SpeechStream {
 public:
  virtual ~SpeechStream() = default;
  /// The next bytes of the text, UTF-8 that may end inside a character. Speaks as far as the text is certain: 25 frames
  /// for every ten tokens. Throws Error cancelled; nothing but destruction may follow an error.
  virtual void push(std::string_view text) = 0;
  /// Speaks the rest; the last call. Text without anything to speak gives no segments.
  virtual SpeechResult finish() = 0;
};

class SpeechMaker {
 public:
  /// From a Hugging Face folder: config.json, weights under "tts.", assets/chattts_tokenizer/tokenizer.json, and the
  /// vocoder as assets/Vocos.pt or assets/vocos.safetensors; or from the projector file of a GGUF pair, which holds all
  /// of them. Throws Error not_found, bad_file, unsupported.
  static std::unique_ptr<SpeechMaker> load(const ModelFiles& files, const BackendOptions& backend = {});
  virtual ~SpeechMaker() = default;

  virtual const SpeechConfig& config() const = 0;

  /// Speaks what will be pushed with the voice of `speaker`, the language model's hidden state at its speaker token
  /// [llm_dim]. `on_samples` gets the sound in order, mono at 24 kHz, on the thread that pushes; a piece every 25
  /// frames. The maker and *cancel must outlive the stream; streams of one maker are used on one thread at a time.
  /// Throws Error invalid_request for a state of another size.
  virtual std::unique_ptr<SpeechStream> stream(std::span<const float> speaker, const SpeechOptions& options,
                                               std::function<void(std::span<const float>)> on_samples,
                                               const std::atomic<bool>* cancel = nullptr) = 0;

  /// The same for a text that is known. Equal arguments give equal samples.
  virtual SpeechResult say(std::string_view text, std::span<const float> speaker, const SpeechOptions& options,
                           const std::function<void(std::span<const float>)>& on_samples,
                           const std::atomic<bool>* cancel = nullptr) = 0;
};

}  // namespace minicpm

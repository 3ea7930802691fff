// The work of speech.h on one text: its segments, rounds of codes, and their sound. Internal to engine/.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "backend/context.h"
#include "engine/speech.h"
#include "models/vocoder.h"
#include "text/wordpiece.h"

namespace minicpm {

/// What speaks; it outlives its streams.
struct SpeechParts {
  Backend& backend;
  const WordPiece& tokenizer;
  const SpeechDecoder& decoder;
  const Dvae& dvae;
  const Vocos& vocos;
  int32_t start_id;  // of the first place
};

using OnSamples = std::function<void(std::span<const float>)>;

/// Sound of frames, joined: parts are decoded with the four frames before them, and where they overlap one fades into
/// the other.
class SpeechSound {
 public:
  /// Both outlive it.
  SpeechSound(const Dvae& dvae, const Vocos& vocos, OnSamples on_samples)
      : dvae_(dvae), vocos_(vocos), on_samples_(std::move(on_samples)) {}

  struct Part {
    Tensor mel;  // in the arena of the context
    std::vector<float> wave;
    int64_t frames = 0;   // of codes
    int64_t context = 0;  // those of them that were decoded before
  };
  /// The frames since `begin` with those before them that they need.
  Part decode(Context& ctx, std::span<const CodeFrame> frames, size_t begin) const;
  /// Gives a part and holds back what the next one will overlap; with `hold_all` the whole part.
  void add(const std::vector<float>& wave, bool hold_all);
  /// Gives what is held back: the next part does not go on from it.
  void flush();

  bool empty() const { return held_.empty(); }
  int64_t samples() const { return samples_; }

 private:
  void give(std::span<const float> samples);

  const Dvae& dvae_;
  const Vocos& vocos_;
  OnSamples on_samples_;
  std::vector<float> held_;
  int64_t samples_ = 0;
};

enum class SpeechPieces { kRounds, kSegments };  // what one piece of sound is

/// `parts` and `cancel` outlive the stream. Throws Error invalid_request for a state of another size.
std::unique_ptr<SpeechStream> make_speech_stream(const SpeechParts& parts, std::span<const float> speaker,
                                                 const SpeechOptions& options, SpeechPieces pieces,
                                                 OnSamples on_samples, const std::atomic<bool>* cancel);

}  // namespace minicpm

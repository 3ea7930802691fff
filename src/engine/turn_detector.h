// When a user begins to speak, has finished, or speaks over an answer. Pure bookkeeping over the judgements of a voice
// detector.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "media/voice_detector.h"

namespace minicpm {

/// The values of the official demonstration.
struct TurnParams {
  float threshold = 0.7f;         // a frame is speech from here on ...
  float release = 0.15f;          // ... until it is this far below the threshold
  double min_speech = 0.128;      // seconds; shorter speech does not count
  double min_silence = 0.5;       // shorter gaps count as speech
  double pad = 0.03;              // added at both ends of speech
  double window = 1.0;            // judged at a time
  double step = 0.1;              // between two looks at the window
  float min_rms = 0.002f;         // of the window, for speech to begin
  double begin_speech = 0.4;      // more speech than this in the window begins a turn
  double end_speech = 0.2;        // less than this ends it ...
  double min_turn = 0.6;          // ... at this time after its beginning at the soonest
  double interrupt_speech = 0.5;  // this much speech interrupts an answer

  bool operator==(const TurnParams&) const = default;
};

/// Throws Error invalid_request naming the value and its range.
void validate(const TurnParams& params);

/// Seconds of speech in successive judgements of 10 ms each, with the threshold's two levels, the shortest speech and
/// silence, and the pads.
double speech_seconds(std::span<const float> scores, const TurnParams& params);

enum class TurnChange { kNone, kBegins, kEnds, kInterrupts };

/// Not for several threads at once.
class TurnDetector {
 public:
  TurnDetector(std::unique_ptr<VoiceDetector> voice, TurnParams params);

  /// At most this many samples may be heard at a time.
  int64_t step_samples() const { return step_frames_ * kVoiceFrame; }

  /// The next samples; kInterrupts comes only with `answering`, the others only without. Frames that are not full wait
  /// for more.
  TurnChange hear(std::span<const float> samples, bool answering);

  bool in_turn() const { return in_turn_; }
  /// Seconds of speech in the window.
  double speech() const { return speech_seconds(scores_, params_); }
  /// A turn begins or ended for another reason.
  void set_in_turn(bool in_turn);
  /// Takes other settings and forgets everything.
  void configure(const TurnParams& params);
  /// The window is empty again.
  void forget();

  const VoiceDetector& voice() const { return *voice_; }

 private:
  TurnChange look(bool answering);
  double window_rms() const;

  std::unique_ptr<VoiceDetector> voice_;
  TurnParams params_;
  int64_t window_frames_, step_frames_;
  std::vector<float> rest_;               // samples of a frame that is not full
  std::vector<float> scores_, energies_;  // of the window's frames: smoothed judgement, mean square
  std::array<float, 6> recent_{};         // judgements; 64 ms, the frame length of the official detector, hold six
  size_t next_recent_ = 0;
  int64_t since_look_ = 0, since_begin_ = 0;  // frames
  bool in_turn_ = false;
};

}  // namespace minicpm

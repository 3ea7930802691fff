// Sound to the log-mel features that Whisper encoders take.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace minicpm {

inline constexpr int64_t kAudioRate = 16000;                // samples a second
inline constexpr int64_t kMelHop = 160;                     // samples from frame to frame
inline constexpr int64_t kMaxMelSamples = 30 * kAudioRate;  // of one piece of sound

struct MelFrames {
  int64_t frames = 0;
  int64_t bins = 0;
  std::vector<float> values;  // [frames, bins]

  std::span<const float> frame(int64_t i) const { return {values.data() + i * bins, static_cast<size_t>(bins)}; }
};

/// A triangle over successive bins of a spectrum.
struct MelFilter {
  int64_t first = 0;
  std::vector<float> weights;
};
/// The triangles between each three successive corners (Hz) over the n_fft / 2 + 1 bins of a spectrum. `equal_area`:
/// divided by half their width, else their tips are 1.
std::vector<MelFilter> mel_filters(std::span<const double> corners, double rate, int64_t n_fft, bool equal_area);

/// Windows of 400 samples (periodic Hann) every 160, power spectrum, triangular filters evenly spaced on Slaney's mel
/// scale from 0 to 8 kHz, log10, cut at 8 below the loudest and scaled to about -1 to 1: the extractor of Whisper
/// large-v2 and older with `bins` = 80. Immutable; may be used by several threads at once.
class LogMel {
 public:
  explicit LogMel(int64_t bins = 80);

  /// Sound at 16 kHz, at most 30 s, which counts as followed by silence up to 30 s: ceil(samples / 160) frames. The
  /// loudest value is that of this piece. Throws Error invalid_request for longer pieces.
  MelFrames extract(std::span<const float> samples) const;

  /// [bins, 201], row by row.
  std::vector<float> filters() const;

 private:
  friend class LogMelStream;
  int64_t bins_;
  std::vector<MelFilter> filters_;
  std::vector<float> window_;
};

/// The same features of sound that comes in pieces: each frame is computed as soon as all that it sees is there. The
/// extractor must outlive the stream.
class LogMelStream {
 public:
  explicit LogMelStream(const LogMel& extractor) : extractor_(extractor) {}

  /// Throws Error invalid_request when more than 30 s have come.
  void push(std::span<const float> samples);
  /// Frames that further sound cannot change but for the scale, which is that of the loudest value.
  int64_t complete_frames() const { return frames_; }
  /// LogMel::extract of all that was pushed, to the bit. The stream begins anew.
  MelFrames finish();

 private:
  /// Logarithms of frames [frames_, end).
  void compute(int64_t end);

  const LogMel& extractor_;
  std::vector<float> samples_, logs_;
  int64_t frames_ = 0;
};

}  // namespace minicpm

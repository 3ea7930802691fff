// Is somebody speaking? Detectors that judge ten milliseconds at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace minicpm {

inline constexpr int64_t kVoiceRate = 16000;  // samples a second
inline constexpr int64_t kVoiceFrame = 160;   // samples of one judgement: 10 ms

/// Not for several threads at once.
class VoiceDetector {
 public:
  virtual ~VoiceDetector() = default;
  /// How sure it is that the next kVoiceFrame samples (mono at 16 kHz, -1 to 1) are speech: 0 to 1.
  virtual float judge(std::span<const float> frame) = 0;
  virtual std::string_view name() const = 0;
};

/// By loudness alone: how far a frame stands out of the quietest sound of the last seconds. Takes any steady noise for
/// silence, and any sudden one for speech.
std::unique_ptr<VoiceDetector> make_energy_detector();

/// WebRTC's detector, from Debian's libwebrtc-audio-processing. Throws Error unsupported where the build has none.
std::unique_ptr<VoiceDetector> make_webrtc_detector();

/// "webrtc", "energy", or "auto": WebRTC's where the build has it. Throws Error invalid_request for other names,
/// unsupported.
std::unique_ptr<VoiceDetector> make_voice_detector(std::string_view name);

}  // namespace minicpm

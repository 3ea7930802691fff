// Microphones, cameras and loudspeakers, and what live sound needs: the echo of the loudspeaker taken out of the
// microphone. All of it lies in a library of its own, libminicpm_live.so, which is loaded on first use.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "media/image.h"
#include "media/voice_detector.h"

namespace minicpm {

/// What a capture gives, on its own calls: sound as mono samples at 16 kHz, or pictures.
struct CaptureSink {
  std::function<void(std::span<const float>)> on_sound;
  std::function<void(Image)> on_picture;
};

struct CaptureOptions {
  /// FFmpeg's input device and its address: "alsa:default", "pulse:default", "v4l2:/dev/video0",
  /// "avfoundation:0"; "lavfi:sine" and the like are for trying out. "microphone" and "camera" are this system's usual
  /// ones.
  std::string device;
  bool sound = true;                          // of it; else pictures
  double pictures_a_second = 1;               // those between are passed over
  const std::atomic<bool>* cancel = nullptr;  // setting it ends read() soon
};

/// A device that is open. Not for several threads at once.
class Capture {
 public:
  virtual ~Capture() = default;
  /// Waits for the next packet and hands on what is in it. False at the end of the input. Throws Error io when the
  /// device fails.
  virtual bool read(const CaptureSink& sink) = 0;
};

/// Throws Error invalid_request for names of other kinds, not_found or io for devices that cannot be opened,
/// unsupported where the build has no devices.
std::unique_ptr<Capture> open_capture(const CaptureOptions& options);

/// An ALSA output, mono at 24 kHz. write() and drop() may come from two threads.
class Speaker {
 public:
  virtual ~Speaker() = default;
  /// Waits until the device has taken them.
  virtual void write(std::span<const float> samples) = 0;
  /// Silence at once: what was written and not yet heard is void.
  virtual void drop() = 0;
  /// Samples that were written and are not heard yet.
  virtual int64_t waiting() const = 0;
};

/// `device`: ALSA's name, "default" for the usual one. Throws Error io, unsupported where the build has no ALSA.
std::unique_ptr<Speaker> open_speaker(const std::string& device);

/// WebRTC's echo canceller. heard() and played() may come from two threads.
class EchoCanceller {
 public:
  virtual ~EchoCanceller() = default;
  /// What the loudspeaker is given, mono at 24 kHz.
  virtual void played(std::span<const float> samples) = 0;
  /// What the microphone hears, mono at 16 kHz -> the same without the echo; up to 10 ms wait for more.
  virtual std::vector<float> heard(std::span<const float> samples) = 0;
};

/// Null where the build has none.
std::unique_ptr<EchoCanceller> make_echo_canceller();

/// What the library offers; each part is null where its own library was missing when it was built.
struct LiveDevices {
  std::unique_ptr<Capture> (*open_capture)(const CaptureOptions&) = nullptr;
  std::unique_ptr<Speaker> (*open_speaker)(const std::string&) = nullptr;
  std::unique_ptr<VoiceDetector> (*make_webrtc_detector)() = nullptr;
  std::unique_ptr<EchoCanceller> (*make_echo_canceller)() = nullptr;
};

}  // namespace minicpm

#include "media/live_devices.h"

#include "base/companion.h"
#include "base/error.h"
#include "base/log.h"

namespace minicpm {
namespace {

using Fill = void(LiveDevices&, void (*)(LogLevel, std::string_view));

const LiveDevices& devices() {
  static const LiveDevices kDevices = [] {
    auto* const fill = reinterpret_cast<Fill*>(
        load_companion("libminicpm_live.so", "minicpm_live_devices", "this build has no sound devices"));
    LiveDevices offered;
    fill(offered, &log_message);
    return offered;
  }();
  return kDevices;
}

bool has_library() {
  return !find_companion("libminicpm_live.so").empty();
}

}  // namespace

std::unique_ptr<Capture> open_capture(const CaptureOptions& options) {
  if (devices().open_capture == nullptr) fail(ErrorCode::kUnsupported, "this build reads no microphones and cameras");
  return devices().open_capture(options);
}

std::unique_ptr<Speaker> open_speaker(const std::string& device) {
  if (devices().open_speaker == nullptr) fail(ErrorCode::kUnsupported, "this build plays no sound (ALSA was missing)");
  return devices().open_speaker(device);
}

std::unique_ptr<EchoCanceller> make_echo_canceller() {
  if (!has_library() || devices().make_echo_canceller == nullptr) return nullptr;
  return devices().make_echo_canceller();
}

std::unique_ptr<VoiceDetector> make_webrtc_detector() {
  if (!has_library() || devices().make_webrtc_detector == nullptr) {
    fail(ErrorCode::kUnsupported, "this build has no WebRTC voice detector (libwebrtc-audio-processing was missing)");
  }
  return devices().make_webrtc_detector();
}

std::unique_ptr<VoiceDetector> make_voice_detector(std::string_view name) {
  if (name == "energy") return make_energy_detector();
  if (name == "webrtc") return make_webrtc_detector();
  if (name != "auto")
    fail(ErrorCode::kInvalidRequest, "voice detector \"{}\": known are auto, webrtc and energy", name);
  const bool webrtc = has_library() && devices().make_webrtc_detector != nullptr;
  return webrtc ? make_webrtc_detector() : make_energy_detector();
}

}  // namespace minicpm

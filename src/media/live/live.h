// The parts of libminicpm_live.so. Internal to media/.
#pragma once

#include <memory>
#include <string>

#include "media/live_devices.h"

namespace minicpm::live {

std::unique_ptr<Capture> open_ffmpeg_capture(const CaptureOptions& options);
std::unique_ptr<Speaker> open_alsa_speaker(const std::string& device);
std::unique_ptr<VoiceDetector> make_webrtc_detector();
std::unique_ptr<EchoCanceller> make_webrtc_canceller();

}  // namespace minicpm::live

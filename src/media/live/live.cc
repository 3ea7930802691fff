#include "media/live/live.h"

#include "base/log.h"

/// What the library exports. `log` is the program's: this library has a sink of its own.
extern "C" __attribute__((visibility("default"))) void minicpm_live_devices(minicpm::LiveDevices& devices,
                                                                            void (*log)(minicpm::LogLevel,
                                                                                        std::string_view)) {
  static const bool kOnce = (minicpm::set_log_sink(log), true);
  (void)kOnce;
#ifdef MINICPM_LIVE_CAPTURE
  devices.open_capture = minicpm::live::open_ffmpeg_capture;
#endif
#ifdef MINICPM_LIVE_ALSA
  devices.open_speaker = minicpm::live::open_alsa_speaker;
#endif
#ifdef MINICPM_LIVE_WEBRTC
  devices.make_webrtc_detector = minicpm::live::make_webrtc_detector;
  devices.make_echo_canceller = minicpm::live::make_webrtc_canceller;
#endif
}

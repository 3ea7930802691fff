// Where a live session's speech goes: a sound file, or a loudspeaker.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "media/live_devices.h"

namespace minicpm::cli {

class LiveSink {
 public:
  virtual ~LiveSink() = default;
  virtual void take(std::span<const float> samples) = 0;
  /// What was taken and not heard yet is void.
  virtual void silence() = 0;
  /// Waits until everything was heard or written. Throws Error io.
  virtual void finish() = 0;
  /// Samples are heard as time passes, and reported.
  virtual bool plays() const { return false; }
};

/// A file with the answers one after another, written at the end. Throws Error as sound_format.
std::unique_ptr<LiveSink> make_file_sink(const std::string& file);

/// `device`: ALSA's. `on_played` gets the number of samples that were handed to the device.
std::unique_ptr<LiveSink> make_speaker_sink(const std::string& device, EchoCanceller* echo,
                                            std::function<void(int64_t)> on_played);

}  // namespace minicpm::cli

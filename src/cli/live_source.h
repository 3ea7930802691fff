// Where a live session's sound and pictures come from: files, played as fast as they are understood or as time passes,
// or devices.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/omni_session.h"
#include "media/live_devices.h"
#include "media/sound.h"
#include "media/video.h"

namespace minicpm::cli {

/// What a name on the command line means: a file, or a device such as "microphone" or "v4l2:/dev/video0".
bool is_device(const std::string& name);

struct LiveInput {
  std::string sound, pictures;  // files or devices; may be empty, not both
  bool realtime = false;        // files: as time passes
};

/// Files are opened by the constructor, so that a wrong path is told before a model is loaded. Throws Error as
/// read_sound, VideoReader::open and open_capture.
class LiveSource {
 public:
  LiveSource(LiveInput input, EchoCanceller* echo);
  /// Stops and waits for its threads.
  ~LiveSource();

  /// Starts to feed the session, which outlives the source and is closed before it ends; files finish it.
  void start(OmniSession& session);
  /// A device gives it its time: it ends when the user says so.
  bool endless() const { return microphone_ != nullptr; }
  /// Why a thread gave up; empty: it did not.
  std::string error() const;

 private:
  void guard(const std::function<void()>& work);
  void play_files(OmniSession& session);
  void listen(OmniSession& session);
  void watch(OmniSession& session);
  std::shared_ptr<const Image> frame_at(double seconds);

  LiveInput input_;
  EchoCanceller* echo_;
  std::vector<float> sound_;  // of the file
  std::unique_ptr<VideoReader> video_;
  std::unique_ptr<Capture> microphone_, camera_;
  std::atomic<bool> stop_ = false;
  mutable std::mutex mutex_;
  std::string error_;
  std::vector<std::thread> threads_;
};

}  // namespace minicpm::cli

#include "base/companion.h"
#include "base/log.h"
#include "media/sound.h"
#include "media/video_source.h"

namespace minicpm {

namespace {

// FFmpeg's libraries and what they need in turn are more than a hundred; few runs look at a video.
using Open = void(const MediaFile&, std::unique_ptr<VideoSource>&, void (*)(LogLevel, std::string_view));
Open* open_function() {
  static auto* const open = reinterpret_cast<Open*>(
      load_companion("libminicpm_video.so", "minicpm_open_ffmpeg", "this build cannot read videos"));
  return open;
}

using Read = void(const MediaFile&, const SoundOptions&, const std::atomic<bool>*, Sound&,
                  void (*)(LogLevel, std::string_view));
Read* read_function() {
  static auto* const read = reinterpret_cast<Read*>(
      load_companion("libminicpm_video.so", "minicpm_read_sound", "this build cannot read sound files"));
  return read;
}

}  // namespace

std::unique_ptr<VideoSource> open_ffmpeg(const MediaFile& file) {
  std::unique_ptr<VideoSource> source;
  open_function()(file, source, &log_message);
  return source;
}

void read_sound_with_ffmpeg(const MediaFile& file, const SoundOptions& options, const std::atomic<bool>* cancel,
                            Sound& sound) {
  read_function()(file, options, cancel, sound, &log_message);
}

void load_ffmpeg() {
  open_function();
  read_function();
}

}  // namespace minicpm

#include "base/companion.h"
#include "base/log.h"
#include "media/video_source.h"

namespace minicpm {

// FFmpeg's libraries and what they need in turn are more than a hundred; few runs look at a video.
std::unique_ptr<VideoSource> open_ffmpeg(const VideoFile& file) {
  using Open = void(const VideoFile&, std::unique_ptr<VideoSource>&, void (*)(LogLevel, std::string_view));
  static auto* const open = reinterpret_cast<Open*>(
      load_companion("libminicpm_video.so", "minicpm_open_ffmpeg", "this build cannot read videos"));
  std::unique_ptr<VideoSource> source;
  open(file, source, &log_message);
  return source;
}

}  // namespace minicpm

// Any bytes: a video gives frames of the claimed size, or an Error of the promised kind.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "media/video_source.h"

extern "C" void minicpm_open_ffmpeg(const minicpm::MediaFile& file, std::unique_ptr<minicpm::VideoSource>& source,
                                    void (*log)(minicpm::LogLevel, std::string_view));

namespace minicpm {

/// In place of the one that loads the library.
std::unique_ptr<VideoSource> open_ffmpeg(const MediaFile& file) {
  std::unique_ptr<VideoSource> source;
  minicpm_open_ffmpeg(file, source, &log_message);
  return source;
}

}  // namespace minicpm

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace minicpm;
  const VideoOptions options{.limits = {.max_pixels = 1 << 16, .max_frames = 256, .max_streams = 8}, .threads = 1};
  try {
    const auto video = VideoReader::from_bytes(std::string(reinterpret_cast<const char*>(data), size), "fuzz", options);
    const VideoInfo& info = video->info();
    if (info.frames < 1 || info.frames > 256 || !(info.fps > 0)) __builtin_trap();
    const std::vector<int64_t> wanted = {0, info.frames / 2, info.frames - 1};
    for (const auto& image : video->frames(wanted)) {
      if (image->width != info.width || image->height != info.height) __builtin_trap();
      if (image->rgb.size() != static_cast<size_t>(image->width) * image->height * 3) __builtin_trap();
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kBadFile && error.code() != ErrorCode::kUnsupported) __builtin_trap();
  }
  return 0;
}

// Videos: what a file holds, and chosen frames of it as pictures. MP4, MKV, WebM, AVI and others through FFmpeg;
// animated GIF, PNG and WebP as well.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "media/frame_sampling.h"
#include "media/image.h"

namespace minicpm {

struct VideoLimits {
  int64_t max_pixels = 67'108'864;        // of one frame (8192 x 8192)
  int64_t max_frames = 4'194'304;         // in the file: 38 hours at 30 frames a second
  double max_seconds = 48 * 3600;         // likewise
  int max_streams = 64;                   // of all kinds
  int64_t max_decoded_bytes = 4LL << 30;  // of all frames that one call of frames() returns
};

struct VideoOptions {
  VideoLimits limits;
  int threads = 2;  // of the decoder; the pixels do not depend on it
};

struct VideoInfo {
  int width = 0, height = 0;  // of a frame as it is shown, rotation applied
  double fps = 0;             // average
  int64_t frames = 0;         // counted, not what a header claims
  int rotation = 0;           // clockwise degrees that have been applied: 0, 90, 180 or 270
  std::string format, codec;  // FFmpeg's short names, for messages: "mov", "h264"

  VideoTiming timing() const { return {fps, frames}; }
  double seconds() const { return timing().seconds(); }
};

/// How to fetch frames.
struct FrameRequest {
  /// Called with each picture as it is decoded; what it returns is kept. Serves to shrink frames early.
  std::function<Image(Image)> transform;
  /// Called on the calling thread with the number of frames that are ready, of how many.
  std::function<void(size_t done, size_t total)> progress;
  /// Setting it ends frames() with Error cancelled.
  const std::atomic<bool>* cancel = nullptr;
};

/// A video file. Opening reads it through once without decoding, to count its frames; frames() reads it again. Not for
/// use by several threads at once.
class VideoReader {
 public:
  /// Throws Error not_found, io; bad_file for what is damaged or no video, unsupported for formats and codecs that are
  /// not read and for what exceeds the limits. Messages name the file.
  static std::unique_ptr<VideoReader> open(const std::filesystem::path& file, const VideoOptions& options = {});
  /// A file in memory; `name` stands in messages.
  static std::unique_ptr<VideoReader> from_bytes(std::string bytes, const std::string& name,
                                                 const VideoOptions& options = {});
  virtual ~VideoReader() = default;

  virtual const VideoInfo& info() const = 0;

  /// The frames with these indices, which must be ascending; equal ones share one picture. A frame that cannot be
  /// decoded is replaced by the next that can, or the last before it, with a warning in the log. Throws Error bad_file
  /// when most are damaged, invalid_request for an index outside [0, frames), out_of_memory, cancelled.
  virtual std::vector<std::shared_ptr<const Image>> frames(std::span<const int64_t> indices,
                                                           const FrameRequest& request = {}) = 0;
};

}  // namespace minicpm

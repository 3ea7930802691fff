// What a family of video files implements; VideoReader does what they share. Internal to media/.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "media/video.h"

namespace minicpm {

struct Sound;
struct SoundOptions;

/// A file in memory, which outlives the source, with its name for messages.
struct MediaFile {
  std::span<const std::byte> bytes;
  std::string name;
  VideoOptions options;
};

class VideoSource {
 public:
  virtual ~VideoSource() = default;
  virtual const VideoInfo& info() const = 0;

  /// Called with the picture of wanted[from] to wanted[to - 1]; more than one when frames had to be replaced. A source
  /// that starts anew calls it again for the same places; the last call counts.
  using OnFrame = std::function<void(size_t from, size_t to, Image image)>;
  /// Decodes the frames with these indices, which ascend strictly and lie inside [0, info().frames).
  virtual void decode(std::span<const int64_t> wanted, const OnFrame& on_frame, const std::atomic<bool>* cancel) = 0;
};

/// Whatever the file is. Throws Error as VideoReader::open.
std::unique_ptr<VideoSource> open_video_source(const MediaFile& file);
/// What VideoReader does around a source. `owner`, if any, keeps the bytes.
std::unique_ptr<VideoReader> make_video_reader(std::shared_ptr<const void> owner, MediaFile file,
                                               std::unique_ptr<VideoSource> source);

std::unique_ptr<VideoSource> open_ffmpeg(const MediaFile& file);
void read_sound_with_ffmpeg(const MediaFile& file, const SoundOptions& options, const std::atomic<bool>* cancel,
                            Sound& sound);
/// Loads the library that reads videos and sound, which otherwise happens when the first is read. Throws Error as
/// load_companion.
void load_ffmpeg();
/// Animated (or still) WebP, which FFmpeg 5 does not read.
std::unique_ptr<VideoSource> open_webp_animation(const MediaFile& file);

/// Judges what a file claims. Throws Error bad_file for an empty size, unsupported above the limits.
void check_frame_size(const MediaFile& file, int64_t width, int64_t height);
void check_length(const MediaFile& file, const VideoInfo& info);
void check_not_cancelled(const MediaFile& file, const std::atomic<bool>* cancel);

}  // namespace minicpm

// Where untrusted pictures, sound and videos are decoded: in this process, or in processes that can do nothing else.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "media/image.h"
#include "media/sound.h"
#include "media/video.h"

namespace minicpm {

/// Used by several threads at once. All functions give the same numbers and throw the same errors as decode_image,
/// sound_from_bytes and VideoReader::from_bytes, and cancelled when `cancel` is set; `name` stands in messages.
class MediaDecoder {
 public:
  virtual ~MediaDecoder() = default;
  virtual Image image(std::span<const std::byte> bytes, const std::string& name, const DecodeOptions& options,
                      const std::atomic<bool>* cancel) = 0;
  virtual Sound sound(const std::string& bytes, const std::string& name, const SoundOptions& options,
                      const std::atomic<bool>* cancel) = 0;
  /// The reader must not outlive the decoder, nor `cancel` the call.
  virtual std::unique_ptr<VideoReader> video(std::string bytes, const std::string& name, const VideoOptions& options,
                                             const std::atomic<bool>* cancel) = 0;
};

/// In this process.
std::unique_ptr<MediaDecoder> direct_decoder();

}  // namespace minicpm

#include "media/media_decoder.h"

namespace minicpm {
namespace {

class DirectDecoder : public MediaDecoder {
 public:
  Image image(std::span<const std::byte> bytes, const std::string& name, const DecodeOptions& options,
              const std::atomic<bool>*) override {
    return decode_image(bytes, name, options);
  }
  Sound sound(const std::string& bytes, const std::string& name, const SoundOptions& options,
              const std::atomic<bool>* cancel) override {
    return sound_from_bytes(bytes, name, options, cancel);
  }
  std::unique_ptr<VideoReader> video(std::string bytes, const std::string& name, const VideoOptions& options,
                                     const std::atomic<bool>*) override {
    return VideoReader::from_bytes(std::move(bytes), name, options);
  }
};

}  // namespace

std::unique_ptr<MediaDecoder> direct_decoder() {
  return std::make_unique<DirectDecoder>();
}

}  // namespace minicpm

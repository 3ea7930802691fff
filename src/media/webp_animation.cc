// Animated WebP as a video, through libwebp's demuxer. Frames are composed on the canvas as a browser does; alpha is
// dropped as in still pictures.
#include <webp/demux.h>

#include <cstring>
#include <memory>

#include "base/error.h"
#include "media/video_source.h"

namespace minicpm {
namespace {

struct DemuxerDeleter {
  void operator()(WebPDemuxer* demuxer) const { WebPDemuxDelete(demuxer); }
};
struct DecoderDeleter {
  void operator()(WebPAnimDecoder* decoder) const { WebPAnimDecoderDelete(decoder); }
};

constexpr double kFpsWithoutDurations = 10;

WebPData data_of(const MediaFile& file) {
  return {reinterpret_cast<const uint8_t*>(file.bytes.data()), file.bytes.size()};
}

class WebpAnimation : public VideoSource {
 public:
  explicit WebpAnimation(const MediaFile& file) : file_(file) {
    const WebPData data = data_of(file_);
    const std::unique_ptr<WebPDemuxer, DemuxerDeleter> demuxer(WebPDemux(&data));
    if (demuxer == nullptr) {
      fail(ErrorCode::kBadFile, "{}: damaged WebP data: the header cannot be read, or the file ends early", file_.name);
    }
    info_.format = info_.codec = "webp";
    const uint32_t width = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_WIDTH);
    const uint32_t height = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_HEIGHT);
    check_frame_size(file_, width, height);
    info_.width = static_cast<int>(width);
    info_.height = static_cast<int>(height);
    info_.frames = WebPDemuxGetI(demuxer.get(), WEBP_FF_FRAME_COUNT);

    int64_t milliseconds = 0;
    WebPIterator frame;
    if (WebPDemuxGetFrame(demuxer.get(), 1, &frame)) {
      do
        milliseconds += frame.duration;
      while (WebPDemuxNextFrame(&frame));
      WebPDemuxReleaseIterator(&frame);
    }
    info_.fps = milliseconds > 0 ? 1000.0 * static_cast<double>(info_.frames) / static_cast<double>(milliseconds)
                                 : kFpsWithoutDurations;
    check_length(file_, info_);
  }

  const VideoInfo& info() const override { return info_; }

  void decode(std::span<const int64_t> wanted, const OnFrame& on_frame, const std::atomic<bool>* cancel) override {
    WebPAnimDecoderOptions options;
    if (!WebPAnimDecoderOptionsInit(&options)) fail(ErrorCode::kInternal, "libwebp is of another version");
    options.color_mode = MODE_RGBA;
    options.use_threads = file_.options.threads > 1 ? 1 : 0;
    const WebPData data = data_of(file_);
    const std::unique_ptr<WebPAnimDecoder, DecoderDeleter> decoder(WebPAnimDecoderNew(&data, &options));
    if (decoder == nullptr) fail(ErrorCode::kBadFile, "{}: damaged WebP data: no animation in it", file_.name);
    int64_t index = 0;
    for (size_t place = 0; place < wanted.size(); ++index) {
      check_not_cancelled(file_, cancel);
      uint8_t* rgba = nullptr;
      int milliseconds = 0;
      if (!WebPAnimDecoderGetNext(decoder.get(), &rgba, &milliseconds)) {
        fail(ErrorCode::kBadFile, "{}: damaged WebP data: frame {} of {} cannot be decoded", file_.name, index + 1,
             info_.frames);
      }
      if (index != wanted[place]) continue;
      on_frame(place, place + 1, without_alpha(rgba));
      ++place;
    }
  }

 private:
  Image without_alpha(const uint8_t* rgba) const {
    Image image{info_.width, info_.height, {}};
    const size_t pixels = static_cast<size_t>(info_.width) * static_cast<size_t>(info_.height);
    image.rgb.resize(pixels * 3);
    for (size_t i = 0; i < pixels; ++i)
      std::memcpy(image.rgb.data() + i * 3, rgba + i * 4, 3);
    return image;
  }

  MediaFile file_;
  VideoInfo info_;
};

}  // namespace

std::unique_ptr<VideoSource> open_webp_animation(const MediaFile& file) {
  return std::make_unique<WebpAnimation>(file);
}

}  // namespace minicpm

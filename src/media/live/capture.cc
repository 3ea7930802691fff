// Microphones and cameras through FFmpeg's devices.
extern "C" {
#include <libavcodec/avcodec.h>
#include <libavdevice/avdevice.h>
#include <libavformat/avformat.h>
#include <libavutil/avstring.h>
#include <libavutil/channel_layout.h>
#include <libavutil/log.h>
#include <libswresample/swresample.h>
#include <libswscale/swscale.h>
}

#include <algorithm>
#include <mutex>
#include <new>

#include "base/error.h"
#include "media/live/live.h"

namespace minicpm::live {
namespace {

// Devices that are used, by FFmpeg's names.
constexpr const char* kDevices = "alsa,pulse,v4l2,avfoundation,x11grab,lavfi";
constexpr int kRate = 16000;
constexpr int64_t kMostPixels = 8192 * 8192;

template <auto kFree>
struct Deleter {
  template <typename T>
  void operator()(T* object) const {
    kFree(&object);
  }
};
using Format = std::unique_ptr<AVFormatContext, Deleter<avformat_close_input>>;
using Codec = std::unique_ptr<AVCodecContext, Deleter<avcodec_free_context>>;
using Frame = std::unique_ptr<AVFrame, Deleter<av_frame_free>>;
using Packet = std::unique_ptr<AVPacket, Deleter<av_packet_free>>;
using Resampler = std::unique_ptr<SwrContext, Deleter<swr_free>>;

std::string text_of(int error) {
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(error, text, sizeof text);
  return text;
}

int is_cancelled(void* cancel) {
  const auto* flag = static_cast<const std::atomic<bool>*>(cancel);
  return flag != nullptr && flag->load() ? 1 : 0;
}

struct Address {
  std::string format, url;
};

Address address_of(const std::string& device) {
#ifdef __APPLE__
  if (device == "microphone") return {"avfoundation", ":0"};
  if (device == "camera") return {"avfoundation", "0"};
#else
  if (device == "microphone") return {"alsa", "default"};
  if (device == "camera") return {"v4l2", "/dev/video0"};
#endif
  const size_t colon = device.find(':');
  const std::string format = device.substr(0, colon);
  if (colon == std::string::npos || av_match_list(format.c_str(), kDevices, ',') <= 0) {
    fail(ErrorCode::kInvalidRequest,
         "{}: no device; expected microphone, camera, or one of {} with a colon and its address", device, kDevices);
  }
  return {format, device.substr(colon + 1)};
}

class FfmpegCapture : public Capture {
 public:
  explicit FfmpegCapture(const CaptureOptions& options) : options_(options) {
    static std::once_flag once;
    std::call_once(once, [] {
      avdevice_register_all();
      av_log_set_callback([](void*, int, const char*, va_list) {});  // it would write to standard error
    });
    open(address_of(options.device));
    packet_.reset(av_packet_alloc());
    frame_.reset(av_frame_alloc());
    if (packet_ == nullptr || frame_ == nullptr) throw std::bad_alloc();
  }
  ~FfmpegCapture() override { sws_freeContext(scaler_); }
  FfmpegCapture(const FfmpegCapture&) = delete;
  FfmpegCapture& operator=(const FfmpegCapture&) = delete;

  bool read(const CaptureSink& sink) override {
    const int got = av_read_frame(format_.get(), packet_.get());
    if (got == AVERROR(EAGAIN)) return true;
    if (got == AVERROR_EOF || got == AVERROR_EXIT) return false;
    if (got < 0) fail(ErrorCode::kIo, "{}: the device fails: {}", options_.device, text_of(got));
    const bool ours = packet_->stream_index == stream_->index;
    const int sent = ours ? avcodec_send_packet(codec_.get(), packet_.get()) : AVERROR(EAGAIN);
    av_packet_unref(packet_.get());
    if (sent < 0) return true;  // a damaged packet
    while (avcodec_receive_frame(codec_.get(), frame_.get()) >= 0) {
      options_.sound ? take_sound(sink) : take_picture(sink);
      av_frame_unref(frame_.get());
    }
    return true;
  }

 private:
  void open(const Address& address) {
    const AVInputFormat* input = av_find_input_format(address.format.c_str());
    if (input == nullptr) fail(ErrorCode::kUnsupported, "{}: FFmpeg here has no {}", options_.device, address.format);
    AVFormatContext* context = avformat_alloc_context();
    if (context == nullptr) throw std::bad_alloc();
    context->interrupt_callback = {is_cancelled, const_cast<std::atomic<bool>*>(options_.cancel)};
    const int opened = avformat_open_input(&context, address.url.c_str(), input, nullptr);
    if (opened < 0) {
      const ErrorCode code = opened == AVERROR(ENOENT) ? ErrorCode::kNotFound : ErrorCode::kIo;
      fail(code, "{}: the device cannot be opened: {}", options_.device, text_of(opened));
    }
    format_.reset(context);
    const AVCodec* decoder = nullptr;
    const AVMediaType type = options_.sound ? AVMEDIA_TYPE_AUDIO : AVMEDIA_TYPE_VIDEO;
    const int best = av_find_best_stream(context, type, -1, -1, &decoder, 0);
    if (best < 0 || decoder == nullptr) {
      fail(ErrorCode::kInvalidRequest, "{}: the device gives no {}", options_.device,
           options_.sound ? "sound" : "pictures");
    }
    stream_ = context->streams[best];
    codec_.reset(avcodec_alloc_context3(decoder));
    if (codec_ == nullptr || avcodec_parameters_to_context(codec_.get(), stream_->codecpar) < 0) throw std::bad_alloc();
    codec_->max_pixels = kMostPixels;
    const int started = avcodec_open2(codec_.get(), decoder, nullptr);
    if (started < 0) fail(ErrorCode::kIo, "{}: its signal cannot be decoded: {}", options_.device, text_of(started));
  }

  void take_sound(const CaptureSink& sink) {
    AVFrame& frame = *frame_;
    if (frame.nb_samples <= 0 || frame.sample_rate <= 0 || frame.ch_layout.nb_channels <= 0) return;
    if (frame.ch_layout.order == AV_CHANNEL_ORDER_UNSPEC) {
      av_channel_layout_default(&frame.ch_layout, frame.ch_layout.nb_channels);
    }
    const bool same =
        frame.sample_rate == rate_ && frame.format == sample_format_ && frame.ch_layout.nb_channels == channels_;
    if (resampler_ == nullptr || !same) open_resampler(frame);
    std::vector<float> samples(
        static_cast<size_t>(std::max(0, swr_get_out_samples(resampler_.get(), frame.nb_samples))));
    auto* out = reinterpret_cast<uint8_t*>(samples.data());
    const int made = swr_convert(resampler_.get(), &out, static_cast<int>(samples.size()),
                                 const_cast<const uint8_t**>(frame.extended_data), frame.nb_samples);
    if (made < 0) fail(ErrorCode::kIo, "{}: its sound cannot be converted: {}", options_.device, text_of(made));
    samples.resize(static_cast<size_t>(made));
    if (made > 0 && sink.on_sound) sink.on_sound(samples);
  }

  void open_resampler(AVFrame& frame) {
    rate_ = frame.sample_rate;
    sample_format_ = frame.format;
    channels_ = frame.ch_layout.nb_channels;
    AVChannelLayout mono = AV_CHANNEL_LAYOUT_MONO;
    SwrContext* context = nullptr;
    const int made = swr_alloc_set_opts2(&context, &mono, AV_SAMPLE_FMT_FLT, kRate, &frame.ch_layout,
                                         static_cast<AVSampleFormat>(frame.format), frame.sample_rate, 0, nullptr);
    resampler_.reset(context);
    const std::vector<double> mean(static_cast<size_t>(channels_), 1.0 / channels_);
    if (made < 0 || swr_set_matrix(context, mean.data(), channels_) < 0 || swr_init(context) < 0) {
      fail(ErrorCode::kUnsupported, "{}: sound of {} channels at {} Hz cannot be converted", options_.device, channels_,
           rate_);
    }
  }

  void take_picture(const CaptureSink& sink) {
    const AVFrame& frame = *frame_;
    const double time = frame.pts != AV_NOPTS_VALUE ? static_cast<double>(frame.pts) * av_q2d(stream_->time_base)
                                                    : static_cast<double>(pictures_) / 30;
    ++pictures_;
    if (frame.width <= 0 || frame.height <= 0) return;
    // A clock that jumps back begins anew.
    if (taken_ && time >= last_time_ && time - last_time_ < 1 / options_.pictures_a_second - 1e-3) return;
    taken_ = true;
    last_time_ = time;
    scaler_ =
        sws_getCachedContext(scaler_, frame.width, frame.height, static_cast<AVPixelFormat>(frame.format), frame.width,
                             frame.height, AV_PIX_FMT_RGB24, SWS_BILINEAR, nullptr, nullptr, nullptr);
    if (scaler_ == nullptr) fail(ErrorCode::kUnsupported, "{}: its pictures cannot be converted", options_.device);
    const Frame rgb(av_frame_alloc());
    if (rgb == nullptr) throw std::bad_alloc();
    rgb->width = frame.width;
    rgb->height = frame.height;
    rgb->format = AV_PIX_FMT_RGB24;
    if (av_frame_get_buffer(rgb.get(), 0) < 0) throw std::bad_alloc();
    sws_scale(scaler_, frame.data, frame.linesize, 0, frame.height, rgb->data, rgb->linesize);
    Image image{frame.width, frame.height, {}};
    const size_t row = static_cast<size_t>(frame.width) * 3;
    image.rgb.resize(row * static_cast<size_t>(frame.height));
    for (int y = 0; y < frame.height; ++y) {
      const uint8_t* from = rgb->data[0] + static_cast<ptrdiff_t>(y) * rgb->linesize[0];
      std::copy_n(from, row, image.rgb.data() + static_cast<size_t>(y) * row);
    }
    if (sink.on_picture) sink.on_picture(std::move(image));
  }

  CaptureOptions options_;
  Format format_;
  AVStream* stream_ = nullptr;
  Codec codec_;
  Packet packet_;
  Frame frame_;
  Resampler resampler_;
  SwsContext* scaler_ = nullptr;
  int rate_ = 0, sample_format_ = 0, channels_ = 0;  // of the sound so far
  int64_t pictures_ = 0;
  bool taken_ = false;
  double last_time_ = 0;
};

}  // namespace

std::unique_ptr<Capture> open_ffmpeg_capture(const CaptureOptions& options) {
  if (!(options.pictures_a_second > 0)) {
    fail(ErrorCode::kInvalidRequest, "{} pictures a second, expected more than 0", options.pictures_a_second);
  }
  return std::make_unique<FfmpegCapture>(options);
}

}  // namespace minicpm::live

// Sound through FFmpeg: decoded, mixed to one channel, brought to one rate.
extern "C" {
#include <libavutil/channel_layout.h>
#include <libavutil/frame.h>
#include <libavutil/opt.h>
#include <libswresample/swresample.h>
}

#include <algorithm>
#include <cmath>
#include <new>
#include <span>

#include "base/error.h"
#include "base/log.h"
#include "media/ffmpeg/ffmpeg_demuxer.h"
#include "media/sound.h"

namespace minicpm {
namespace {

/// Of samples that files of floats hold: far above full scale, and the squares are still finite.
constexpr float kLoudest = 1000;

struct FrameDeleter {
  void operator()(AVFrame* frame) const { av_frame_free(&frame); }
};
struct CodecDeleter {
  void operator()(AVCodecContext* context) const { avcodec_free_context(&context); }
};
struct ResamplerDeleter {
  void operator()(SwrContext* context) const { swr_free(&context); }
};

class SoundDecoder {
 public:
  SoundDecoder(const MediaFile& file, const SoundOptions& options, const std::atomic<bool>* cancel)
      : file_(file), options_(options), cancel_(cancel), demuxer_(file, kSoundStream, cancel) {
    codec_.reset(avcodec_alloc_context3(demuxer_.decoder()));
    frame_.reset(av_frame_alloc());
    if (codec_ == nullptr || frame_ == nullptr ||
        avcodec_parameters_to_context(codec_.get(), demuxer_.stream().codecpar) < 0) {
      throw std::bad_alloc();
    }
    codec_->pkt_timebase = demuxer_.stream().time_base;
    codec_->thread_count = 1;
    const int opened = avcodec_open2(codec_.get(), demuxer_.decoder(), nullptr);
    if (opened < 0) {
      fail(ErrorCode::kBadFile, "{}: damaged sound file: the decoder {} refuses its header: {}", file.name,
           demuxer_.decoder()->name, ffmpeg_error(opened));
    }
  }

  Sound run() {
    const Packet packet = make_packet();
    int64_t packets = 0;
    while (demuxer_.read(*packet)) {
      send(packet.get());
      ++packets;
    }
    send(nullptr);
    flush();
    if (sound_.samples.empty() && errors_ > 0) {
      fail(ErrorCode::kBadFile, "{}: damaged sound file: none of its {} packets can be decoded", file_.name, packets);
    }
    if (errors_ > 0) log_warning("{}: {} of {} packets of sound could not be decoded", file_.name, errors_, packets);
    sound_.rate = options_.rate;
    return std::move(sound_);
  }

 private:
  /// A null packet asks for what the decoder still holds.
  void send(const AVPacket* packet) {
    const int sent = avcodec_send_packet(codec_.get(), packet);
    if (sent < 0 && sent != AVERROR_EOF) ++errors_;
    for (;;) {
      if (cancel_ != nullptr && cancel_->load(std::memory_order_relaxed)) {
        fail(ErrorCode::kCancelled, "{}: reading was cancelled", file_.name);
      }
      const int got = avcodec_receive_frame(codec_.get(), frame_.get());
      if (got == AVERROR(EAGAIN) || got == AVERROR_EOF) return;
      if (got < 0) {
        ++errors_;
        return;
      }
      take();
    }
  }

  void take() {
    AVFrame& frame = *frame_;
    if (frame.nb_samples <= 0 || frame.sample_rate <= 0 || frame.ch_layout.nb_channels <= 0) return;
    if (frame.ch_layout.order == AV_CHANNEL_ORDER_UNSPEC) {
      av_channel_layout_default(&frame.ch_layout, frame.ch_layout.nb_channels);
    }
    if (resampler_ == nullptr || frame.sample_rate != rate_ || frame.format != format_ ||
        frame.ch_layout.nb_channels != channels_) {
      flush();
      open_resampler(frame);
    }
    convert(const_cast<const uint8_t**>(frame.extended_data), frame.nb_samples);
  }

  void open_resampler(AVFrame& frame) {
    rate_ = frame.sample_rate;
    format_ = frame.format;
    channels_ = frame.ch_layout.nb_channels;
    AVChannelLayout mono = AV_CHANNEL_LAYOUT_MONO;
    // libsoxr where FFmpeg has it; its own filter, made longer, where not.
    for (const bool soxr : {true, false}) {
      SwrContext* context = nullptr;
      if (swr_alloc_set_opts2(&context, &mono, AV_SAMPLE_FMT_FLT, options_.rate, &frame.ch_layout,
                              static_cast<AVSampleFormat>(frame.format), frame.sample_rate, 0, nullptr) < 0) {
        throw std::bad_alloc();
      }
      resampler_.reset(context);
      if (soxr) {
        av_opt_set_int(context, "resampler", SWR_ENGINE_SOXR, 0);
        av_opt_set_double(context, "precision", 20, 0);
      } else {
        av_opt_set_int(context, "filter_size", 64, 0);
        av_opt_set_double(context, "cutoff", 0.97, 0);
      }
      // The mean of all channels; FFmpeg's own mixing would depend on their names.
      const std::vector<double> mean(static_cast<size_t>(channels_), 1.0 / channels_);
      if (swr_set_matrix(context, mean.data(), channels_) < 0) continue;
      if (swr_init(context) >= 0) return;
    }
    fail(ErrorCode::kUnsupported, "{}: sound of {} channels at {} Hz cannot be converted", file_.name, channels_,
         rate_);
  }

  /// `count` samples a channel; null and 0 ask for what the resampler still holds.
  void convert(const uint8_t** data, int count) {
    const int room = swr_get_out_samples(resampler_.get(), count);
    if (room < 0) throw std::bad_alloc();
    const size_t before = sound_.samples.size();
    const double most = options_.max_seconds * options_.rate;
    if (static_cast<double>(before) > most) {
      fail(ErrorCode::kUnsupported, "{}: holds more than {} seconds of sound", file_.name, options_.max_seconds);
    }
    sound_.samples.resize(before + static_cast<size_t>(room));
    auto* out = reinterpret_cast<uint8_t*>(sound_.samples.data() + before);
    const int made = swr_convert(resampler_.get(), &out, room, data, count);
    if (made < 0) {
      fail(ErrorCode::kBadFile, "{}: damaged sound file: {}", file_.name, ffmpeg_error(made));
    }
    sound_.samples.resize(before + static_cast<size_t>(made));
    for (float& sample : std::span(sound_.samples).subspan(before))
      sample = std::isfinite(sample) ? std::clamp(sample, -kLoudest, kLoudest) : 0.0f;
  }

  void flush() {
    if (resampler_ != nullptr) convert(nullptr, 0);
  }

  const MediaFile& file_;
  const SoundOptions& options_;
  const std::atomic<bool>* cancel_;
  FfmpegDemuxer demuxer_;
  std::unique_ptr<AVCodecContext, CodecDeleter> codec_;
  std::unique_ptr<AVFrame, FrameDeleter> frame_;
  std::unique_ptr<SwrContext, ResamplerDeleter> resampler_;
  int rate_ = 0, format_ = 0, channels_ = 0;  // of the frames so far
  int64_t errors_ = 0;                        // of the decoder
  Sound sound_;
};

}  // namespace
}  // namespace minicpm

/// What the library exports. `log` is the program's: this library has a sink of its own.
extern "C" __attribute__((visibility("default"))) void minicpm_read_sound(
    const minicpm::MediaFile& file, const minicpm::SoundOptions& options, const std::atomic<bool>* cancel,
    minicpm::Sound& sound, void (*log)(minicpm::LogLevel, std::string_view)) {
  static const bool kOnce = (minicpm::set_log_sink(log), true);
  (void)kOnce;
  sound = minicpm::SoundDecoder(file, options, cancel).run();
}

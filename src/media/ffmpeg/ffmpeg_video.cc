// Videos through FFmpeg. Frames are chosen by their number in the order of showing; groups of pictures without a wanted
// frame are passed over undecoded.
extern "C" {
#include <libavutil/display.h>
#include <libavutil/frame.h>
#include <libswscale/swscale.h>
}

#include <algorithm>
#include <cmath>
#include <new>

#include "base/error.h"
#include "base/log.h"
#include "media/decoders.h"
#include "media/ffmpeg/ffmpeg_demuxer.h"
#include "media/packet_index.h"

namespace minicpm {
namespace {

struct FrameDeleter {
  void operator()(AVFrame* frame) const { av_frame_free(&frame); }
};
using Frame = std::unique_ptr<AVFrame, FrameDeleter>;

Frame make_frame() {
  Frame frame(av_frame_alloc());
  if (frame == nullptr) throw std::bad_alloc();
  return frame;
}

struct CodecDeleter {
  void operator()(AVCodecContext* context) const { avcodec_free_context(&context); }
};
using Codec = std::unique_ptr<AVCodecContext, CodecDeleter>;

Codec open_codec(const FfmpegDemuxer& demuxer, const MediaFile& file) {
  Codec codec(avcodec_alloc_context3(demuxer.decoder()));
  if (codec == nullptr || avcodec_parameters_to_context(codec.get(), demuxer.stream().codecpar) < 0) {
    throw std::bad_alloc();
  }
  codec->thread_count = std::clamp(file.options.threads, 1, 16);
  codec->max_pixels = file.options.limits.max_pixels;
  codec->pkt_timebase = demuxer.stream().time_base;
  const int opened = avcodec_open2(codec.get(), demuxer.decoder(), nullptr);
  if (opened < 0) {
    fail(ErrorCode::kBadFile, "{}: damaged video: the decoder {} refuses its header: {}", file.name,
         demuxer.decoder()->name, ffmpeg_error(opened));
  }
  return codec;
}

double rate(AVRational value) {
  return value.num > 0 && value.den > 0 ? av_q2d(value) : 0.0;
}

/// FFmpeg's average; where it has none, from the length.
double average_fps(const AVStream& stream, int64_t frames) {
  const double average = rate(stream.avg_frame_rate);
  if (average > 0) return average;
  const double seconds = static_cast<double>(std::max<int64_t>(stream.duration, 0)) * rate(stream.time_base);
  if (frames > 1 && seconds > 0) return static_cast<double>(frames) / seconds;
  const double basic = rate(stream.r_frame_rate);
  return basic > 0 ? basic : 1.0;
}

/// Clockwise, from the matrix that phones store. Angles that are no multiple of 90 degrees are left alone.
int rotation_of(const AVStream& stream) {
  size_t bytes = 0;
  const uint8_t* matrix = av_stream_get_side_data(&stream, AV_PKT_DATA_DISPLAYMATRIX, &bytes);
  if (matrix == nullptr || bytes < 9 * sizeof(int32_t)) return 0;
  const double angle = -av_display_rotation_get(reinterpret_cast<const int32_t*>(matrix));
  const double quarters = std::round(angle / 90);
  if (!std::isfinite(angle) || std::abs(angle - quarters * 90) > 1) return 0;
  return ((static_cast<int>(quarters) % 4 + 4) % 4) * 90;
}

/// The orientation of docs/images.md that turns a picture so.
int orientation_of(int rotation) {
  return rotation == 90 ? 6 : rotation == 180 ? 3 : rotation == 270 ? 8 : 1;
}

/// Frames in any of FFmpeg's formats to RGB of one size.
class RgbConverter {
 public:
  RgbConverter(const MediaFile& file, int width, int height) : file_(file), width_(width), height_(height) {}
  ~RgbConverter() { sws_freeContext(context_); }
  RgbConverter(const RgbConverter&) = delete;
  RgbConverter& operator=(const RgbConverter&) = delete;

  Image convert(const AVFrame& frame) {
    // Planar frames of the stream's own size take FFmpeg's direct path; the filter matters for the others only.
    context_ = sws_getCachedContext(context_, frame.width, frame.height, static_cast<AVPixelFormat>(frame.format),
                                    width_, height_, AV_PIX_FMT_RGB24, SWS_BILINEAR, nullptr, nullptr, nullptr);
    if (context_ == nullptr) {
      fail(ErrorCode::kUnsupported, "{}: frames of this pixel format cannot be converted", file_.name);
    }
    constexpr int kOne = 1 << 16;
    sws_setColorspaceDetails(context_, sws_getCoefficients(frame.colorspace), frame.color_range == AVCOL_RANGE_JPEG,
                             sws_getCoefficients(SWS_CS_DEFAULT), 0, 0, kOne, kOne);
    // Converters write whole vectors: rows of FFmpeg's own frames have room for that.
    if (rgb_ == nullptr) {
      rgb_ = make_frame();
      rgb_->width = width_;
      rgb_->height = height_;
      rgb_->format = AV_PIX_FMT_RGB24;
      if (av_frame_get_buffer(rgb_.get(), 0) < 0) throw std::bad_alloc();
    }
    if (sws_scale(context_, frame.data, frame.linesize, 0, frame.height, rgb_->data, rgb_->linesize) < 0) {
      fail(ErrorCode::kBadFile, "{}: damaged video: a frame cannot be converted to RGB", file_.name);
    }
    Image image{width_, height_, {}};
    const size_t row = static_cast<size_t>(width_) * 3;
    image.rgb.resize(row * static_cast<size_t>(height_));
    for (int y = 0; y < height_; ++y) {
      const uint8_t* from = rgb_->data[0] + static_cast<ptrdiff_t>(y) * rgb_->linesize[0];
      std::copy_n(from, row, image.rgb.data() + static_cast<size_t>(y) * row);
    }
    return image;
  }

 private:
  const MediaFile& file_;
  int width_, height_;
  SwsContext* context_ = nullptr;
  Frame rgb_;
};

/// One walk through the file that hands out the wanted frames.
class DecodePass {
 public:
  DecodePass(const MediaFile& file, const PacketIndex& index, const VideoInfo& info, std::span<const int64_t> wanted,
             const VideoSource::OnFrame& on_frame, const std::atomic<bool>* cancel)
      : file_(file),
        index_(index),
        info_(info),
        wanted_(wanted),
        on_frame_(on_frame),
        cancel_(cancel),
        demuxer_(file, kVideoStream, cancel),
        codec_(open_codec(demuxer_, file)),
        converter_(file, demuxer_.stream().codecpar->width, demuxer_.stream().codecpar->height) {}

  /// With `skip`, packets before the key picture of the next wanted frame are not decoded; false then means that a
  /// frame was missing or damaged, and that the walk must be made without. Without, frames are replaced where they must
  /// be.
  bool run(bool skip);

  size_t missing() const { return missing_; }
  bool has_errors() const { return errors_ > 0; }

 private:
  bool done() const { return next_ == wanted_.size(); }
  void send(const AVPacket* packet);
  void take();
  void finish();
  void hand_out(size_t to, const AVFrame& frame);

  const MediaFile& file_;
  const PacketIndex& index_;
  const VideoInfo& info_;
  std::span<const int64_t> wanted_;
  const VideoSource::OnFrame& on_frame_;
  const std::atomic<bool>* cancel_;
  FfmpegDemuxer demuxer_;
  Codec codec_;
  RgbConverter converter_;
  Frame frame_ = make_frame(), last_ = make_frame();  // as it comes; the one before
  bool skip_ = false, give_up_ = false;
  size_t next_ = 0;      // of wanted_
  int64_t counted_ = 0;  // frames that came
  size_t missing_ = 0;   // of wanted_
  size_t errors_ = 0;    // of the decoder
};

bool DecodePass::run(bool skip) {
  skip_ = skip;
  const Packet packet = make_packet();
  size_t begin = skip ? index_.start_for(wanted_[0]) : 0;
  for (size_t ordinal = 0; !done() && !give_up_ && demuxer_.read(*packet); ++ordinal) {
    if (ordinal < begin) continue;
    if (index_.exact()) {
      // Decoders hand the time of a packet on to its frame: the frame's number serves as one.
      packet->pts = ordinal < index_.packets() ? index_.frame_of(ordinal) : -1;
      packet->dts = AV_NOPTS_VALUE;
    }
    const size_t before = next_;
    send(packet.get());
    if (!skip || next_ == before || done()) continue;
    const size_t start = index_.start_for(wanted_[next_]);
    if (start <= ordinal) continue;
    begin = start;
    avcodec_flush_buffers(codec_.get());
  }
  if (!done() && !give_up_) send(nullptr);
  if (skip && (!done() || give_up_)) return false;
  if (!done()) finish();
  return true;
}

/// A null packet asks for the frames that the decoder still holds.
void DecodePass::send(const AVPacket* packet) {
  const int sent = avcodec_send_packet(codec_.get(), packet);
  if (sent < 0 && sent != AVERROR_EOF) ++errors_;
  while (!done() && !give_up_) {
    check_not_cancelled(file_, cancel_);
    const int got = avcodec_receive_frame(codec_.get(), frame_.get());
    if (got == AVERROR(EAGAIN) || got == AVERROR_EOF) return;
    if (got < 0) {
      ++errors_;
      if (packet != nullptr) return;
      // While draining, threads report the errors of their frames one by one.
      if (errors_ > index_.packets() + 64) return;
      continue;
    }
    take();
  }
}

void DecodePass::take() {
  const int64_t number = index_.exact() ? frame_->pts : counted_;
  ++counted_;
  if (number < 0) return;
  if (number < wanted_[next_]) {
    av_frame_unref(last_.get());
    av_frame_move_ref(last_.get(), frame_.get());
    return;
  }
  size_t to = next_;
  while (to < wanted_.size() && wanted_[to] <= number)
    ++to;
  const bool hit = wanted_[to - 1] == number;
  const size_t lost = to - next_ - (hit ? 1 : 0);
  const bool damaged = frame_->decode_error_flags != 0 || (frame_->flags & AV_FRAME_FLAG_CORRUPT) != 0;
  if (skip_ && (lost > 0 || damaged)) {
    give_up_ = true;
    return;
  }
  missing_ += lost;
  hand_out(to, *frame_);
  av_frame_unref(last_.get());
  av_frame_move_ref(last_.get(), frame_.get());
}

/// At the end of the file: the last frame stands for those that never came.
void DecodePass::finish() {
  missing_ += wanted_.size() - next_;
  if (last_->width == 0) {
    fail(ErrorCode::kBadFile, "{}: damaged video: none of its {} frames can be decoded", file_.name, info_.frames);
  }
  hand_out(wanted_.size(), *last_);
}

void DecodePass::hand_out(size_t to, const AVFrame& frame) {
  on_frame_(next_, to, apply_orientation(converter_.convert(frame), orientation_of(info_.rotation)));
  next_ = to;
}

class FfmpegVideo : public VideoSource {
 public:
  explicit FfmpegVideo(const MediaFile& file) : file_(file), index_({}) {
    FfmpegDemuxer demuxer(file_, kVideoStream, nullptr);
    const AVCodecParameters& codec = *demuxer.stream().codecpar;
    check_frame_size(file_, codec.width, codec.height);
    info_.format = demuxer.format();
    info_.codec = avcodec_get_name(codec.codec_id);
    info_.rotation = rotation_of(demuxer.stream());
    const bool turned = info_.rotation % 180 != 0;
    info_.width = turned ? codec.height : codec.width;
    info_.height = turned ? codec.width : codec.height;
    index_ = PacketIndex(list_packets(demuxer));
    info_.frames = index_.frames();
    info_.fps = average_fps(demuxer.stream(), info_.frames);
    check_length(file_, info_);
  }

  const VideoInfo& info() const override { return info_; }

  void decode(std::span<const int64_t> wanted, const OnFrame& on_frame, const std::atomic<bool>* cancel) override {
    if (index_.exact() && DecodePass(file_, index_, info_, wanted, on_frame, cancel).run(true)) return;
    DecodePass pass(file_, index_, info_, wanted, on_frame, cancel);
    pass.run(false);
    if (pass.missing() == 0) return;
    if (pass.has_errors() && pass.missing() * 2 > wanted.size()) {
      fail(ErrorCode::kBadFile, "{}: damaged video: {} of the {} frames to look at cannot be decoded", file_.name,
           pass.missing(), wanted.size());
    }
    log_warning("{}: {} of {} frames could not be decoded; their neighbours are shown", file_.name, pass.missing(),
                wanted.size());
  }

 private:
  std::vector<PacketEntry> list_packets(FfmpegDemuxer& demuxer) const {
    std::vector<PacketEntry> packets;
    const Packet packet = make_packet();
    while (demuxer.read(*packet)) {
      if (static_cast<int64_t>(packets.size()) >= file_.options.limits.max_frames) {
        fail(ErrorCode::kUnsupported, "{}: the video has more than {} frames", file_.name,
             file_.options.limits.max_frames);
      }
      packets.push_back({packet->pts, packet->pts != AV_NOPTS_VALUE, (packet->flags & AV_PKT_FLAG_KEY) != 0,
                         (packet->flags & AV_PKT_FLAG_DISCARD) == 0});
    }
    return packets;
  }

  MediaFile file_;
  PacketIndex index_;
  VideoInfo info_;
};

}  // namespace

}  // namespace minicpm

/// What the library exports. `log` is the program's: this library has a sink of its own.
extern "C" __attribute__((visibility("default"))) void minicpm_open_ffmpeg(
    const minicpm::MediaFile& file, std::unique_ptr<minicpm::VideoSource>& source,
    void (*log)(minicpm::LogLevel, std::string_view)) {
  static const bool kOnce = (minicpm::set_log_sink(log), true);
  (void)kOnce;
  source = std::make_unique<minicpm::FfmpegVideo>(file);
}

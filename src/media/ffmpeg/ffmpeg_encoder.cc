// Sound to compressed files through FFmpeg, written to memory.
extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/channel_layout.h>
}

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <memory>
#include <new>

#include "base/error.h"
#include "base/log.h"
#include "media/ffmpeg/ffmpeg_demuxer.h"
#include "media/sound_writer.h"

namespace minicpm {
namespace {

/// How a format is made: the muxer and the encoder by FFmpeg's names, and the bits a second for mono speech (0: no
/// choice).
struct FormatRow {
  SoundFormat format;
  const char *name, *muxer, *encoder;
  int64_t bit_rate;
};
constexpr FormatRow kFormats[] = {
    {SoundFormat::kMp3, "MP3", "mp3", "libmp3lame", 64'000},
    {SoundFormat::kFlac, "FLAC", "flac", "flac", 0},
    {SoundFormat::kVorbis, "Ogg Vorbis", "ogg", "libvorbis", 64'000},
    {SoundFormat::kOpus, "Opus", "opus", "libopus", 32'000},
    {SoundFormat::kAac, "AAC", "ipod", "aac", 64'000},
};

/// A file in memory that may be written anywhere.
class MemoryFile {
 public:
  MemoryFile() {
    constexpr int kBuffer = 1 << 16;
    auto* buffer = static_cast<uint8_t*>(av_malloc(kBuffer));
    io_ = buffer == nullptr ? nullptr : avio_alloc_context(buffer, kBuffer, 1, this, nullptr, write, seek);
    if (io_ == nullptr) {
      av_free(buffer);
      throw std::bad_alloc();
    }
  }
  ~MemoryFile() {
    av_freep(&io_->buffer);
    avio_context_free(&io_);
  }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  AVIOContext* io() { return io_; }
  std::string take() {
    avio_flush(io_);
    return std::move(bytes_);
  }

 private:
  static int write(void* self, uint8_t* data, int size) {
    auto& file = *static_cast<MemoryFile*>(self);
    const auto count = static_cast<size_t>(size);
    try {
      if (file.bytes_.size() < file.at_ + count) file.bytes_.resize(file.at_ + count);
    } catch (const std::bad_alloc&) {
      return AVERROR(ENOMEM);
    }
    std::copy_n(data, count, file.bytes_.begin() + static_cast<ptrdiff_t>(file.at_));
    file.at_ += count;
    return size;
  }
  static int64_t seek(void* self, int64_t offset, int whence) {
    auto& file = *static_cast<MemoryFile*>(self);
    const auto size = static_cast<int64_t>(file.bytes_.size());
    if (whence == AVSEEK_SIZE) return size;
    const int64_t base = whence == SEEK_CUR ? static_cast<int64_t>(file.at_) : whence == SEEK_END ? size : 0;
    if (base + offset < 0) return AVERROR(EINVAL);
    file.at_ = static_cast<size_t>(base + offset);
    return base + offset;
  }

  AVIOContext* io_ = nullptr;
  std::string bytes_;
  size_t at_ = 0;
};

struct FormatDeleter {
  void operator()(AVFormatContext* format) const { avformat_free_context(format); }
};
struct EncoderDeleter {
  void operator()(AVCodecContext* codec) const { avcodec_free_context(&codec); }
};
struct FrameDeleter {
  void operator()(AVFrame* frame) const { av_frame_free(&frame); }
};

class SoundEncoder {
 public:
  SoundEncoder(const FormatRow& row, int rate) : row_(row) {
    const AVCodec* encoder = avcodec_find_encoder_by_name(row.encoder);
    AVFormatContext* format = nullptr;
    if (encoder == nullptr || avformat_alloc_output_context2(&format, nullptr, row.muxer, nullptr) < 0) {
      fail(ErrorCode::kUnsupported, "this FFmpeg cannot write {}: it lacks {}", row.name,
           encoder == nullptr ? row.encoder : row.muxer);
    }
    format_.reset(format);
    codec_.reset(avcodec_alloc_context3(encoder));
    frame_.reset(av_frame_alloc());
    if (codec_ == nullptr || frame_ == nullptr) throw std::bad_alloc();
    open(*encoder, rate);
    AVStream* stream = avformat_new_stream(format, nullptr);
    if (stream == nullptr) throw std::bad_alloc();
    stream->time_base = codec_->time_base;
    require(avcodec_parameters_from_context(stream->codecpar, codec_.get()), "the stream");
    format->pb = file_.io();
    format->flags |= AVFMT_FLAG_BITEXACT;  // no dates, random numbers and versions: equal sound gives equal files
    require(avformat_write_header(format, nullptr), "the header");
  }

  std::string run(std::span<const float> samples) {
    const size_t whole = codec_->frame_size > 0 ? static_cast<size_t>(codec_->frame_size) : 4096;
    for (size_t at = 0; at < samples.size(); at += whole) {
      fill(samples.subspan(at, std::min(whole, samples.size() - at)));
      frame_->pts = static_cast<int64_t>(at);
      send(frame_.get());
    }
    send(nullptr);
    require(av_write_trailer(format_.get()), "the end");
    return file_.take();
  }

 private:
  void require(int result, std::string_view what) const {
    if (result < 0) fail(ErrorCode::kUnsupported, "{}: {}: {}", row_.name, what, ffmpeg_error(result));
  }

  void open(const AVCodec& encoder, int rate) {
    for (const int* known = encoder.supported_samplerates; known != nullptr; ++known) {
      if (*known == 0) fail(ErrorCode::kUnsupported, "{} has no rate of {} Hz", row_.name, rate);
      if (*known == rate) break;
    }
    constexpr AVSampleFormat kWanted[] = {AV_SAMPLE_FMT_FLTP, AV_SAMPLE_FMT_FLT, AV_SAMPLE_FMT_S16P, AV_SAMPLE_FMT_S16};
    const AVSampleFormat* format = std::ranges::find_if(kWanted, [&](AVSampleFormat wanted) {
      for (const AVSampleFormat* known = encoder.sample_fmts; known != nullptr && *known >= 0; ++known) {
        if (*known == wanted) return true;
      }
      return false;
    });
    if (format == std::end(kWanted))
      fail(ErrorCode::kUnsupported, "{}: none of its sample formats is known", row_.name);
    codec_->sample_fmt = *format;
    codec_->sample_rate = rate;
    codec_->time_base = {1, rate};
    codec_->ch_layout = AV_CHANNEL_LAYOUT_MONO;
    codec_->bit_rate = row_.bit_rate;
    codec_->thread_count = 1;
    codec_->flags |= AV_CODEC_FLAG_BITEXACT;
    if ((format_->oformat->flags & AVFMT_GLOBALHEADER) != 0) codec_->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    require(avcodec_open2(codec_.get(), &encoder, nullptr), "the encoder");
  }

  /// One channel, so planes and interleaving are the same.
  void fill(std::span<const float> samples) {
    AVFrame& frame = *frame_;
    av_frame_unref(&frame);
    frame.nb_samples = static_cast<int>(samples.size());
    frame.format = codec_->sample_fmt;
    frame.sample_rate = codec_->sample_rate;
    require(av_channel_layout_copy(&frame.ch_layout, &codec_->ch_layout), "a frame");
    if (av_frame_get_buffer(&frame, 0) < 0) throw std::bad_alloc();
    const bool real = codec_->sample_fmt == AV_SAMPLE_FMT_FLTP || codec_->sample_fmt == AV_SAMPLE_FMT_FLT;
    for (size_t i = 0; i < samples.size(); ++i) {
      const float value = std::clamp(std::isnan(samples[i]) ? 0.0f : samples[i], -1.0f, 1.0f);
      if (real) {
        reinterpret_cast<float*>(frame.data[0])[i] = value;
      } else {
        reinterpret_cast<int16_t*>(frame.data[0])[i] = static_cast<int16_t>(std::lround(value * 32767.0f));
      }
    }
  }

  /// A null frame asks for what the encoder still holds.
  void send(const AVFrame* frame) {
    require(avcodec_send_frame(codec_.get(), frame), "a frame");
    const Packet packet = make_packet();
    for (;;) {
      const int got = avcodec_receive_packet(codec_.get(), packet.get());
      if (got == AVERROR(EAGAIN) || got == AVERROR_EOF) return;
      require(got, "a packet");
      const AVStream* stream = format_->streams[0];
      av_packet_rescale_ts(packet.get(), codec_->time_base, stream->time_base);
      packet->stream_index = 0;
      require(av_interleaved_write_frame(format_.get(), packet.get()), "a packet");
    }
  }

  const FormatRow& row_;
  MemoryFile file_;
  std::unique_ptr<AVFormatContext, FormatDeleter> format_;
  std::unique_ptr<AVCodecContext, EncoderDeleter> codec_;
  std::unique_ptr<AVFrame, FrameDeleter> frame_;
};

}  // namespace
}  // namespace minicpm

/// What the library exports. `log` is the program's: this library has a sink of its own.
extern "C" __attribute__((visibility("default"))) void minicpm_encode_sound(
    std::span<const float> samples, int rate, minicpm::SoundFormat format, std::string& bytes,
    void (*log)(minicpm::LogLevel, std::string_view)) {
  static const bool kOnce =
      (minicpm::set_log_sink(log), av_log_set_callback([](void*, int, const char*, va_list) {}), true);
  (void)kOnce;
  const auto* row = std::ranges::find(minicpm::kFormats, format, &minicpm::FormatRow::format);
  MINICPM_CHECK(row != std::end(minicpm::kFormats));
  bytes = minicpm::SoundEncoder(*row, rate).run(samples);
}

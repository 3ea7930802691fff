// Small videos for tests, encoded in memory by the FFmpeg libraries. Every frame shows its number as black and white
// squares, so that a decoded frame says which one it is.
#pragma once

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/display.h>
#include <libavutil/opt.h>
}
#include <webp/encode.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "media/image.h"

namespace minicpm::testing {

struct VideoSpec {
  const char* format = "matroska";
  const char* codec = "ffv1";
  AVPixelFormat pixels = AV_PIX_FMT_BGR0;
  int width = 128, height = 32;  // squares of 16 pixels, 8 in a row
  int fps = 10;
  int frames = 20;
  int gop = 1;                 // frames from one key picture to the next
  int b_frames = 0;            // between others
  int rotation = 0;            // clockwise degrees to show it at
  std::vector<int64_t> times;  // of each frame in milliseconds; empty: evenly
};

inline void require(bool ok, const char* what) {
  if (!ok) throw std::runtime_error(std::string("test video: ") + what);
}

/// Whether the square at this pixel is white in frame `index`.
inline bool is_white(int index, int x, int y, int width) {
  const int bit = (y / 16) * (width / 16) + x / 16;
  return bit < 16 && (index >> bit & 1) != 0;
}

/// The number that a frame shows.
inline int shown_index(const Image& image) {
  int index = 0;
  for (int bit = 0; bit < 16; ++bit) {
    const int x = bit % (image.width / 16) * 16 + 8, y = bit / (image.width / 16) * 16 + 8;
    if (y < image.height && image.row(y)[x * 3 + 1] >= 128) index |= 1 << bit;
  }
  return index;
}

inline Image painted_frame(int index, int width, int height) {
  Image image{width, height, std::vector<uint8_t>(static_cast<size_t>(width) * height * 3)};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      uint8_t* pixel = image.rgb.data() + (static_cast<size_t>(y) * width + x) * 3;
      const bool white = is_white(index, x, y, width);
      pixel[0] = white ? 250 : static_cast<uint8_t>(index % 64);
      pixel[1] = white ? 255 : 0;
      pixel[2] = white ? 240 : static_cast<uint8_t>(x % 100);
    }
  }
  return image;
}

/// Fills a frame in one of the formats that the tests use.
inline void paint(AVFrame& frame, int index) {
  const Image image = painted_frame(index, frame.width, frame.height);
  const bool rgb = frame.format == AV_PIX_FMT_BGR0;
  for (int y = 0; y < frame.height; ++y) {
    for (int x = 0; x < frame.width; ++x) {
      const uint8_t* pixel = image.row(y) + x * 3;
      uint8_t* out = frame.data[0] + y * frame.linesize[0] + x * (rgb ? 4 : 1);
      if (rgb) {
        out[0] = pixel[2];
        out[1] = pixel[1];
        out[2] = pixel[0];
        out[3] = 255;
      } else {
        out[0] = pixel[1] > 0 ? 235 : 16;
      }
    }
  }
  for (int plane = 1; !rgb && plane < 3 && frame.data[plane] != nullptr && frame.format != AV_PIX_FMT_GRAY8; ++plane) {
    for (int y = 0; y < frame.height / 2; ++y)
      std::fill_n(frame.data[plane] + y * frame.linesize[plane], frame.width / 2, uint8_t{128});
  }
}

/// A file in memory for FFmpeg to write to. (Its own dynamic buffers lose what is written after seeking back.)
struct MemoryOutput {
  std::string bytes;
  size_t at = 0;

  static int write(void* self, uint8_t* data, int size) {
    auto* out = static_cast<MemoryOutput*>(self);
    const auto count = static_cast<size_t>(size);
    out->bytes.resize(std::max(out->bytes.size(), out->at + count));
    std::copy_n(data, count, out->bytes.begin() + static_cast<ptrdiff_t>(out->at));
    out->at += count;
    return size;
  }
  static int64_t seek(void* self, int64_t offset, int whence) {
    auto* out = static_cast<MemoryOutput*>(self);
    if (whence == AVSEEK_SIZE) return static_cast<int64_t>(out->bytes.size());
    const size_t base = whence == SEEK_CUR ? out->at : whence == SEEK_END ? out->bytes.size() : 0;
    out->at = base + static_cast<size_t>(offset);
    return static_cast<int64_t>(out->at);
  }
};

/// Whether this FFmpeg has the encoder.
inline bool can_encode(const char* codec) {
  return avcodec_find_encoder_by_name(codec) != nullptr;
}

inline std::string make_video(const VideoSpec& spec) {
  av_log_set_level(AV_LOG_QUIET);
  AVFormatContext* format = nullptr;
  require(avformat_alloc_output_context2(&format, nullptr, spec.format, nullptr) >= 0, "no such container");
  MemoryOutput output;
  constexpr int kBuffer = 4096;
  format->pb = avio_alloc_context(static_cast<uint8_t*>(av_malloc(kBuffer)), kBuffer, 1, &output, nullptr,
                                  MemoryOutput::write, MemoryOutput::seek);
  const AVCodec* encoder = avcodec_find_encoder_by_name(spec.codec);
  require(encoder != nullptr, "no such encoder");
  AVCodecContext* codec = avcodec_alloc_context3(encoder);
  codec->width = spec.width;
  codec->height = spec.height;
  codec->pix_fmt = spec.pixels;
  codec->time_base = spec.times.empty() ? AVRational{1, spec.fps} : AVRational{1, 1000};
  codec->framerate = {spec.fps, 1};
  codec->gop_size = spec.gop;
  codec->max_b_frames = spec.b_frames;
  codec->bit_rate = 4'000'000;
  codec->thread_count = 1;
  if ((format->oformat->flags & AVFMT_GLOBALHEADER) != 0) codec->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
  av_opt_set(codec->priv_data, "x265-params", "log-level=none", 0);  // fails quietly for other encoders
  require(avcodec_open2(codec, encoder, nullptr) >= 0, "the encoder does not open");
  AVStream* stream = avformat_new_stream(format, nullptr);
  stream->time_base = codec->time_base;
  if (spec.times.empty()) stream->avg_frame_rate = codec->framerate;
  avcodec_parameters_from_context(stream->codecpar, codec);
  if (spec.rotation != 0) {
    auto* matrix =
        reinterpret_cast<int32_t*>(av_stream_new_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, 9 * sizeof(int32_t)));
    av_display_rotation_set(matrix, spec.rotation);
  }
  require(avformat_write_header(format, nullptr) >= 0, "the header cannot be written");

  AVFrame* frame = av_frame_alloc();
  frame->width = spec.width;
  frame->height = spec.height;
  frame->format = spec.pixels;
  require(av_frame_get_buffer(frame, 0) >= 0, "no memory");
  AVPacket* packet = av_packet_alloc();
  for (int i = 0; i <= spec.frames; ++i) {
    if (i < spec.frames) {
      require(av_frame_make_writable(frame) >= 0, "no memory");
      paint(*frame, i);
      frame->pts = spec.times.empty() ? i : spec.times[static_cast<size_t>(i)];
    }
    require(avcodec_send_frame(codec, i < spec.frames ? frame : nullptr) >= 0, "a frame is not encoded");
    while (avcodec_receive_packet(codec, packet) >= 0) {
      if (packet->duration == 0) packet->duration = 1;  // the last one would end where it begins, and be cut away
      av_packet_rescale_ts(packet, codec->time_base, stream->time_base);
      packet->stream_index = stream->index;
      require(av_interleaved_write_frame(format, packet) >= 0, "a packet is not written");
    }
  }
  require(av_write_trailer(format) >= 0, "the end cannot be written");
  avio_flush(format->pb);
  av_freep(&format->pb->buffer);
  avio_context_free(&format->pb);
  av_packet_free(&packet);
  av_frame_free(&frame);
  avcodec_free_context(&codec);
  avformat_free_context(format);
  return std::move(output.bytes);
}

/// An animated WebP with lossless frames, put together by hand.
inline std::string make_webp_animation(int frames, int milliseconds, int width = 128, int height = 32) {
  const auto u24 = [](int value) {
    return std::string{static_cast<char>(value), static_cast<char>(value >> 8), static_cast<char>(value >> 16)};
  };
  const auto chunk = [&](const char* name, const std::string& content) {
    const auto size = static_cast<int>(content.size());
    return std::string(name, 4) + u24(size) + static_cast<char>(size >> 24) + content + std::string(size % 2, '\0');
  };
  std::string body = "WEBP" + chunk("VP8X", std::string("\x02\0\0\0", 4) + u24(width - 1) + u24(height - 1)) +
                     chunk("ANIM", std::string(6, '\0'));
  for (int i = 0; i < frames; ++i) {
    const Image image = painted_frame(i, width, height);
    uint8_t* bytes = nullptr;
    const size_t size = WebPEncodeLosslessRGB(image.rgb.data(), width, height, width * 3, &bytes);
    require(size > 0, "a WebP frame is not encoded");
    const std::string file(reinterpret_cast<const char*>(bytes), size);
    WebPFree(bytes);
    body += chunk("ANMF", u24(0) + u24(0) + u24(width - 1) + u24(height - 1) + u24(milliseconds) +
                              std::string(1, '\0') + file.substr(12));
  }
  const auto size = static_cast<int>(body.size());
  return "RIFF" + u24(size) + static_cast<char>(size >> 24) + body;
}

}  // namespace minicpm::testing

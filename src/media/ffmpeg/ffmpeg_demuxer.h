// The compressed pictures or sound of a file in memory, packet by packet, through libavformat. Internal to media/.
#pragma once

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
}

#include <atomic>
#include <memory>
#include <string>

#include "media/video_source.h"

namespace minicpm {

struct PacketDeleter {
  void operator()(AVPacket* packet) const { av_packet_free(&packet); }
};
using Packet = std::unique_ptr<AVPacket, PacketDeleter>;
Packet make_packet();

/// FFmpeg's text for an error of its own.
std::string ffmpeg_error(int error);

/// What is looked for in a file: which containers and decoders are used, by FFmpeg's names with commas, and words for
/// messages.
struct StreamKind {
  AVMediaType type;
  const char* formats;
  const char* decoders;
  std::string_view what, other;  // "video", "sound"
  std::string_view readable;     // formats as users know them
};
extern const StreamKind kVideoStream, kSoundStream;

/// Reads from the bytes alone: whatever a file names (parts, playlists, addresses) is never opened.
class FfmpegDemuxer {
 public:
  /// Finds the best stream of its kind. Throws Error bad_file, unsupported, cancelled.
  FfmpegDemuxer(const MediaFile& file, const StreamKind& kind, const std::atomic<bool>* cancel);
  ~FfmpegDemuxer();
  FfmpegDemuxer(const FfmpegDemuxer&) = delete;
  FfmpegDemuxer& operator=(const FfmpegDemuxer&) = delete;

  const AVStream& stream() const { return *stream_; }
  const AVCodec* decoder() const { return decoder_; }
  std::string format() const;  // FFmpeg's name, the first of several

  /// The next packet of the stream that has content, or false at the end of the file. Opened twice, a file gives
  /// the same packets twice. Throws Error cancelled.
  bool read(AVPacket& packet);

 private:
  static int read_bytes(void* self, uint8_t* out, int size);
  static int64_t seek_bytes(void* self, int64_t offset, int whence);
  void open();
  void open_format();
  void choose_stream();
  void close();

  const MediaFile& file_;
  const StreamKind& kind_;
  const std::atomic<bool>* cancel_;
  int64_t at_ = 0;  // in the file's bytes
  AVFormatContext* format_ = nullptr;
  AVIOContext* io_ = nullptr;
  AVStream* stream_ = nullptr;
  const AVCodec* decoder_ = nullptr;
};

}  // namespace minicpm

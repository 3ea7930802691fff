#include "media/ffmpeg/ffmpeg_demuxer.h"

extern "C" {
#include <libavutil/avstring.h>
#include <libavutil/dict.h>
#include <libavutil/log.h>
}

#include <algorithm>
#include <cstring>
#include <mutex>
#include <new>
#include <vector>

#include "base/error.h"
#include "base/log.h"

namespace minicpm {
namespace {

// Containers and decoders that are used, by FFmpeg's names. Others, among them playlists, which name further files, and
// the hundreds of formats of games and old machines, are refused.
constexpr const char* kFormats =
    "mov,matroska,avi,asf,flv,mpegts,mpeg,mpegvideo,m4v,h264,hevc,ogg,ivf,nut,gif,apng,yuv4mpegpipe";
constexpr const char* kDecoders =
    "h264,hevc,libdav1d,libaom-av1,av1,vp8,vp9,libvpx,libvpx-vp9,mpeg1video,mpeg2video,mpeg4,msmpeg4v2,msmpeg4,"
    "wmv1,wmv2,wmv3,vc1,flv,h263,theora,mjpeg,ffv1,huffyuv,ffvhuff,utvideo,gif,apng,png,rawvideo,prores,dnxhd,qtrle,"
    "dvvideo,vp6,vp6f";
constexpr const char* kSoundFormats =
    "wav,w64,mp3,flac,ogg,aac,mov,matroska,aiff,caf,amr,ac3,eac3,asf,avi,flv,mpegts,mpeg,nut,au";
constexpr const char* kSoundDecoders =
    "pcm_s16le,pcm_s16be,pcm_u8,pcm_s8,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,"
    "pcm_alaw,pcm_mulaw,adpcm_ima_wav,adpcm_ms,mp3float,mp3,mp2float,mp2,flac,alac,vorbis,libvorbis,opus,libopus,aac,"
    "aac_latm,amrnb,amrwb,ac3,eac3,wmav1,wmav2,wmapro,speex,libspeex";

constexpr int kIoBufferBytes = 1 << 16;

/// FFmpeg would write its notes to standard error.
void silence_ffmpeg() {
  static std::once_flag once;
  std::call_once(once, [] { av_log_set_callback([](void*, int, const char*, va_list) {}); });
}

/// Options for FFmpeg, freed with those that it left unused.
struct Dictionary {
  AVDictionary* entries = nullptr;
  Dictionary() = default;
  ~Dictionary() { av_dict_free(&entries); }
  Dictionary(const Dictionary&) = delete;
  Dictionary& operator=(const Dictionary&) = delete;
  void set(const char* key, const std::string& value) { av_dict_set(&entries, key, value.c_str(), 0); }
};

int refuse_to_open(AVFormatContext*, AVIOContext**, const char*, int, AVDictionary**) {
  return AVERROR(EACCES);
}

int is_cancelled(void* cancel) {
  const auto* flag = static_cast<const std::atomic<bool>*>(cancel);
  return flag != nullptr && flag->load(std::memory_order_relaxed) ? 1 : 0;
}

}  // namespace

const StreamKind kVideoStream = {AVMEDIA_TYPE_VIDEO,
                                 kFormats,
                                 kDecoders,
                                 "video",
                                 "sound",
                                 "MP4, MOV, MKV, WebM, AVI, MPEG, WMV, FLV, OGG, or animated GIF, PNG, WebP"};
const StreamKind kSoundStream = {
    AVMEDIA_TYPE_AUDIO, kSoundFormats, kSoundDecoders,
    "sound file",       "pictures",    "WAV, MP3, FLAC, OGG, Opus, AAC, M4A, AIFF, AMR, or a video with sound"};

Packet make_packet() {
  Packet packet(av_packet_alloc());
  if (packet == nullptr) throw std::bad_alloc();
  return packet;
}

std::string ffmpeg_error(int error) {
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(error, text, sizeof text);
  return text;
}

FfmpegDemuxer::FfmpegDemuxer(const MediaFile& file, const StreamKind& kind, const std::atomic<bool>* cancel)
    : file_(file), kind_(kind), cancel_(cancel) {
  silence_ffmpeg();
  try {
    open();
  } catch (...) {
    close();
    throw;
  }
}

FfmpegDemuxer::~FfmpegDemuxer() {
  close();
}

void FfmpegDemuxer::close() {
  avformat_close_input(&format_);
  if (io_ != nullptr) av_freep(&io_->buffer);
  avio_context_free(&io_);
}

int FfmpegDemuxer::read_bytes(void* self, uint8_t* out, int size) {
  auto* demuxer = static_cast<FfmpegDemuxer*>(self);
  const auto total = static_cast<int64_t>(demuxer->file_.bytes.size());
  const int64_t count = std::min<int64_t>(size, total - demuxer->at_);
  if (is_cancelled(const_cast<std::atomic<bool>*>(demuxer->cancel_)) != 0) return AVERROR_EXIT;
  if (count <= 0) return AVERROR_EOF;
  std::memcpy(out, demuxer->file_.bytes.data() + demuxer->at_, static_cast<size_t>(count));
  demuxer->at_ += count;
  return static_cast<int>(count);
}

int64_t FfmpegDemuxer::seek_bytes(void* self, int64_t offset, int whence) {
  auto* demuxer = static_cast<FfmpegDemuxer*>(self);
  const auto total = static_cast<int64_t>(demuxer->file_.bytes.size());
  whence &= ~AVSEEK_FORCE;
  if (whence == AVSEEK_SIZE) return total;
  const int64_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? demuxer->at_ : total;
  int64_t place = 0;
  if (__builtin_add_overflow(base, offset, &place) || place < 0 || place > total) return AVERROR(EINVAL);
  return demuxer->at_ = place;
}

void FfmpegDemuxer::open() {
  format_ = avformat_alloc_context();
  auto* buffer = static_cast<unsigned char*>(av_malloc(kIoBufferBytes));
  if (buffer != nullptr) io_ = avio_alloc_context(buffer, kIoBufferBytes, 0, this, read_bytes, nullptr, seek_bytes);
  if (io_ == nullptr) av_free(buffer);
  if (format_ == nullptr || io_ == nullptr) throw std::bad_alloc();
  format_->pb = io_;
  format_->flags |= AVFMT_FLAG_CUSTOM_IO;
  format_->io_open = refuse_to_open;
  format_->interrupt_callback = {is_cancelled, const_cast<std::atomic<bool>*>(cancel_)};
  open_format();
  choose_stream();
}

void FfmpegDemuxer::open_format() {
  Dictionary options;
  options.set("format_whitelist", kind_.formats);
  options.set("codec_whitelist", kind_.decoders);
  options.set("protocol_whitelist", "none");
  options.set("max_streams", std::to_string(file_.options.limits.max_streams));
  const int opened = avformat_open_input(&format_, nullptr, nullptr, &options.entries);
  check_not_cancelled(file_, cancel_);
  // Not even "out of memory" says more: FFmpeg answers so to sizes that damage has made too large.
  if (opened < 0) {
    fail(ErrorCode::kBadFile, "{}: is not a {} that can be read ({}), or its header is damaged", file_.name, kind_.what,
         kind_.readable);
  }
  // Frames are decoded here, too, to find out what the header does not say; they obey the same limit.
  std::vector<Dictionary> limits(format_->nb_streams);
  std::vector<AVDictionary*> entries;
  for (size_t i = 0; i < limits.size(); ++i) {
    const AVCodecParameters& codec = *format_->streams[i]->codecpar;
    if (codec.codec_type == AVMEDIA_TYPE_VIDEO && codec.width > 0 && codec.height > 0) {
      check_frame_size(file_, codec.width, codec.height);
    }
    Dictionary& limit = limits[i];
    limit.set("max_pixels", std::to_string(file_.options.limits.max_pixels));
    limit.set("threads", "1");
    entries.push_back(limit.entries);
  }
  const int found = avformat_find_stream_info(format_, entries.empty() ? nullptr : entries.data());
  for (size_t i = 0; i < limits.size(); ++i)
    limits[i].entries = entries[i];  // FFmpeg takes out what it used
  check_not_cancelled(file_, cancel_);
  if (found < 0) fail(ErrorCode::kBadFile, "{}: damaged {}: {}", file_.name, kind_.what, ffmpeg_error(found));
}

void FfmpegDemuxer::choose_stream() {
  const int best = av_find_best_stream(format_, kind_.type, -1, -1, &decoder_, 0);
  if (best == AVERROR_STREAM_NOT_FOUND) {
    const bool video = kind_.type == AVMEDIA_TYPE_VIDEO;
    fail(ErrorCode::kBadFile, "{}: holds no {}, only {}", file_.name, video ? "video" : "sound", kind_.other);
  }
  if (best >= 0) stream_ = format_->streams[best];
  if (best < 0 || decoder_ == nullptr || av_match_list(decoder_->name, kind_.decoders, ',') <= 0) {
    const char* codec = stream_ != nullptr ? avcodec_get_name(stream_->codecpar->codec_id) : "unknown";
    fail(ErrorCode::kUnsupported, "{}: the {}'s codec ({}) cannot be decoded here", file_.name, kind_.what, codec);
  }
  if ((stream_->disposition & AV_DISPOSITION_ATTACHED_PIC) != 0) {
    fail(ErrorCode::kBadFile, "{}: holds no video, only sound with a cover picture", file_.name);
  }
  for (unsigned i = 0; i < format_->nb_streams; ++i) {
    if (static_cast<int>(i) != best) format_->streams[i]->discard = AVDISCARD_ALL;
  }
}

std::string FfmpegDemuxer::format() const {
  const std::string names = format_->iformat->name;
  return names.substr(0, names.find(','));
}

bool FfmpegDemuxer::read(AVPacket& packet) {
  for (;;) {
    av_packet_unref(&packet);
    const int result = av_read_frame(format_, &packet);
    check_not_cancelled(file_, cancel_);
    if (result < 0) {
      if (result != AVERROR_EOF) log_warning("{}: reading ends early: {}", file_.name, ffmpeg_error(result));
      return false;
    }
    if (packet.stream_index == stream_->index && packet.size > 0) return true;
  }
}

}  // namespace minicpm

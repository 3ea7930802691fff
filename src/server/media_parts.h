// Pictures, sound and videos of a request: from base64 text to parts of a message, within limits.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <semaphore>
#include <string>
#include <string_view>
#include <vector>

#include "engine/chat.h"
#include "engine/video_parts.h"
#include "server/served_models.h"

namespace minicpm::server {

struct MediaLimits {
  size_t file_bytes = 32u << 20;           // of one picture, sound or video
  size_t files = 64;                       // of one request
  int64_t pixels = 64 << 20;               // of one picture
  int side = 32768;                        // likewise
  int64_t decoded_bytes = 1 << 30;         // of one request
  int64_t total_bytes = int64_t{3} << 30;  // of all requests
  int64_t frames = 1080;                   // of one video
  double sound_seconds = 3600;
};

/// What the requests of a server share: how much media they hold in memory, and how many decode at once.
class MediaShare {
 public:
  explicit MediaShare(const MediaLimits& limits);
  const MediaLimits& limits() const { return limits_; }

 private:
  friend class MediaReader;
  MediaLimits limits_;
  std::atomic<int64_t> held_bytes_{0};
  std::counting_semaphore<> decoders_;
};

/// The media of one request; what it decoded counts as held until it is destroyed. Everything that is wrong with a
/// file throws ApiError 400 naming `path`, the field it came in; too much at once is 503.
class MediaReader {
 public:
  MediaReader(MediaShare& share, const ServedModel& model, const std::atomic<bool>& cancelled);
  ~MediaReader();
  MediaReader(const MediaReader&) = delete;
  MediaReader& operator=(const MediaReader&) = delete;

  /// data:[TYPE];base64,DATA. Nothing is ever fetched: other URLs are refused.
  std::string from_data_url(std::string_view url, const std::string& path) const;
  /// Base64 without line breaks, with its padding.
  std::string from_base64(std::string_view text, const std::string& path) const;

  ContentPart picture(const std::string& bytes, const std::string& path);
  ContentPart sound(const std::string& bytes, const std::string& path);
  std::vector<ContentPart> video(std::string bytes, const std::string& path, const VideoSampling& sampling);

 private:
  void count_file(const std::string& bytes, const std::string& path);
  void hold(int64_t bytes, const std::string& path);

  MediaShare& share_;
  const ServedModel& model_;
  const std::atomic<bool>& cancelled_;
  size_t files_ = 0;
  int64_t held_bytes_ = 0;
};

}  // namespace minicpm::server

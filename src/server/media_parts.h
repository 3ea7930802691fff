// Pictures, sound and videos of a request: from base64 text to parts of a message, within limits.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <semaphore>
#include <string>
#include <string_view>
#include <vector>

#include "engine/chat.h"
#include "engine/video_parts.h"
#include "hub/public_fetch.h"
#include "media/media_decoder.h"
#include "server/media_folder.h"
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

/// Where media may come from besides the request itself.
struct MediaSources {
  std::optional<hub::FetchOptions> urls;      // http and https; unset: nothing is fetched
  std::shared_ptr<const MediaFolder> folder;  // of files that requests may name; null: none
};

/// What the requests of a server share: how much media they hold in memory, and how many decode at once.
class MediaShare {
 public:
  /// `decoder` is where files are decoded; null: in this process.
  explicit MediaShare(const MediaLimits& limits, MediaSources sources = {},
                      std::shared_ptr<MediaDecoder> decoder = nullptr);
  const MediaLimits& limits() const { return limits_; }

 private:
  friend class MediaReader;
  MediaLimits limits_;
  MediaSources sources_;
  std::shared_ptr<MediaDecoder> decoder_;
  std::atomic<int64_t> held_bytes_{0};
  std::counting_semaphore<> decoders_;
  std::counting_semaphore<> fetches_;
};

/// The media of one request; what it decoded counts as held until it is destroyed. Everything that is wrong with a
/// file throws ApiError 400 naming `path`, the field it came in; too much at once is 503, a decoder that died 500.
class MediaReader {
 public:
  MediaReader(MediaShare& share, const ServedModel& model, const std::atomic<bool>& cancelled);
  ~MediaReader();
  MediaReader(const MediaReader&) = delete;
  MediaReader& operator=(const MediaReader&) = delete;

  /// A data: URL, or where the server allows it an http(s) URL that is fetched, or a file of its folder.
  std::string from_url(std::string_view url, const std::string& path) const;
  /// data:[TYPE];base64,DATA only.
  std::string from_data_url(std::string_view url, const std::string& path) const;
  /// Base64 without line breaks, with its padding.
  std::string from_base64(std::string_view text, const std::string& path) const;

  ContentPart picture(const std::string& bytes, const std::string& path);
  ContentPart sound(const std::string& bytes, const std::string& path);
  std::vector<ContentPart> video(std::string bytes, const std::string& path, const VideoSampling& sampling);

 private:
  std::string fetched(const std::string& url, const std::string& path) const;
  std::string from_folder(std::string_view name, const std::string& path) const;
  void count_file(const std::string& bytes, const std::string& path);
  void hold(int64_t bytes, const std::string& path);

  MediaShare& share_;
  const ServedModel& model_;
  const std::atomic<bool>& cancelled_;
  size_t files_ = 0;
  int64_t held_bytes_ = 0;
};

}  // namespace minicpm::server

#include "server/media_parts.h"

#include <algorithm>
#include <chrono>

#include "base/base64.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "models/loaded_model.h"
#include "server/api_error.h"

namespace minicpm::server {
namespace {

constexpr std::chrono::milliseconds kGatePoll{20};  // how soon a request that waits here sees that it is cancelled
constexpr int kFetches = 8;                         // URLs that are fetched at once

/// One of the places where media is fetched or decoded. Throws Error cancelled.
class Place {
 public:
  Place(std::counting_semaphore<>& places, const std::atomic<bool>& cancelled) : places_(places) {
    while (!places_.try_acquire_for(kGatePoll)) {
      if (cancelled) fail(ErrorCode::kCancelled, "cancelled");
    }
  }
  ~Place() { places_.release(); }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

 private:
  std::counting_semaphore<>& places_;
};

/// Runs `decode`; what is wrong with the file becomes the client's error.
template <typename Fn>
auto decoded(const std::string& path, Fn decode) {
  try {
    return decode();
  } catch (const Error& error) {
    const ErrorCode code = error.code();
    const bool files_fault = code == ErrorCode::kBadFile || code == ErrorCode::kUnsupported ||
                             code == ErrorCode::kInvalidRequest || code == ErrorCode::kOutOfMemory;
    if (code == ErrorCode::kInternal) {
      throw ApiError(500, path + ": the decoder of this file failed; other requests are not affected", path,
                     "decoder_failed");
    }
    if (!files_fault) throw;
    throw ApiError(400, error.what(), path, "invalid_media");
  }
}

bool is_web_url(std::string_view url) {
  return url.starts_with("http:") || url.starts_with("https:");
}

bool is_base64(std::string_view text) {
  if (text.size() % 4 != 0) return false;
  for (int padding = 0; padding < 2 && text.ends_with('='); ++padding)
    text.remove_suffix(1);
  return std::ranges::all_of(text, [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
  });
}

}  // namespace

MediaShare::MediaShare(const MediaLimits& limits, MediaSources sources, std::shared_ptr<MediaDecoder> decoder)
    : limits_(limits),
      sources_(std::move(sources)),
      decoder_(decoder ? std::move(decoder) : direct_decoder()),
      decoders_(std::max(1, usable_processors())),
      fetches_(kFetches) {}

MediaReader::MediaReader(MediaShare& share, const ServedModel& model, const std::atomic<bool>& cancelled)
    : share_(share), model_(model), cancelled_(cancelled) {}

MediaReader::~MediaReader() {
  share_.held_bytes_ -= held_bytes_;
}

std::string MediaReader::from_url(std::string_view url, const std::string& path) const {
  if (url.starts_with("data:")) return from_data_url(url, path);
  if (is_web_url(url)) return fetched(std::string(url), path);
  const bool file = url.starts_with("file:") || url.substr(0, url.find('/')).find(':') == std::string_view::npos;
  if (file && share_.sources_.folder) return from_folder(url, path);
  bad_field(path, "must be a data: URL");
}

std::string MediaReader::fetched(const std::string& url, const std::string& path) const {
  if (!share_.sources_.urls) {
    bad_field(path, "this server fetches no URLs (--allow-url); send the file itself as a data: URL");
  }
  const Place place(share_.fetches_, cancelled_);
  try {
    return hub::fetch_public(url, *share_.sources_.urls, &cancelled_);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kCancelled || error.code() == ErrorCode::kOutOfMemory) throw;
    throw ApiError(400, path + ": " + error.what(), path, "url_not_fetched");
  }
}

std::string MediaReader::from_folder(std::string_view name, const std::string& path) const {
  try {
    return share_.sources_.folder->read(name, share_.limits_.file_bytes);
  } catch (const Error& error) {
    throw ApiError(400, path + ": " + error.what(), path, "file_not_read");
  }
}

std::string MediaReader::from_data_url(std::string_view url, const std::string& path) const {
  if (is_web_url(url)) bad_field(path, "must be a data: URL; nothing is fetched here");
  if (!url.starts_with("data:")) bad_field(path, "must be a data: URL");
  const size_t comma = url.find(',');
  constexpr size_t kLongestType = 200;
  if (comma == std::string_view::npos || comma > kLongestType || !url.substr(0, comma).ends_with(";base64")) {
    bad_field(path, "must be a data: URL of the form data:TYPE;base64,DATA");
  }
  return from_base64(url.substr(comma + 1), path);
}

std::string MediaReader::from_base64(std::string_view text, const std::string& path) const {
  if (text.size() / 4 * 3 > share_.limits_.file_bytes + 3) {
    bad_field(path, "is larger than {} bytes", share_.limits_.file_bytes);
  }
  std::optional<std::string> bytes;
  if (is_base64(text)) bytes = decode_base64(text);
  if (!bytes) bad_field(path, "is not base64 (RFC 4648, padded, without line breaks)");
  return std::move(*bytes);
}

void MediaReader::count_file(const std::string& bytes, const std::string& path) {
  if (bytes.empty()) bad_field(path, "is empty");
  if (bytes.size() > share_.limits_.file_bytes) {
    bad_field(path, "is larger than {} bytes", share_.limits_.file_bytes);
  }
  if (++files_ > share_.limits_.files) bad_field(path, "a request may hold {} files at most", share_.limits_.files);
}

void MediaReader::hold(int64_t bytes, const std::string& path) {
  held_bytes_ += bytes;
  const int64_t all = share_.held_bytes_ += bytes;
  if (held_bytes_ > share_.limits_.decoded_bytes) {
    bad_field(path, "the media of the request is larger than {} bytes when decoded", share_.limits_.decoded_bytes);
  }
  if (all > share_.limits_.total_bytes) throw ApiError(503, "the server holds too much media; try again soon");
}

ContentPart MediaReader::picture(const std::string& bytes, const std::string& path) {
  count_file(bytes, path);
  if (!model_.model().has_vision()) bad_field(path, "{} cannot see pictures", model_.name);
  const Place place(share_.decoders_, cancelled_);
  const MediaLimits& limits = share_.limits_;
  const DecodeOptions options{.limits = {.max_pixels = limits.pixels, .max_file_bytes = limits.file_bytes}};
  auto image = decoded(path, [&] {
    return std::make_shared<const Image>(
        share_.decoder_->image(std::as_bytes(std::span(bytes)), path, options, &cancelled_));
  });
  if (image->width > limits.side || image->height > limits.side) {
    bad_field(path, "a picture of {} x {} pixels; the longest side is {}", image->width, image->height, limits.side);
  }
  hold(static_cast<int64_t>(image->rgb.size()), path);
  return ContentPart::from_image(std::move(image));
}

ContentPart MediaReader::sound(const std::string& bytes, const std::string& path) {
  count_file(bytes, path);
  if (!model_.model().has_audio()) bad_field(path, "{} cannot hear sound", model_.name);
  const Place place(share_.decoders_, cancelled_);
  const SoundOptions options{.max_seconds = share_.limits_.sound_seconds};
  Sound sound = decoded(path, [&] { return share_.decoder_->sound(bytes, path, options, &cancelled_); });
  if (sound.samples.empty()) bad_field(path, "holds no sound");
  hold(static_cast<int64_t>(sound.samples.size() * sizeof(float)), path);
  return ContentPart::from_sound(std::move(sound.samples));
}

std::vector<ContentPart> MediaReader::video(std::string bytes, const std::string& path, const VideoSampling& sampling) {
  count_file(bytes, path);
  const LoadedModel& model = model_.model();
  if (!model.has_vision()) bad_field(path, "{} cannot see videos", model_.name);
  const Place place(share_.decoders_, cancelled_);
  const MediaLimits& limits = share_.limits_;
  auto parts = decoded(path, [&] {
    VideoOptions options;
    options.limits.max_decoded_bytes = limits.decoded_bytes;
    const auto video = share_.decoder_->video(std::move(bytes), path, options, &cancelled_);
    const VideoPlan plan = plan_video(video->info().timing(), sampling, model.version().temporal);
    if (static_cast<int64_t>(plan.indices.size()) > limits.frames) {
      bad_field(path, "{} frames to look at; a video may have {}", plan.indices.size(), limits.frames);
    }
    FrameRequest request;
    request.cancel = &cancelled_;
    return video_parts(*video, plan, request, model.config().slices);
  });
  int64_t size = 0;
  for (const ContentPart& part : parts) {
    for (const auto& image : part.images)
      size += static_cast<int64_t>(image->rgb.size());
  }
  hold(size, path);
  return parts;
}

}  // namespace minicpm::server

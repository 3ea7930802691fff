#include "server/media_parts.h"

#include <algorithm>
#include <chrono>

#include "base/base64.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "media/sound.h"
#include "models/loaded_model.h"
#include "server/api_error.h"

namespace minicpm::server {
namespace {

constexpr std::chrono::milliseconds kGatePoll{20};  // how soon a request that waits to decode sees that it is cancelled

/// One of the places where media is decoded. Throws Error cancelled.
class DecoderPlace {
 public:
  DecoderPlace(std::counting_semaphore<>& places, const std::atomic<bool>& cancelled) : places_(places) {
    while (!places_.try_acquire_for(kGatePoll)) {
      if (cancelled) fail(ErrorCode::kCancelled, "cancelled");
    }
  }
  ~DecoderPlace() { places_.release(); }
  DecoderPlace(const DecoderPlace&) = delete;
  DecoderPlace& operator=(const DecoderPlace&) = delete;

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
    if (!files_fault) throw;
    throw ApiError(400, error.what(), path, "invalid_media");
  }
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

MediaShare::MediaShare(const MediaLimits& limits) : limits_(limits), decoders_(std::max(1, usable_processors())) {}

MediaReader::MediaReader(MediaShare& share, const ServedModel& model, const std::atomic<bool>& cancelled)
    : share_(share), model_(model), cancelled_(cancelled) {}

MediaReader::~MediaReader() {
  share_.held_bytes_ -= held_bytes_;
}

std::string MediaReader::from_data_url(std::string_view url, const std::string& path) const {
  const std::string start(url.substr(0, 8));
  if (start.starts_with("http:") || start.starts_with("https:")) {
    bad_field(path, "this server fetches no URLs; send the file itself as a data: URL");
  }
  if (!start.starts_with("data:")) bad_field(path, "must be a data: URL");
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
  const DecoderPlace place(share_.decoders_, cancelled_);
  const MediaLimits& limits = share_.limits_;
  const DecodeOptions options{.limits = {.max_pixels = limits.pixels, .max_file_bytes = limits.file_bytes}};
  auto image = decoded(path, [&] {
    return std::make_shared<const Image>(decode_image(std::as_bytes(std::span(bytes)), path, options));
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
  const DecoderPlace place(share_.decoders_, cancelled_);
  Sound sound = decoded(
      path, [&] { return sound_from_bytes(bytes, path, {.max_seconds = share_.limits_.sound_seconds}, &cancelled_); });
  if (sound.samples.empty()) bad_field(path, "holds no sound");
  hold(static_cast<int64_t>(sound.samples.size() * sizeof(float)), path);
  return ContentPart::from_sound(std::move(sound.samples));
}

std::vector<ContentPart> MediaReader::video(std::string bytes, const std::string& path, const VideoSampling& sampling) {
  count_file(bytes, path);
  const LoadedModel& model = model_.model();
  if (!model.has_vision()) bad_field(path, "{} cannot see videos", model_.name);
  const DecoderPlace place(share_.decoders_, cancelled_);
  const MediaLimits& limits = share_.limits_;
  auto parts = decoded(path, [&] {
    VideoOptions options;
    options.limits.max_decoded_bytes = limits.decoded_bytes;
    const auto video = VideoReader::from_bytes(std::move(bytes), path, options);
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

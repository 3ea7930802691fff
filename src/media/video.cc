#include "media/video.h"

#include <algorithm>
#include <new>
#include <string_view>

#include "base/checked.h"
#include "base/error.h"
#include "base/file_map.h"
#include "media/video_source.h"

namespace minicpm {
namespace {

bool is_webp(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), std::min<size_t>(bytes.size(), 12));
  return text.size() == 12 && text.starts_with("RIFF") && text.ends_with("WEBP");
}

class Reader : public VideoReader {
 public:
  Reader(std::shared_ptr<const void> owner, MediaFile file, std::unique_ptr<VideoSource> source)
      : owner_(std::move(owner)), file_(std::move(file)), source_(std::move(source)) {}

  const VideoInfo& info() const override { return source_->info(); }
  std::vector<std::shared_ptr<const Image>> frames(std::span<const int64_t> indices,
                                                   const FrameRequest& request) override;

 private:
  void check_indices(std::span<const int64_t> indices) const;

  std::shared_ptr<const void> owner_;  // of the bytes
  MediaFile file_;
  std::unique_ptr<VideoSource> source_;
};

void Reader::check_indices(std::span<const int64_t> indices) const {
  for (size_t i = 0; i < indices.size(); ++i) {
    if (indices[i] < 0 || indices[i] >= info().frames) {
      fail(ErrorCode::kInvalidRequest, "{}: has {} frames, there is no frame {}", file_.name, info().frames,
           indices[i]);
    }
    if (i > 0 && indices[i] < indices[i - 1]) {
      fail(ErrorCode::kInvalidRequest, "{}: the frames asked for are not in ascending order", file_.name);
    }
  }
}

std::vector<std::shared_ptr<const Image>> Reader::frames(std::span<const int64_t> indices,
                                                         const FrameRequest& request) {
  check_indices(indices);
  std::vector<int64_t> wanted(indices.begin(), indices.end());
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  if (wanted.empty()) return {};

  std::vector<std::shared_ptr<const Image>> pictures(wanted.size());
  uint64_t bytes = 0;
  const auto keep = [&](size_t from, size_t to, Image image) {
    if (request.transform) image = request.transform(std::move(image));
    if (from == 0) {  // the source starts anew
      bytes = 0;
      std::ranges::fill(pictures, nullptr);
    }
    bytes += image.rgb.size();
    if (bytes > static_cast<uint64_t>(std::max<int64_t>(file_.options.limits.max_decoded_bytes, 0))) {
      fail(ErrorCode::kOutOfMemory, "{}: {} frames of {}x{} pixels take more than {} bytes; look at fewer frames",
           file_.name, wanted.size(), info().width, info().height, file_.options.limits.max_decoded_bytes);
    }
    const auto picture = std::make_shared<const Image>(std::move(image));
    std::fill(pictures.begin() + static_cast<ptrdiff_t>(from), pictures.begin() + static_cast<ptrdiff_t>(to), picture);
    if (request.progress) request.progress(to, wanted.size());
  };
  try {
    source_->decode(wanted, keep, request.cancel);
  } catch (const std::bad_alloc&) {
    fail(ErrorCode::kOutOfMemory, "{}: no memory to decode {} frames", file_.name, wanted.size());
  }

  std::vector<std::shared_ptr<const Image>> result;
  result.reserve(indices.size());
  size_t at = 0;
  for (const int64_t index : indices) {
    if (wanted[at] != index) ++at;
    result.push_back(pictures[at]);
  }
  return result;
}

}  // namespace

std::unique_ptr<VideoReader> VideoReader::open(const std::filesystem::path& file, const VideoOptions& options) {
  auto map = FileMap::open(file);
  const std::span<const std::byte> bytes = map->bytes();
  const MediaFile video{bytes, file.string(), options};
  return make_video_reader(std::move(map), video, open_video_source(video));
}

std::unique_ptr<VideoReader> VideoReader::from_bytes(std::string bytes, const std::string& name,
                                                     const VideoOptions& options) {
  auto owner = std::make_shared<const std::string>(std::move(bytes));
  const auto span = std::as_bytes(std::span(*owner));
  const MediaFile video{span, name, options};
  return make_video_reader(std::move(owner), video, open_video_source(video));
}

std::unique_ptr<VideoSource> open_video_source(const MediaFile& file) {
  if (file.bytes.empty()) fail(ErrorCode::kBadFile, "{}: is empty, expected a video", file.name);
  try {
    return is_webp(file.bytes) ? open_webp_animation(file) : open_ffmpeg(file);
  } catch (const std::bad_alloc&) {
    fail(ErrorCode::kOutOfMemory, "{}: no memory to open this video", file.name);
  }
}

std::unique_ptr<VideoReader> make_video_reader(std::shared_ptr<const void> owner, MediaFile file,
                                               std::unique_ptr<VideoSource> source) {
  return std::make_unique<Reader>(std::move(owner), std::move(file), std::move(source));
}

void check_frame_size(const MediaFile& file, int64_t width, int64_t height) {
  if (width <= 0 || height <= 0) {
    fail(ErrorCode::kBadFile, "{}: the video says {}x{} pixels, expected at least 1x1", file.name, width, height);
  }
  const auto pixels = checked_mul(static_cast<uint64_t>(width), static_cast<uint64_t>(height));
  if (!pixels || *pixels > static_cast<uint64_t>(std::max<int64_t>(file.options.limits.max_pixels, 0))) {
    fail(ErrorCode::kUnsupported, "{}: the video says {}x{} pixels, expected at most {} pixels a frame", file.name,
         width, height, file.options.limits.max_pixels);
  }
}

void check_length(const MediaFile& file, const VideoInfo& info) {
  const VideoLimits& limits = file.options.limits;
  if (info.frames < 1) fail(ErrorCode::kBadFile, "{}: the video has no frames", file.name);
  if (info.frames > limits.max_frames) {
    fail(ErrorCode::kUnsupported, "{}: the video has more than {} frames", file.name, limits.max_frames);
  }
  if (info.seconds() > limits.max_seconds) {
    fail(ErrorCode::kUnsupported, "{}: the video has {} frames at {} a second, expected at most {} seconds", file.name,
         info.frames, info.fps, limits.max_seconds);
  }
}

void check_not_cancelled(const MediaFile& file, const std::atomic<bool>* cancel) {
  if (cancel != nullptr && cancel->load(std::memory_order_relaxed)) {
    fail(ErrorCode::kCancelled, "{}: decoding was cancelled", file.name);
  }
}

}  // namespace minicpm

#include "train/dataset.h"

#include <algorithm>
#include <cmath>

#include "base/base64.h"
#include "base/error.h"
#include "media/sound.h"

namespace minicpm {
namespace {

constexpr std::string_view kFileScheme = "file://";
constexpr double kDefaultFrameRate = 3;  // of lists of frames, the rate at which videos are sampled
constexpr int64_t kMostPacks = 180;      // of a video in the published example
constexpr int64_t kMostFrames = kMostPacks * kLargestPacking;
const SoundOptions kSoundOptions{.rate = 16000, .max_seconds = 3600};  // more would be no sample to learn from

Image decode_encoded(std::string_view base64, const DecodeOptions& options) {
  const auto bytes = decode_base64(base64);
  if (!bytes) fail(ErrorCode::kBadFile, "the picture is not valid base64");
  return decode_image(std::as_bytes(std::span(*bytes)), "the picture in the record", options);
}

std::vector<float> decode_sound(std::string_view base64) {
  const auto bytes = decode_base64(base64);
  if (!bytes) fail(ErrorCode::kBadFile, "the sound is not valid base64");
  return sound_from_bytes(*bytes, "the sound in the record", kSoundOptions).samples;
}

/// What follows "base64," in a data: URL.
std::string_view data_of_url(std::string_view url) {
  const size_t comma = url.find(',');
  if (comma == std::string_view::npos || !url.substr(0, comma).ends_with(";base64")) {
    fail(ErrorCode::kUnsupported, "a data: URL must have the form data:image/...;base64,...");
  }
  return url.substr(comma + 1);
}

/// The string under the first of these keys, or empty.
std::string find_any_string(const JsonObject& object, std::initializer_list<std::string_view> keys) {
  for (const std::string_view key : keys) {
    if (object.has(key)) return *object.find_string(key);
  }
  return "";
}

}  // namespace

JsonDataset::JsonDataset(RecordFile records, DatasetOptions options)
    : records_(std::move(records)), options_(std::move(options)) {}

std::unique_ptr<JsonDataset> JsonDataset::open(const std::filesystem::path& file, const DatasetOptions& options) {
  DatasetOptions resolved = options;
  if (resolved.media_root.empty()) resolved.media_root = file.parent_path();
  return std::unique_ptr<JsonDataset>(new JsonDataset(RecordFile::open(file), std::move(resolved)));
}

TrainingSample JsonDataset::sample(int64_t index) const {
  const std::string origin = records_.origin(index);
  const Json record = records_.record(index);
  const std::vector<RecordMessage> messages = parse_record(record, origin);
  try {
    TrainingSample sample = load(messages);
    sample.origin = origin;
    sample.spoken = parse_spoken(record, origin);
    return sample;
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("{}: {}", origin, error.what()));
  }
}

TrainingSample JsonDataset::load(const std::vector<RecordMessage>& messages) const {
  TrainingSample sample;
  for (const RecordMessage& message : messages) {
    Message& loaded = sample.messages.emplace_back(Message{message.role, {}});
    for (const RecordPart& part : message.parts) {
      if (!part.media) {
        loaded.content.push_back(ContentPart::from_text(part.text));
      } else if (part.media->kind == MediaReference::Kind::kPicture) {
        loaded.content.push_back(ContentPart::from_image(load_picture(part.media->source)));
      } else if (part.media->kind == MediaReference::Kind::kSound) {
        loaded.content.push_back(load_sound(part.media->source));
      } else {
        std::ranges::move(load_video(part.media->source), std::back_inserter(loaded.content));
      }
    }
  }
  return sample;
}

std::filesystem::path JsonDataset::resolve(const std::string& path) const {
  return options_.media_root / (path.starts_with(kFileScheme) ? path.substr(kFileScheme.size()) : path);
}

std::shared_ptr<const Image> JsonDataset::load_picture_url(const std::string& url) const {
  if (url.empty()) fail(ErrorCode::kBadFile, "a picture without a path");
  if (url.starts_with("http://") || url.starts_with("https://")) {
    fail(ErrorCode::kUnsupported, "picture {}: pictures are not fetched from the network; save it to a file", url);
  }
  if (url.starts_with("data:")) return std::make_shared<Image>(decode_encoded(data_of_url(url), options_.decode));
  try {
    return std::make_shared<Image>(load_image(resolve(url), options_.decode));
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("picture {}", error.what()));
  }
}

std::shared_ptr<const Image> JsonDataset::load_picture(const Json& source) const {
  if (source.is_string()) return load_picture_url(source.get<std::string>());
  const JsonObject object(source, "a picture");
  if (const auto bytes = object.find_string("bytes")) {
    return std::make_shared<Image>(decode_encoded(*bytes, options_.decode));
  }
  return load_picture_url(find_any_string(object, {"path", "url", "image"}));
}

ContentPart JsonDataset::load_sound(const Json& source) const {
  std::string path;
  if (source.is_string()) {
    path = source.get<std::string>();
  } else {
    const JsonObject object(source, "a sound");
    if (const auto bytes = object.find_string("bytes")) return ContentPart::from_sound(decode_sound(*bytes));
    path = find_any_string(object, {"path", "url", "audio"});
  }
  if (path.empty()) fail(ErrorCode::kBadFile, "a sound without a path");
  if (path.starts_with("http://") || path.starts_with("https://")) {
    fail(ErrorCode::kUnsupported, "sound {}: sounds are not fetched from the network; save it to a file", path);
  }
  if (path.starts_with("data:")) return ContentPart::from_sound(decode_sound(data_of_url(path)));
  try {
    return ContentPart::from_sound(read_sound(resolve(path), kSoundOptions).samples);
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("sound {}", error.what()));
  }
}

std::vector<ContentPart> JsonDataset::load_video(const Json& source) const {
  if (source.is_array()) return load_frames(source, kDefaultFrameRate, std::nullopt);
  std::string path;
  VideoSampling sampling = options_.video;
  if (source.is_string()) {
    path = source.get<std::string>();
  } else {
    const JsonObject object(source, "a video");
    const auto fps = object.find_number("fps");
    const auto pack = object.find_int("pack");
    if (const Json* frames = object.find("frames")) return load_frames(*frames, fps.value_or(kDefaultFrameRate), pack);
    if (fps) sampling.fps = *fps;
    if (pack) sampling.pack = static_cast<int>(std::clamp<int64_t>(*pack, 0, kLargestPacking + 1));
    path = find_any_string(object, {"path", "url", "video"});
  }
  if (path.empty()) fail(ErrorCode::kBadFile, "a video without a path");
  VideoOptions decode;
  decode.threads = 1;  // samples are read in parallel
  try {
    return video_parts(resolve(path), sampling, options_.temporal, options_.slices, decode);
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("video {}", error.what()));
  }
}

std::vector<ContentPart> JsonDataset::load_frames(const Json& frames, double fps, std::optional<int64_t> pack) const {
  if (!frames.is_array() || frames.empty()) fail(ErrorCode::kBadFile, "a video needs a path or a list of frames");
  if (!(fps >= 0.001 && fps <= 1000)) fail(ErrorCode::kBadFile, "a video's \"fps\" must be between 0.001 and 1000");
  const auto count = static_cast<int64_t>(frames.size());
  if (count > kMostFrames) fail(ErrorCode::kBadFile, "{} frames, expected at most {}", count, kMostFrames);
  const int64_t packing = pack.value_or(options_.temporal ? (count + kMostPacks - 1) / kMostPacks : 1);
  if (packing < 1 || packing > (options_.temporal ? kLargestPacking : 1)) {
    fail(ErrorCode::kBadFile, "{} frames in packs of {}, expected packs of 1 to {}", count, packing,
         options_.temporal ? kLargestPacking : 1);
  }
  const VideoSampling all{.fps = 1, .max_frames = {}, .pack = {}, .max_slices = options_.video.max_slices};
  const int max_slices = plan_video({1, count}, all, options_.temporal).max_slices;
  std::vector<ContentPart> parts;
  for (int64_t i = 0; i < count; ++i) {
    if (i % packing == 0) {
      ContentPart& part = parts.emplace_back();
      part.kind = ContentPart::Kind::kFrames;
      part.max_slices = max_slices;
      part.use_image_id = false;
    }
    parts.back().images.push_back(load_picture(frames[static_cast<size_t>(i)]));
    if (options_.temporal) {
      const double seconds = static_cast<double>(i) / fps;
      parts.back().frame_ids.push_back(static_cast<int32_t>(std::lround(seconds / kSecondsPerTimeId)));
    }
  }
  return parts;
}

}  // namespace minicpm

#include "cli/media.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <span>

#include "base/error.h"
#include "cli/progress.h"
#include "cli/terminal.h"
#include "models/loaded_model.h"

namespace minicpm::cli {
namespace {

// 64 queries, their two marks and the newline between parts.
constexpr int64_t kTokensOfAPart = 67;

std::shared_ptr<const Image> open_picture(const std::string& file, const Options& options) {
  const DecodeOptions decode{.apply_exif_orientation = !options.no_exif};
  if (file != "-") return std::make_shared<const Image>(load_image(file, decode));
  const std::string bytes = read_text("-");
  return std::make_shared<const Image>(
      decode_image(std::as_bytes(std::span(bytes)), "picture on standard input", decode));
}

std::shared_ptr<VideoReader> open_video(const std::string& file) {
  if (file != "-") return VideoReader::open(file);
  return VideoReader::from_bytes(read_text("-"), "video on standard input");
}

std::shared_ptr<Sound> open_sound(const std::string& file) {
  if (file != "-") return std::make_shared<Sound>(read_sound(file));
  return std::make_shared<Sound>(sound_from_bytes(read_text("-"), "sound on standard input"));
}

std::string counted(size_t count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

}  // namespace

size_t NamedMedia::frames() const {
  size_t count = 0;
  for (const ContentPart& part : parts)
    count += part.images.size();
  return count;
}

OpenedMedia open_media(MediaFile::Kind kind, const std::string& file, const Options& options) {
  if (kind == MediaFile::Kind::kImage) return {file, open_picture(file, options), nullptr, nullptr};
  if (kind == MediaFile::Kind::kVideo) return {file, nullptr, open_video(file), nullptr};
  if (kind == MediaFile::Kind::kAudio) return {file, nullptr, nullptr, open_sound(file)};
  fail(ErrorCode::kInvalidRequest, "{}: PDF is not supported by this build yet", file);
}

VideoSampling video_sampling(const Options& options) {
  const auto as_int = [](const std::optional<int64_t>& value) {
    return value ? std::optional(static_cast<int>(*value)) : std::nullopt;
  };
  VideoSampling sampling{.fps = options.fps,
                         .max_frames = as_int(options.max_frames),
                         .pack = as_int(options.pack),
                         .max_slices = as_int(options.max_slices)};
  plan_video({.fps = 1, .frames = 1}, sampling, true);  // for its complaints
  return sampling;
}

int64_t video_tokens(const std::vector<OpenedMedia>& media, const Options& options) {
  int64_t tokens = 0;
  for (const OpenedMedia& one : media) {
    if (one.video == nullptr) continue;
    tokens += plan_video(one.video->info().timing(), video_sampling(options), true).parts() * kTokensOfAPart;
  }
  return tokens;
}

NamedMedia decode_media(const OpenedMedia& media, const Options& options, const Engine& engine,
                        const std::atomic<bool>* cancel) {
  if (media.image != nullptr) {
    return {media.file, MediaFile::Kind::kImage, {ContentPart::from_image(media.image)}};
  }
  if (media.sound != nullptr) {
    return {media.file, MediaFile::Kind::kAudio, {ContentPart::from_sound(std::move(media.sound->samples))}};
  }
  const LoadedModel& model = engine.model();
  if (!model.has_vision()) {
    fail(ErrorCode::kInvalidRequest, "{} cannot see videos; a GGUF model needs its mmproj file", model.version().title);
  }
  const VideoPlan plan = plan_video(media.video->info().timing(), video_sampling(options), model.version().temporal);
  ProgressOptions bar;
  bar.label = "reading " + one_line(media.file);
  bar.unit_name = "frames";
  bar.style = errors_are_on_terminal() ? progress_style(options.json) : ProgressOptions::Style::kQuiet;
  Progress progress(static_cast<int64_t>(plan.indices.size()), bar);
  FrameRequest request;
  request.cancel = cancel;
  request.progress = [&](size_t done, size_t) { progress.update(static_cast<int64_t>(done)); };
  return {media.file, MediaFile::Kind::kVideo, video_parts(*media.video, plan, request, model.config().slices)};
}

std::vector<ContentPart> message_content(const std::vector<NamedMedia>& media, const std::string& text) {
  std::vector<ContentPart> content;
  const auto append = [&](bool sounds) {
    for (const NamedMedia& one : media) {
      if ((one.kind == MediaFile::Kind::kAudio) == sounds)
        content.insert(content.end(), one.parts.begin(), one.parts.end());
    }
  };
  append(false);
  if (!text.empty()) content.push_back(ContentPart::from_text(text));
  append(true);
  return content;
}

std::string media_count(const std::vector<NamedMedia>& media) {
  std::string text;
  for (const auto& [kind, name] :
       {std::pair{MediaFile::Kind::kImage, "picture"}, std::pair{MediaFile::Kind::kVideo, "video"},
        std::pair{MediaFile::Kind::kAudio, "sound"}}) {
    const auto count = std::ranges::count(media, kind, &NamedMedia::kind);
    if (count > 0) text += (text.empty() ? "" : ", ") + counted(static_cast<size_t>(count), name);
  }
  return text;
}

}  // namespace minicpm::cli

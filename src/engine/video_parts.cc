#include "engine/video_parts.h"

#include <algorithm>

#include "base/error.h"

namespace minicpm {
namespace {

// The published example for versions without packs cuts each frame of a short video into two slices more.
constexpr size_t kFewFrames = 16;

/// Shrinks a frame to the size of its overview, if planning that size again gives the same overview: the later resize
/// then changes nothing, and a long video takes no more memory than the model sees.
std::function<Image(Image)> shrink_to(const SliceConfig& slices) {
  return [slices](Image image) {
    const SlicePlan plan = plan_slices({image.width, image.height}, slices);
    const Size small = plan.overview;
    const bool smaller = int64_t{small.width} * small.height < int64_t{image.width} * image.height;
    if (plan.grid || !smaller) return image;
    const SlicePlan again = plan_slices(small, slices);
    if (again.grid || again.overview != small) return image;
    return resize_bicubic(image, small.width, small.height);
  };
}

}  // namespace

VideoPlan plan_video(const VideoTiming& video, const VideoSampling& sampling, bool temporal) {
  VideoPlan plan;
  if (temporal) {
    PackedSampling rule;
    rule.fps = sampling.fps.value_or(rule.fps);
    rule.max_packs = sampling.max_frames.value_or(rule.max_packs);
    if (sampling.pack) rule.max_packing = rule.force_packing = *sampling.pack;
    SampledFrames frames = sample_packed(video, rule);
    plan.indices = std::move(frames.indices);
    plan.time_ids = std::move(frames.time_ids);
    plan.packing = frames.packing;
    plan.max_slices = sampling.max_slices.value_or(1);
    return plan;
  }
  if (sampling.pack.value_or(1) != 1) {
    fail(ErrorCode::kInvalidRequest, "this model takes video frames one by one; packs of {} need MiniCPM-V 4.5",
         *sampling.pack);
  }
  UniformSampling rule;
  rule.fps = sampling.fps.value_or(rule.fps);
  rule.max_frames = sampling.max_frames.value_or(rule.max_frames);
  plan.indices = sample_uniform(video, rule);
  plan.max_slices = sampling.max_slices.value_or(plan.indices.size() > kFewFrames ? 1 : 2);
  return plan;
}

std::vector<ContentPart> video_parts(VideoReader& video, const VideoPlan& plan, const FrameRequest& request,
                                     const std::optional<SliceConfig>& slices) {
  FrameRequest fetch = request;
  if (slices && !fetch.transform) {
    SliceConfig config = *slices;
    config.max_slice_nums = plan.max_slices;
    fetch.transform = shrink_to(config);
  }
  const auto frames = video.frames(plan.indices, fetch);
  std::vector<ContentPart> parts;
  const auto packing = static_cast<size_t>(std::max(plan.packing, 1));
  for (size_t first = 0; first < frames.size(); first += packing) {
    const size_t end = std::min(first + packing, frames.size());
    ContentPart part;
    part.kind = ContentPart::Kind::kFrames;
    part.max_slices = plan.max_slices;
    part.use_image_id = false;
    for (size_t i = first; i < end; ++i) {
      part.images.push_back(frames[i]);
      if (!plan.time_ids.empty()) part.frame_ids.push_back(plan.time_ids[i]);
    }
    parts.push_back(std::move(part));
  }
  return parts;
}

std::vector<ContentPart> video_parts(const std::filesystem::path& file, const VideoSampling& sampling, bool temporal,
                                     const std::optional<SliceConfig>& slices, const VideoOptions& options) {
  const auto video = VideoReader::open(file, options);
  return video_parts(*video, plan_video(video->info().timing(), sampling, temporal), {}, slices);
}

}  // namespace minicpm

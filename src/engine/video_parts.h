// From a video file to the parts of a message.
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "engine/chat.h"
#include "media/slicing.h"
#include "media/video.h"

namespace minicpm {

/// What to look at in a video; what is unset follows the published examples of the model's version.
struct VideoSampling {
  std::optional<double> fps;      // frames a second to look at; default: 3 with packs, 1 without
  std::optional<int> max_frames;  // most packs, or single frames without packs; default: 180, or 64
  std::optional<int> pack;        // frames that share one block of queries, 1 to 6; default: as few as fit, at most 3
  std::optional<int> max_slices;  // of each frame; default: 1, and without packs 2 up to 16 frames
};

/// The chosen frames of a video, before they are decoded.
struct VideoPlan {
  std::vector<int64_t> indices;
  std::vector<int32_t> time_ids;  // of each; empty for a model without packs
  int packing = 1;                // consecutive frames of a part
  int max_slices = 1;

  int64_t parts() const { return (static_cast<int64_t>(indices.size()) + packing - 1) / packing; }
};

/// `temporal`: whether the model takes packs (VersionRow::temporal). Throws Error invalid_request for settings out of
/// range, and for packs of a model that takes none.
VideoPlan plan_video(const VideoTiming& video, const VideoSampling& sampling, bool temporal);

/// Decodes the frames of a plan: one part of kind kFrames for each pack, with its own number of slices and without a
/// picture number, as the published examples ask for. `slices`, the model's configuration, lets frames shrink as soon
/// as they are decoded to the size the model will see them in; where that could change a pixel they stay whole. Throws
/// as VideoReader::frames.
std::vector<ContentPart> video_parts(VideoReader& video, const VideoPlan& plan, const FrameRequest& request = {},
                                     const std::optional<SliceConfig>& slices = std::nullopt);

/// All steps at once, from a file. Also throws as VideoReader::open and plan_video.
std::vector<ContentPart> video_parts(const std::filesystem::path& file, const VideoSampling& sampling, bool temporal,
                                     const std::optional<SliceConfig>& slices = std::nullopt,
                                     const VideoOptions& options = {});

}  // namespace minicpm

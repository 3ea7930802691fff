// Which frames of a video the model looks at, and when they are. Pure arithmetic, no pixels: the rules are those of the
// published examples, so that the same file gives the same frames.
#pragma once

#include <cstdint>
#include <vector>

namespace minicpm {

/// What the rules need to know of a video.
struct VideoTiming {
  double fps = 0;      // average frames a second
  int64_t frames = 0;  // number of frames
  double seconds() const { return static_cast<double>(frames) / fps; }
};

// Time ids count tenths of a second.
inline constexpr double kSecondsPerTimeId = 0.1;
inline constexpr int kLargestPacking = 6;

/// MiniCPM-V 4.5: several frames may share one block of queries (a pack).
struct PackedSampling {
  double fps = 3;         // frames a second to look at
  int max_packs = 180;    // most packs; a pack may be a single frame
  int max_packing = 3;    // most frames of a pack, 1 to 6
  int force_packing = 0;  // frames of a pack, at most max_packing; 0: as few as the limits allow
};

struct SampledFrames {
  std::vector<int64_t> indices;   // from 0, ascending; a frame may come more than once when fps is above the video's
  std::vector<int32_t> time_ids;  // of each, in tenths of a second
  int packing = 1;                // consecutive frames that form a pack; the last pack may have fewer
};

/// Throws Error invalid_request when fps, max_packs or the packings are out of range, or when the video has no frame or
/// no rate.
SampledFrames sample_packed(const VideoTiming& video, const PackedSampling& rule);

/// MiniCPM-V 2.6 and 4.0, MiniCPM-o 2.6: every frame is a picture of its own.
struct UniformSampling {
  double fps = 1;  // frames a second to look at
  int max_frames = 64;
};

/// Every (video.fps / rule.fps)-th frame, from the first; of too many, max_frames evenly spread ones. Throws as
/// sample_packed.
std::vector<int64_t> sample_uniform(const VideoTiming& video, const UniformSampling& rule);

}  // namespace minicpm

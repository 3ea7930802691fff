#include "media/frame_sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace minicpm {
namespace {

// Far above what a context holds; keeps the arithmetic and the lists small whatever a caller asks for.
constexpr int kMostPacks = 1 << 16;
constexpr double kMostFps = 1e6;

void check_rule(const VideoTiming& video, double fps, int most, const char* what) {
  if (video.frames < 1) fail(ErrorCode::kInvalidRequest, "a video without frames cannot be sampled");
  if (!(video.fps > 0) || !(video.fps <= kMostFps)) {
    fail(ErrorCode::kInvalidRequest, "a video of {} frames a second cannot be sampled", video.fps);
  }
  if (!(fps > 0) || !(fps <= kMostFps)) {
    fail(ErrorCode::kInvalidRequest, "the frames a second to look at must be above 0 and at most {}, but are {}",
         kMostFps, fps);
  }
  if (most < 1 || most > kMostPacks) {
    fail(ErrorCode::kInvalidRequest, "the most {} must be between 1 and {}, but are {}", what, kMostPacks, most);
  }
}

/// To the nearest whole number, ties to the even one, as Python's round. Saves a change of the rounding mode.
double round_half_even(double x) {
  const double down = std::floor(x);
  const double rest = x - down;
  if (rest < 0.5) return down;
  if (rest > 0.5) return down + 1;
  return std::fmod(down, 2) == 0 ? down : down + 1;
}

/// The middles of `count` equal parts of 0 .. total - 1.
std::vector<int64_t> centres(int64_t total, int64_t count) {
  std::vector<int64_t> indices;
  indices.reserve(static_cast<size_t>(count));
  const double gap = static_cast<double>(total) / static_cast<double>(count);
  for (int64_t i = 0; i < count; ++i) {
    const auto index = static_cast<int64_t>(static_cast<double>(i) * gap + gap / 2);
    indices.push_back(std::min(index, total - 1));
  }
  return indices;
}

/// The tenth of a second nearest to `seconds` among 0, 0.1, 0.2, ... below `duration`, the earlier one on a tie. The
/// published code divides the time j * 0.1 by 0.1 in double and truncates, which for some j (43, 81, 86, ...) gives
/// j - 1: the model was trained and is used with these numbers.
int32_t time_id(double seconds, double duration) {
  const double count = std::max(1.0, std::ceil(duration / kSecondsPerTimeId));
  const double guess = std::floor(seconds / kSecondsPerTimeId);
  double best = 0, best_distance = HUGE_VAL;
  for (double j = std::max(0.0, guess - 1); j <= std::min(count - 1, guess + 2); ++j) {
    const double distance = std::abs(j * kSecondsPerTimeId - seconds);
    if (distance < best_distance) {
      best_distance = distance;
      best = j;
    }
  }
  if (best_distance == HUGE_VAL) best = count - 1;
  const double id = best * kSecondsPerTimeId / kSecondsPerTimeId;
  return static_cast<int32_t>(std::min<double>(id, std::numeric_limits<int32_t>::max()));
}

}  // namespace

SampledFrames sample_packed(const VideoTiming& video, const PackedSampling& rule) {
  check_rule(video, rule.fps, rule.max_packs, "packs");
  if (rule.max_packing < 1 || rule.max_packing > kLargestPacking || rule.force_packing < 0 ||
      rule.force_packing > kLargestPacking) {
    fail(ErrorCode::kInvalidRequest, "a pack must have 1 to {} frames, but has {}", kLargestPacking,
         std::max(rule.max_packing, rule.force_packing));
  }
  const double duration = video.seconds();
  const double most = rule.max_packs;
  double count = 0, packing = 1;
  if (rule.fps * std::trunc(duration) <= most) {
    count = round_half_even(std::min(rule.fps, round_half_even(video.fps)) * std::min(most, duration));
  } else {
    packing = std::ceil(duration * rule.fps / most);
    count = round_half_even(duration * rule.fps);
    if (packing > rule.max_packing) {
      count = most * rule.max_packing;
      packing = rule.max_packing;
    }
  }
  if (rule.force_packing > 0) packing = std::min(rule.force_packing, rule.max_packing);

  SampledFrames result;
  result.packing = static_cast<int>(packing);
  // A very short video gives no frame by the formula; one is shown anyway.
  result.indices = centres(video.frames, std::max<int64_t>(1, static_cast<int64_t>(count)));
  result.time_ids.reserve(result.indices.size());
  for (const int64_t index : result.indices)
    result.time_ids.push_back(time_id(static_cast<double>(index) / video.fps, duration));
  return result;
}

std::vector<int64_t> sample_uniform(const VideoTiming& video, const UniformSampling& rule) {
  check_rule(video, rule.fps, rule.max_frames, "frames");
  const double step = std::max(1.0, round_half_even(video.fps / rule.fps));
  if (step >= static_cast<double>(video.frames)) return {0};
  const auto stride = static_cast<int64_t>(step);
  const int64_t count = (video.frames + stride - 1) / stride;
  std::vector<int64_t> indices = centres(count, std::min<int64_t>(count, rule.max_frames));
  for (int64_t& index : indices)
    index *= stride;
  return indices;
}

}  // namespace minicpm

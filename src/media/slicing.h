// How MiniCPM-V cuts a picture into an overview and slices, and turns slices into patches.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "media/image.h"

namespace minicpm {

struct SliceConfig {
  int max_slice_nums = 9;
  int scale_resolution = 448;
  int patch_size = 14;
  bool slice_mode = true;
  float mean[3] = {0.5f, 0.5f, 0.5f};
  float std[3] = {0.5f, 0.5f, 0.5f};
};

struct Grid {
  int cols = 0;
  int rows = 0;
  bool operator==(const Grid&) const = default;
};

/// What happens to a picture of some size: pure arithmetic, no pixels.
struct SlicePlan {
  Size overview;             // size of the first slice
  std::optional<Grid> grid;  // absent: the overview is all there is
  Size refined;              // size of the picture that is cut into the grid
  Size slice;                // size of each cut
};

// Bounds of one picture's work, far above what ordinary pictures need: a slice has about 1024 patches, and only extreme
// shapes (1:260000) exceed 16 times that; the pixels of overview and slices together suffice for 160 slices.
inline constexpr int64_t kMaxSlicePatches = 16384;
inline constexpr int64_t kMaxPlanPixels = int64_t{1} << 25;

/// Throws Error invalid_request for an empty size, for settings that are not positive, with slice_mode off for sizes
/// that are no multiples of the patch size, and for pictures beyond the bounds above.
SlicePlan plan_slices(Size image, const SliceConfig& config);

/// Overview first, then the grid row by row.
std::vector<Image> slice_image(const Image& image, const SliceConfig& config);

/// One slice as the tower takes it: rows of patches [h * w, 3 * patch * patch], each patch in (channel, y, x) order,
/// normalised to (v / 255 - mean) / std in f32.
struct Patches {
  int h = 0;  // patch rows
  int w = 0;  // patch columns
  std::vector<float> values;
};
/// Requires sides that are multiples of the patch size, as those of slice_image.
Patches make_patches(const Image& slice, const SliceConfig& config);
/// Of several slices, side by side on threads.
std::vector<Patches> make_patches(std::span<const Image> slices, const SliceConfig& config);

/// The reference processor's layout of the same numbers: [3, patch, h * w * patch], where patch n takes the columns
/// [n * patch, (n + 1) * patch).
std::vector<float> to_reference_layout(const Patches& patches, int patch_size);
Patches from_reference_layout(std::span<const float> values, int h, int w, int patch_size);

}  // namespace minicpm

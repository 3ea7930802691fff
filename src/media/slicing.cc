#include "media/slicing.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/parallel.h"

namespace minicpm {
namespace {

// The official code is Python: `round` goes to even on ties, `int` cuts off, and all arithmetic is in double. std::rint
// is that `round` in the default rounding mode.

struct RealSize {
  double width, height;
};

double ensure_divide(double length, double unit) {
  return std::max(std::rint(length / unit) * unit, unit);
}

/// The size of about resolution x resolution pixels and the same shape whose sides are multiples of the patch size.
/// Without `enlarge`, a picture that is smaller already is only rounded.
RealSize best_resize(RealSize size, const SliceConfig& config, bool enlarge) {
  const double resolution = config.scale_resolution;
  if (enlarge || size.width * size.height > resolution * resolution) {
    const double ratio = size.width / size.height;
    size.height = std::trunc(resolution / std::sqrt(ratio));
    size.width = std::trunc(size.height * ratio);  // of the cut height
  }
  return {ensure_divide(size.width, config.patch_size), ensure_divide(size.height, config.patch_size)};
}

/// Columns and rows of slices, whose number is next to the number of resolution-sized squares in the picture and whose
/// shape is next to the picture's.
std::optional<Grid> choose_grid(Size image, const SliceConfig& config) {
  const double area = static_cast<double>(image.width) * image.height;
  const double squares = area / (static_cast<double>(config.scale_resolution) * config.scale_resolution);
  const auto wanted = static_cast<int>(std::min<double>(std::ceil(squares), config.max_slice_nums));
  if (wanted <= 1) return std::nullopt;

  const double log_ratio = std::log(static_cast<double>(image.width) / image.height);
  Grid best{1, 1};
  double best_error = INFINITY;
  for (const int count : {wanted - 1, wanted, wanted + 1}) {
    if (count == 1 || count > config.max_slice_nums) continue;
    for (int cols = 1; cols <= count; ++cols) {
      if (count % cols != 0) continue;
      const int rows = count / cols;
      const double error = std::abs(log_ratio - std::log(static_cast<double>(cols) / rows));
      if (error < best_error) {  // on a tie the first one stays
        best_error = error;
        best = {cols, rows};
      }
    }
  }
  return best;
}

void check_config(const SliceConfig& config) {
  const auto check = [](const char* name, int value, int most) {
    if (value < 1 || value > most) {
      fail(ErrorCode::kInvalidRequest, "{}: expected 1 to {}, found {}", name, most, value);
    }
  };
  check("max_slice_nums", config.max_slice_nums, 1 << 20);
  check("scale_resolution", config.scale_resolution, 1 << 14);
  check("patch_size", config.patch_size, 1 << 10);
}

/// The size as integers, if its patches stay within the bound for one slice.
Size checked_slice(Size image, RealSize slice, const SliceConfig& config) {
  const double patch = config.patch_size;
  if (slice.width / patch * (slice.height / patch) > static_cast<double>(kMaxSlicePatches)) {
    fail(ErrorCode::kInvalidRequest,
         "a picture of {}x{} pixels would need slices of {:.0f}x{:.0f}, expected at most {} "
         "patches of {}x{}",
         image.width, image.height, slice.width, slice.height, kMaxSlicePatches, config.patch_size, config.patch_size);
  }
  return {static_cast<int>(slice.width), static_cast<int>(slice.height)};
}

SlicePlan plan_uncut(Size image, const SliceConfig& config) {
  if (image.width % config.patch_size != 0 || image.height % config.patch_size != 0) {
    fail(ErrorCode::kInvalidRequest, "without slicing, the sides of a picture must be multiples of {}, found {}x{}",
         config.patch_size, image.width, image.height);
  }
  const RealSize size{static_cast<double>(image.width), static_cast<double>(image.height)};
  return {checked_slice(image, size, config), std::nullopt, {}, {}};
}

}  // namespace

SlicePlan plan_slices(Size image, const SliceConfig& config) {
  check_config(config);
  if (image.width < 1 || image.height < 1) {
    fail(ErrorCode::kInvalidRequest, "a picture must have at least 1x1 pixels, found {}x{}", image.width, image.height);
  }
  if (!config.slice_mode) return plan_uncut(image, config);

  const RealSize size{static_cast<double>(image.width), static_cast<double>(image.height)};
  SlicePlan plan;
  plan.grid = choose_grid(image, config);
  plan.overview = checked_slice(image, best_resize(size, config, !plan.grid), config);
  if (!plan.grid) return plan;

  const int cols = plan.grid->cols, rows = plan.grid->rows;
  const RealSize part{ensure_divide(size.width, cols) / cols, ensure_divide(size.height, rows) / rows};
  plan.slice = checked_slice(image, best_resize(part, config, true), config);
  const int64_t pixels = static_cast<int64_t>(plan.overview.width) * plan.overview.height +
                         static_cast<int64_t>(plan.slice.width) * plan.slice.height * cols * rows;
  if (pixels > kMaxPlanPixels) {
    fail(ErrorCode::kInvalidRequest,
         "a picture of {}x{} pixels would be cut into {} slices with {} pixels, expected at most {}; lower "
         "max_slice_nums",
         image.width, image.height, cols * rows, pixels, kMaxPlanPixels);
  }
  plan.refined = {plan.slice.width * cols, plan.slice.height * rows};
  return plan;
}

std::vector<Image> slice_image(const Image& image, const SliceConfig& config) {
  const SlicePlan plan = plan_slices({image.width, image.height}, config);
  const Size sizes[] = {plan.overview, plan.refined};
  std::vector<Image> slices = resize_bicubic(image, std::span(sizes).first(plan.grid ? 2 : 1));
  if (!plan.grid) return slices;
  const Image refined = std::move(slices.back());
  slices.pop_back();
  for (int row = 0; row < plan.grid->rows; ++row) {
    for (int col = 0; col < plan.grid->cols; ++col) {
      slices.push_back(
          crop(refined, col * plan.slice.width, row * plan.slice.height, plan.slice.width, plan.slice.height));
    }
  }
  return slices;
}

Patches make_patches(const Image& slice, const SliceConfig& config) {
  const int patch = config.patch_size;
  MINICPM_CHECK(patch > 0 && slice.width % patch == 0 && slice.height % patch == 0);
  float levels[3][256];  // what each byte becomes
  for (int c = 0; c < 3; ++c) {
    for (int v = 0; v < 256; ++v) {
      levels[c][v] = (static_cast<float>(v) / 255.0f - config.mean[c]) / config.std[c];
    }
  }

  Patches result{slice.height / patch, slice.width / patch, {}};
  const size_t plane = static_cast<size_t>(patch) * patch;
  result.values.resize(static_cast<size_t>(result.h) * result.w * 3 * plane);
  for (int y = 0; y < slice.height; ++y) {
    const uint8_t* pixel = slice.row(y);
    // Patches of this row of patches, at the line y of each.
    float* line = result.values.data() + (static_cast<size_t>(y / patch) * result.w * 3 * patch + y % patch) * patch;
    for (int j = 0; j < result.w; ++j, line += 3 * plane) {
      for (int x = 0; x < patch; ++x, pixel += 3) {
        for (int c = 0; c < 3; ++c)
          line[c * plane + x] = levels[c][pixel[c]];
      }
    }
  }
  return result;
}

std::vector<Patches> make_patches(std::span<const Image> slices, const SliceConfig& config) {
  constexpr int64_t kPixelsPerThread = 1 << 18;
  int64_t pixels = 0;
  for (const Image& slice : slices)
    pixels += int64_t{slice.width} * slice.height;
  std::vector<Patches> result(slices.size());
  for_parts(static_cast<int64_t>(slices.size()), threads_for(pixels, kPixelsPerThread),
            [&](int64_t first, int64_t last) {
              for (int64_t i = first; i < last; ++i)
                result[i] = make_patches(slices[i], config);
            });
  return result;
}

std::vector<float> to_reference_layout(const Patches& patches, int patch_size) {
  const size_t patch = patch_size, num_patches = static_cast<size_t>(patches.h) * patches.w;
  MINICPM_CHECK(patches.values.size() == num_patches * 3 * patch * patch);
  std::vector<float> result(patches.values.size());
  const float* from = patches.values.data();
  for (size_t n = 0; n < num_patches; ++n) {
    for (size_t line = 0; line < 3 * patch; ++line, from += patch) {  // line = channel * patch + y
      std::copy_n(from, patch, result.data() + (line * num_patches + n) * patch);
    }
  }
  return result;
}

Patches from_reference_layout(std::span<const float> values, int h, int w, int patch_size) {
  const size_t patch = patch_size, num_patches = static_cast<size_t>(h) * w;
  MINICPM_CHECK(values.size() == num_patches * 3 * patch * patch);
  Patches result{h, w, std::vector<float>(values.size())};
  float* to = result.values.data();
  for (size_t n = 0; n < num_patches; ++n) {
    for (size_t line = 0; line < 3 * patch; ++line, to += patch) {
      std::copy_n(values.data() + (line * num_patches + n) * patch, patch, to);
    }
  }
  return result;
}

}  // namespace minicpm

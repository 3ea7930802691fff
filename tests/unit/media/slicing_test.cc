#include "media/slicing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "unit/media/test_pictures.h"

namespace minicpm {
namespace {

using testing::HasSubstr;

struct PlanRow {
  Size image;
  int max_slice_nums;
  Grid grid;  // {0, 0}: not cut
  Size overview, refined, slice;
};

// The table of docs/images.md.
constexpr PlanRow kPlans[] = {
    {{448, 448}, 9, {0, 0}, {448, 448}, {0, 0}, {0, 0}},
    {{200, 150}, 9, {0, 0}, {518, 392}, {0, 0}, {0, 0}},
    {{100, 400}, 9, {0, 0}, {224, 896}, {0, 0}, {0, 0}},
    {{640, 480}, 9, {2, 1}, {518, 392}, {728, 546}, {364, 546}},
    {{1000, 1000}, 9, {2, 2}, {448, 448}, {896, 896}, {448, 448}},
    {{1024, 768}, 9, {2, 2}, {518, 392}, {1036, 784}, {518, 392}},
    {{800, 1200}, 9, {2, 3}, {364, 546}, {896, 1344}, {448, 448}},
    {{1280, 720}, 9, {3, 2}, {602, 336}, {1470, 812}, {490, 406}},
    {{1920, 1080}, 9, {4, 2}, {602, 336}, {1680, 952}, {420, 476}},
    {{3000, 1000}, 9, {4, 2}, {770, 252}, {2184, 728}, {546, 364}},
    {{500, 3000}, 9, {1, 7}, {182, 1092}, {476, 2940}, {476, 420}},
    {{1344, 1344}, 9, {3, 3}, {448, 448}, {1344, 1344}, {448, 448}},
    {{4032, 3024}, 9, {3, 3}, {518, 392}, {1554, 1176}, {518, 392}},
    {{640, 480}, 1, {0, 0}, {518, 392}, {0, 0}, {0, 0}},
    {{1920, 1080}, 1, {0, 0}, {602, 336}, {0, 0}, {0, 0}},
};

TEST(PlanSlices, KnownSizes) {
  for (const PlanRow& row : kPlans) {
    SCOPED_TRACE(testing::Message() << row.image.width << "x" << row.image.height << " max " << row.max_slice_nums);
    const SlicePlan plan = plan_slices(row.image, {.max_slice_nums = row.max_slice_nums});
    EXPECT_EQ(plan.grid.value_or(Grid{}), row.grid);
    EXPECT_EQ(plan.overview, row.overview);
    EXPECT_EQ(plan.refined, row.refined);
    EXPECT_EQ(plan.slice, row.slice);
  }
}

TEST(PlanSlices, ExtremeShapes) {
  // One direction is cut to no pixel at all or to very few, which round up to one patch.
  EXPECT_EQ(plan_slices({1, 1}, {}).overview, (Size{448, 448}));
  EXPECT_EQ(plan_slices({20000, 1}, {}).overview, (Size{60004, 14}));
  EXPECT_EQ(plan_slices({65535, 1}, {}).overview, (Size{65534, 14}));
  EXPECT_EQ(plan_slices({1, 20000}, {}).overview, (Size{14, 63350}));
  EXPECT_EQ(plan_slices({1, 65535}, {}).overview, (Size{14, 114688}));
  EXPECT_EQ(plan_slices({200'000'000, 1}, {.max_slice_nums = 1}).overview, (Size{14, 14}));
  EXPECT_EQ(plan_slices({14, 14}, {.slice_mode = false}).overview, (Size{14, 14}));
}

/// The error of a plan; fails the test if there is none.
std::string plan_error(Size image, const SliceConfig& config) {
  try {
    (void)plan_slices(image, config);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidRequest);
    return error.what();
  }
  ADD_FAILURE() << image.width << "x" << image.height << " was planned";
  return "";
}

TEST(PlanSlices, RefusesWhatItCannotServe) {
  EXPECT_THAT(plan_error({100, 100}, {.max_slice_nums = 0}), HasSubstr("max_slice_nums: expected 1 to"));
  EXPECT_THAT(plan_error({100, 100}, {.max_slice_nums = -1}), HasSubstr("max_slice_nums"));
  EXPECT_THAT(plan_error({100, 100}, {.scale_resolution = 0}), HasSubstr("scale_resolution"));
  EXPECT_THAT(plan_error({100, 100}, {.patch_size = 0}), HasSubstr("patch_size"));
  EXPECT_THAT(plan_error({0, 100}, {}), HasSubstr("at least 1x1 pixels, found 0x100"));
  EXPECT_THAT(plan_error({100, 28}, {.slice_mode = false}), HasSubstr("multiples of 14, found 100x28"));
  EXPECT_THAT(plan_error({1, 300'000}, {.max_slice_nums = 1}), HasSubstr("at most 16384 patches"));
  EXPECT_THAT(plan_error({14, 14'000'000}, {.slice_mode = false}), HasSubstr("at most 16384 patches"));
  EXPECT_THAT(plan_error({14'000, 14'000}, {.max_slice_nums = 1000}), HasSubstr("lower max_slice_nums"));
  EXPECT_THAT(plan_error({INT_MAX, INT_MAX}, {.max_slice_nums = 1 << 20}), HasSubstr("lower max_slice_nums"));
}

TEST(PlanSlices, EveryPlanIsSound) {
  std::mt19937 random(11);
  const SliceConfig config;
  for (int round = 0; round < 5000; ++round) {
    const auto side = [&] { return 1 + static_cast<int>(std::exp2(random() % 1200 / 100.0)); };
    const Size image{side(), side()};
    SCOPED_TRACE(testing::Message() << image.width << "x" << image.height);
    const SlicePlan plan = plan_slices(image, config);
    EXPECT_EQ(plan.overview.width % 14, 0);
    EXPECT_EQ(plan.overview.height % 14, 0);
    if (!plan.grid) continue;
    EXPECT_GE(plan.grid->cols * plan.grid->rows, 2);
    EXPECT_LE(plan.grid->cols * plan.grid->rows, 9);
    EXPECT_EQ(plan.slice.width % 14, 0);
    EXPECT_EQ(plan.slice.height % 14, 0);
    EXPECT_EQ(plan.refined, (Size{plan.slice.width * plan.grid->cols, plan.slice.height * plan.grid->rows}));
  }
}

TEST(SliceImage, OverviewFirstThenTheGridRowByRow) {
  const Image image = noise_image(800, 600, 3);
  const SlicePlan plan = plan_slices({800, 600}, {});
  ASSERT_EQ(plan.grid, (Grid{2, 2}));
  const std::vector<Image> slices = slice_image(image, {});
  ASSERT_EQ(slices.size(), 5u);
  EXPECT_EQ(slices[0].rgb, resize_bicubic(image, plan.overview.width, plan.overview.height).rgb);
  const Image refined = resize_bicubic(image, plan.refined.width, plan.refined.height);
  const auto [width, height] = plan.slice;
  EXPECT_EQ(slices[1].rgb, crop(refined, 0, 0, width, height).rgb);
  EXPECT_EQ(slices[2].rgb, crop(refined, width, 0, width, height).rgb);
  EXPECT_EQ(slices[3].rgb, crop(refined, 0, height, width, height).rgb);
  EXPECT_EQ(slices[4].rgb, crop(refined, width, height, width, height).rgb);
}

TEST(MakePatches, PlacesEveryPixel) {
  SliceConfig config{.patch_size = 2};
  config.mean[1] = 0.25f;
  config.std[2] = 2.0f;
  const Image image = noise_image(6, 4, 4);
  const Patches patches = make_patches(image, config);
  ASSERT_EQ(patches.h, 2);
  ASSERT_EQ(patches.w, 3);
  ASSERT_EQ(patches.values.size(), 6u * 12);
  for (int y = 0; y < 4; ++y) {
    for (int x = 0; x < 6; ++x) {
      for (int c = 0; c < 3; ++c) {
        const size_t at = static_cast<size_t>(y / 2 * 3 + x / 2) * 12 + c * 4 + y % 2 * 2 + x % 2;
        const float expected = (image.row(y)[x * 3 + c] / 255.0f - config.mean[c]) / config.std[c];
        EXPECT_EQ(patches.values[at], expected) << x << "," << y << " channel " << c;
      }
    }
  }
}

TEST(MakePatches, TheReferenceLayoutHoldsThePatchesSideBySide) {
  const Image image = noise_image(6, 4, 5);
  const Patches patches = make_patches(image, {.patch_size = 2});
  const std::vector<float> layout = to_reference_layout(patches, 2);
  ASSERT_EQ(layout.size(), 3u * 2 * 12);  // [channel, y, patch * 2 + x]
  for (int c = 0; c < 3; ++c) {
    for (int n = 0; n < 6; ++n) {
      for (int y = 0; y < 2; ++y) {
        for (int x = 0; x < 2; ++x) {
          EXPECT_EQ(layout[(c * 2 + y) * 12 + n * 2 + x], patches.values[n * 12 + c * 4 + y * 2 + x]);
        }
      }
    }
  }
  EXPECT_EQ(from_reference_layout(layout, 2, 3, 2).values, patches.values);
}

}  // namespace
}  // namespace minicpm

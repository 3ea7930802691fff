// From a video to message parts: the rules of each version, and what the processor makes of the parts.
#include "engine/video_parts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "support/video_writer.h"

namespace minicpm {
namespace {

TEST(VideoParts, PlansFollowTheVersion) {
  const VideoTiming minute{30, 1800};
  const VideoPlan packed = plan_video({30, 5400}, {}, true);
  EXPECT_EQ(packed.indices.size(), 540u);
  EXPECT_EQ(packed.packing, 3);
  EXPECT_EQ(packed.parts(), 180);
  EXPECT_EQ(packed.max_slices, 1);
  EXPECT_EQ(plan_video(minute, {}, true).packing, 1);

  const VideoPlan six = plan_video({30, 30000}, {.pack = 6}, true);
  EXPECT_EQ(six.indices.size(), 1080u);
  EXPECT_EQ(six.parts(), 180);
  const VideoPlan one = plan_video({30, 30000}, {.max_frames = 20, .pack = 1}, true);
  EXPECT_EQ(one.indices.size(), 20u);
  EXPECT_EQ(one.parts(), 20);
  EXPECT_EQ(plan_video(minute, {.fps = 0.5, .max_slices = 4}, true).indices.size(), 30u);
  EXPECT_EQ(plan_video(minute, {.max_slices = 4}, true).max_slices, 4);

  const VideoPlan old = plan_video(minute, {}, false);
  EXPECT_EQ(old.indices.size(), 60u);
  EXPECT_TRUE(old.time_ids.empty());
  EXPECT_EQ(old.max_slices, 1);
  EXPECT_EQ(plan_video({30, 300}, {}, false).max_slices, 2);
  EXPECT_EQ(plan_video({30, 90000}, {}, false).indices.size(), 64u);
  EXPECT_EQ(plan_video(minute, {.pack = 1}, false).indices.size(), 60u);
  EXPECT_THROW(plan_video(minute, {.pack = 2}, false), Error);
  for (const VideoSampling& bad : {VideoSampling{.fps = 0}, {.max_frames = 0}, {.pack = 7}, {.pack = 0}}) {
    EXPECT_THROW(plan_video(minute, bad, true), Error);
  }
}

TEST(VideoParts, FramesComeInPacksWithTheirTimes) {
  const auto video = VideoReader::from_bytes(testing::make_video({.fps = 10, .frames = 50}), "clip");
  const VideoPlan plan = plan_video(video->info().timing(), {.fps = 2, .pack = 3}, true);
  ASSERT_EQ(plan.indices.size(), 10u);
  const auto parts = video_parts(*video, plan);
  ASSERT_EQ(parts.size(), 4u);
  size_t at = 0;
  for (const ContentPart& part : parts) {
    EXPECT_EQ(part.kind, ContentPart::Kind::kFrames);
    EXPECT_EQ(part.max_slices, 1);
    EXPECT_EQ(part.use_image_id, false);
    EXPECT_EQ(part.images.size(), &part == &parts.back() ? 1u : 3u);
    ASSERT_EQ(part.frame_ids.size(), part.images.size());
    for (size_t i = 0; i < part.images.size(); ++i, ++at) {
      EXPECT_EQ(testing::shown_index(*part.images[i]), plan.indices[at]);
      EXPECT_EQ(part.frame_ids[i], plan.time_ids[at]);
    }
  }
}

// Shrinking early must not change what the tower sees.
TEST(VideoParts, EarlyShrinkingIsExact) {
  for (const auto& [width, height, shrinks] :
       {std::tuple{640, 360, true}, {352, 640, true}, {801, 99, false}, {100, 60, false}}) {
    const auto video =
        VideoReader::from_bytes(testing::make_video({.width = width, .height = height, .frames = 4}), "clip");
    SliceConfig slices;
    slices.scale_resolution = 112;
    const VideoPlan plan = plan_video(video->info().timing(), {}, true);
    const auto whole = video_parts(*video, plan), small = video_parts(*video, plan, {}, slices);
    ASSERT_EQ(whole.size(), small.size());
    slices.max_slice_nums = 1;
    for (size_t i = 0; i < whole.size(); ++i) {
      const Image &a = *whole[i].images[0], &b = *small[i].images[0];
      EXPECT_LE(b.rgb.size(), a.rgb.size());
      EXPECT_EQ(slice_image(a, slices)[0].rgb, slice_image(b, slices)[0].rgb) << width << "x" << height;
    }
    // The overview of 801x99 is 308x42, whose own overview would be 294x42: such frames stay whole.
    EXPECT_EQ(small[0].images[0]->width < width, shrinks) << width << "x" << height;
  }
}

}  // namespace
}  // namespace minicpm

// The choice of frames against values of the published formula, computed in Python's double arithmetic.
#include "media/frame_sampling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"

namespace minicpm {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

template <typename T>
uint32_t hash_of(const std::vector<T>& values) {
  uint32_t hash = 0;
  for (const T value : values)
    hash = hash * 1000003u + static_cast<uint32_t>(value) + 1;
  return hash;
}

struct PackedCase {
  double fps;
  int64_t frames;
  double choose_fps;
  int max_packs, max_packing, force_packing;
  size_t count;
  int packing;
  uint32_t indices, time_ids;  // hash_of
};

// clang-format off
constexpr PackedCase kPacked[] = {
    {30, 300, 3.0, 180, 3, 0, 30, 1, 0x31f215de, 0x9f5392d2},
    {30000.0 / 1001, 1800, 3.0, 180, 3, 0, 180, 1, 0x4538a9d4, 0x8b914ab5},
    {25, 1525, 3.0, 180, 3, 0, 183, 2, 0x4825846f, 0x22a092bd},
    {29.97, 5400, 3.0, 180, 3, 0, 540, 3, 0x148895fc, 0xeae0d01d},
    {24, 2880, 3.0, 180, 3, 0, 360, 2, 0x8b0bb470, 0x56fc5b71},
    {24000.0 / 1001, 100000, 3.0, 180, 3, 0, 540, 3, 0x334e4bd0, 0x7c4fc851},
    {30, 1830, 3.0, 180, 3, 1, 183, 1, 0x71b2a744, 0x22a092bd},
    {30, 1830, 3.0, 180, 3, 6, 183, 3, 0x71b2a744, 0x22a092bd},
    {2, 9, 3.0, 180, 3, 0, 9, 1, 0xa2aa9da5, 0x51997e75},
    {2.5, 40, 3.0, 180, 3, 0, 32, 1, 0x0360a650, 0x67b78f80},
    {12.5, 625, 10.0, 180, 6, 0, 500, 3, 0x434b14f6, 0xd4cc3260},
    {60, 7200, 5.0, 180, 6, 0, 600, 4, 0x8a90d920, 0xe2036729},
    {30, 900, 1.5, 20, 3, 0, 45, 3, 0xf02c2c9b, 0x5029adb5},
    {30, 9000, 0.5, 64, 6, 0, 150, 3, 0x63f32d88, 0x9ac75060},
    {10, 4, 3.0, 180, 3, 0, 1, 1, 0x00000003, 0x00000003},
    {59.94, 3650, 3.0, 180, 3, 2, 183, 2, 0xe78fdc95, 0x1d2fb8b5},
    {15, 914, 3.0, 180, 3, 0, 183, 1, 0x5a055e0a, 0x44249cf5},
    {15, 915, 3.0, 180, 3, 0, 183, 2, 0x38d953a2, 0xc4a1fa3d},
    {25.0 / 3, 250, 3.0, 8, 4, 0, 32, 4, 0x2fb02fb4, 0x41cc8743},
};

struct UniformCase {
  double fps;
  int64_t frames;
  double choose_fps;
  int max_frames;
  size_t count;
  uint32_t indices;
};
constexpr UniformCase kUniform[] = {
    {30, 300, 1.0, 64, 10, 0x394aa7ea},
    {29.97, 3000, 1.0, 64, 64, 0xf297ebe0},
    {25, 100, 1.0, 64, 4, 0xc7e7c06a},
    {23.976, 5000, 1.0, 64, 64, 0xd1ca17c0},
    {0.4, 10, 1.0, 64, 10, 0xcbf6cc39},
    {30, 90000, 1.0, 64, 64, 0x4057e1c0},
    {30, 600, 2.5, 8, 8, 0x25565b10},
    {12, 13, 4.0, 3, 3, 0xd56b6d6b},
    {1.5, 7, 1.0, 64, 4, 0xa21bb0cc},
};
// clang-format on

TEST(FrameSampling, PackedFramesAreThoseOfTheFormula) {
  for (const PackedCase& row : kPacked) {
    const SampledFrames frames =
        sample_packed({row.fps, row.frames}, {row.choose_fps, row.max_packs, row.max_packing, row.force_packing});
    SCOPED_TRACE(::testing::Message() << row.frames << " frames at " << row.fps);
    EXPECT_EQ(frames.indices.size(), row.count);
    EXPECT_EQ(frames.time_ids.size(), row.count);
    EXPECT_EQ(frames.packing, row.packing);
    EXPECT_EQ(hash_of(frames.indices), row.indices);
    EXPECT_EQ(hash_of(frames.time_ids), row.time_ids);
  }
}

TEST(FrameSampling, TenSecondsByHand) {
  const SampledFrames frames = sample_packed({10, 100}, {});
  EXPECT_THAT(frames.indices, ElementsAre(1, 5, 8, 11, 15, 18, 21, 25, 28, 31, 35, 38, 41, 45, 48, 51, 55, 58, 61, 65,
                                          68, 71, 75, 78, 81, 85, 88, 91, 95, 98));
  // 8.1 and 9.1 seconds are ids 80 and 90: (81 * 0.1) / 0.1 is below 81 in double.
  EXPECT_THAT(frames.time_ids, ElementsAre(1, 5, 8, 11, 15, 18, 21, 25, 28, 31, 35, 38, 41, 45, 48, 51, 55, 58, 61, 65,
                                           68, 71, 75, 78, 80, 85, 88, 90, 95, 98));
  EXPECT_EQ(frames.packing, 1);
}

// Every frame of a video of ten frames a second is a multiple of a tenth: ids are the frame numbers, but for those
// where double arithmetic falls below.
TEST(FrameSampling, TimeIdsFallShortWhereDoubleArithmeticDoes) {
  constexpr int64_t kFrames = 72000;
  const SampledFrames frames = sample_packed({10, kFrames}, {.fps = 10, .max_packs = 1 << 16, .max_packing = 2});
  ASSERT_THAT(frames.indices, SizeIs(kFrames));
  std::vector<int64_t> short_ones;
  for (int64_t i = 0; i < kFrames; ++i) {
    ASSERT_EQ(frames.indices[i], i);
    if (frames.time_ids[i] == i) continue;
    ASSERT_EQ(frames.time_ids[i], i - 1);
    short_ones.push_back(i);
  }
  EXPECT_THAT(short_ones, SizeIs(3270));
  short_ones.resize(12);
  EXPECT_THAT(short_ones, ElementsAre(43, 81, 86, 91, 162, 167, 172, 177, 182, 187, 324, 329));
}

TEST(FrameSampling, UniformFramesAreThoseOfTheFormula) {
  for (const UniformCase& row : kUniform) {
    const auto indices = sample_uniform({row.fps, row.frames}, {row.choose_fps, row.max_frames});
    SCOPED_TRACE(::testing::Message() << row.frames << " frames at " << row.fps);
    EXPECT_EQ(indices.size(), row.count);
    EXPECT_EQ(hash_of(indices), row.indices);
  }
}

TEST(FrameSampling, AVeryShortVideoGivesOneFrame) {
  EXPECT_THAT(sample_packed({30, 1}, {}).indices, ElementsAre(0));
  EXPECT_THAT(sample_packed({30, 1}, {}).time_ids, ElementsAre(0));
  EXPECT_THAT(sample_packed({0.3, 2}, {}).indices, ElementsAre(1));
  EXPECT_THAT(sample_uniform({30, 1}, {}), ElementsAre(0));
  EXPECT_THAT(sample_uniform({30, 30}, {.fps = 1e-5}), ElementsAre(0));
}

TEST(FrameSampling, IndicesStayInsideWhateverTheRates) {
  for (const double fps : {0.01, 0.9, 7.7, 29.97, 240.0, 90000.0}) {
    for (const int64_t count : {1, 2, 17, 1000, 4000000}) {
      for (const double choose : {0.01, 0.7, 3.0, 25.0, 1000.0}) {
        const SampledFrames frames = sample_packed({fps, count}, {.fps = choose, .max_packs = 40, .max_packing = 6});
        ASSERT_FALSE(frames.indices.empty());
        EXPECT_TRUE(std::ranges::is_sorted(frames.indices));
        EXPECT_GE(frames.indices.front(), 0);
        EXPECT_LT(frames.indices.back(), count);
        EXPECT_TRUE(std::ranges::is_sorted(frames.time_ids));
        EXPECT_GE(frames.time_ids.front(), 0);
        EXPECT_LE(frames.packing, 6);
        const auto uniform = sample_uniform({fps, count}, {.fps = choose, .max_frames = 40});
        EXPECT_LE(uniform.size(), 40u);
        EXPECT_LT(uniform.back(), count);
      }
    }
  }
}

TEST(FrameSampling, SettingsOutOfRangeAreRefused) {
  const VideoTiming video{30, 300};
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const PackedSampling& rule : {PackedSampling{.fps = 0},
                                     {.fps = -1},
                                     {.fps = nan},
                                     {.fps = HUGE_VAL},
                                     {.max_packs = 0},
                                     {.max_packing = 0},
                                     {.max_packing = 7},
                                     {.force_packing = -1},
                                     {.force_packing = 7},
                                     {.max_packs = 1 << 30}}) {
    EXPECT_THROW(sample_packed(video, rule), Error);
  }
  for (const VideoTiming& bad : {VideoTiming{0, 10}, {nan, 10}, {30, 0}, {-1, 10}, {HUGE_VAL, 10}}) {
    EXPECT_THROW(sample_packed(bad, {}), Error);
    EXPECT_THROW(sample_uniform(bad, {}), Error);
  }
  EXPECT_THROW(sample_uniform(video, {.fps = nan}), Error);
  EXPECT_THROW(sample_uniform(video, {.max_frames = 0}), Error);
}

}  // namespace
}  // namespace minicpm

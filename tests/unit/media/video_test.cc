// Videos of several kinds, encoded by the test: each frame says which one it is.
#include "media/video.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "base/error.h"
#include "base/log.h"
#include "media/packet_index.h"
#include "support/video_writer.h"

namespace minicpm {
namespace {

using ::testing::HasSubstr;
using testing::make_video;
using testing::make_webp_animation;
using testing::shown_index;
using testing::VideoSpec;

std::vector<int> shown(VideoReader& video, const std::vector<int64_t>& wanted) {
  std::vector<int> result;
  for (const auto& image : video.frames(wanted))
    result.push_back(shown_index(*image));
  return result;
}

std::vector<int> as_ints(const std::vector<int64_t>& values) {
  return {values.begin(), values.end()};
}

ErrorCode code_of(const std::string& bytes, const VideoOptions& options = {}) {
  try {
    const auto video = VideoReader::from_bytes(bytes, "clip", options);
    video->frames(std::vector<int64_t>{0});
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("clip"));
    return error.code();
  }
  return ErrorCode::kInternal;
}

struct Kind {
  const char* name;
  VideoSpec spec;
};

constexpr AVPixelFormat kYuv = AV_PIX_FMT_YUV420P;

// clang-format off
const Kind kKinds[] = {
    {"ffv1 in mkv",     {.format = "matroska", .codec = "ffv1", .frames = 40}},
    {"mpeg4 in mp4",    {.format = "mp4", .codec = "mpeg4", .pixels = kYuv, .frames = 60, .gop = 12, .b_frames = 2}},
    {"mpeg4 in mkv",    {.format = "matroska", .codec = "mpeg4", .pixels = kYuv, .frames = 60, .gop = 10}},
    {"mpeg4 in avi",    {.format = "avi", .codec = "mpeg4", .pixels = kYuv, .frames = 30, .gop = 10}},
    {"mpeg4 in avi, B", {.format = "avi", .codec = "mpeg4", .pixels = kYuv, .frames = 30, .gop = 10, .b_frames = 2}},
    {"mpeg2 in ts",
     {.format = "mpegts", .codec = "mpeg2video", .pixels = kYuv, .fps = 25, .frames = 60, .gop = 12, .b_frames = 2}},
    {"mpeg1 in mpg",    {.format = "mpeg", .codec = "mpeg1video", .pixels = kYuv, .fps = 25, .frames = 30, .gop = 12}},
    {"mjpeg in mov",    {.format = "mov", .codec = "mjpeg", .pixels = AV_PIX_FMT_YUVJ420P, .frames = 20}},
    {"gif",             {.format = "gif", .codec = "gif", .pixels = AV_PIX_FMT_GRAY8, .frames = 20}},
    {"png animation",   {.format = "apng", .codec = "apng", .pixels = AV_PIX_FMT_GRAY8, .frames = 20}},
    {"h264 in mp4",     {.format = "mp4", .codec = "libx264", .pixels = kYuv, .frames = 80, .gop = 16, .b_frames = 3}},
    {"vp9 in webm",     {.format = "webm", .codec = "libvpx-vp9", .pixels = kYuv, .frames = 30, .gop = 8}},
    {"h265 in mkv", {.format = "matroska", .codec = "libx265", .pixels = kYuv, .frames = 30, .gop = 8, .b_frames = 3}},
};
// clang-format on

TEST(Video, EveryKindGivesTheChosenFrames) {
  for (const Kind& kind : kKinds) {
    SCOPED_TRACE(kind.name);
    if (!testing::can_encode(kind.spec.codec)) continue;  // builds of FFmpeg differ in the last ones
    const auto video = VideoReader::from_bytes(make_video(kind.spec), kind.name);
    const VideoInfo& info = video->info();
    EXPECT_EQ(info.frames, kind.spec.frames);
    EXPECT_NEAR(info.fps, kind.spec.fps, 0.01 * kind.spec.fps);
    EXPECT_EQ(info.width, kind.spec.width);
    EXPECT_EQ(info.height, kind.spec.height);
    const int64_t last = info.frames - 1;
    for (const std::vector<int64_t>& wanted :
         {std::vector<int64_t>{0}, {last}, {0, 1, 2}, {3, 11, 12, 13, last - 1}, {5, 5, 5, last, last}}) {
      EXPECT_EQ(shown(*video, wanted), as_ints(wanted));
    }
    std::vector<int64_t> all;
    for (int64_t i = 0; i <= last; ++i)
      all.push_back(i);
    EXPECT_EQ(shown(*video, all), as_ints(all));
  }
}

TEST(Video, LosslessFramesAreExact) {
  const auto video = VideoReader::from_bytes(make_video({}), "clip");
  const auto frames = video->frames(std::vector<int64_t>{3, 17});
  EXPECT_EQ(frames[0]->rgb, testing::painted_frame(3, 128, 32).rgb);
  EXPECT_EQ(frames[1]->rgb, testing::painted_frame(17, 128, 32).rgb);
  EXPECT_EQ(video->info().codec, "ffv1");
  EXPECT_EQ(video->info().format, "matroska");
}

TEST(Video, OddWidthsAreWholeToTheEdge) {
  for (const int width : {1, 17, 31, 129}) {
    const auto video = VideoReader::from_bytes(make_video({.width = width, .height = 19, .frames = 3}), "clip");
    EXPECT_EQ(video->frames(std::vector<int64_t>{2})[0]->rgb, testing::painted_frame(2, width, 19).rgb) << width;
  }
}

TEST(Video, RandomChoicesDoNotDependOnThreads) {
  VideoSpec spec = kKinds[1].spec;
  spec.frames = 120;
  const std::string bytes = make_video(spec);
  const auto one = VideoReader::from_bytes(bytes, "clip", {.threads = 1});
  const auto four = VideoReader::from_bytes(bytes, "clip", {.threads = 4});
  const unsigned seed = 20261123;
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 10; ++round) {
    std::vector<int64_t> wanted;
    for (int i = 0; i < 1 + round; ++i)
      wanted.push_back(static_cast<int64_t>(random() % 120));
    std::ranges::sort(wanted);
    const auto a = one->frames(wanted), b = four->frames(wanted);
    for (size_t i = 0; i < wanted.size(); ++i) {
      EXPECT_EQ(shown_index(*a[i]), wanted[i]);
      EXPECT_EQ(a[i]->rgb, b[i]->rgb);
    }
  }
}

TEST(Video, FramesOfUnevenTimesAreCountedNotTimed) {
  const VideoSpec spec{.format = "mp4",
                       .codec = "mpeg4",
                       .pixels = AV_PIX_FMT_YUV420P,
                       .frames = 10,
                       .gop = 4,
                       .times = {0, 10, 20, 500, 510, 520, 3000, 3010, 6000, 9000}};
  const auto video = VideoReader::from_bytes(make_video(spec), "clip");
  EXPECT_EQ(video->info().frames, 10);
  EXPECT_NEAR(video->info().fps, 10 / 9.0, 0.2);
  EXPECT_EQ(shown(*video, {0, 3, 6, 9}), (std::vector<int>{0, 3, 6, 9}));
}

TEST(Video, RotationIsApplied) {
  for (const int rotation : {90, 180, 270}) {
    const VideoSpec spec{
        .format = "mov", .codec = "mjpeg", .pixels = AV_PIX_FMT_YUVJ420P, .frames = 4, .rotation = rotation};
    const auto video = VideoReader::from_bytes(make_video(spec), "clip");
    EXPECT_EQ(video->info().rotation, rotation);
    EXPECT_EQ(video->info().width, rotation == 180 ? 128 : 32);
    const auto image = video->frames(std::vector<int64_t>{1})[0];
    ASSERT_EQ(image->width, video->info().width);
    ASSERT_EQ(image->height, video->info().height);
    // Frame 1 has one white square, at the top left before it is turned clockwise.
    const int x = rotation == 270 ? 8 : image->width - 8, y = rotation == 90 ? 8 : image->height - 8;
    for (const auto& [px, py] :
         {std::pair{8, 8}, {image->width - 8, 8}, {8, image->height - 8}, {image->width - 8, image->height - 8}}) {
      EXPECT_EQ(image->row(py)[px * 3] > 128, px == x && py == y) << rotation << " at " << px << "," << py;
    }
  }
}

TEST(Video, WebpAnimation) {
  const auto video = VideoReader::from_bytes(make_webp_animation(12, 40), "clip");
  EXPECT_EQ(video->info().frames, 12);
  EXPECT_DOUBLE_EQ(video->info().fps, 25);
  EXPECT_EQ(shown(*video, {0, 5, 5, 11}), (std::vector<int>{0, 5, 5, 11}));
  EXPECT_EQ(video->frames(std::vector<int64_t>{7})[0]->rgb, testing::painted_frame(7, 128, 32).rgb);
}

TEST(Video, RepeatedFramesShareAPictureAndTransformsAreKept) {
  const auto video = VideoReader::from_bytes(make_video({}), "clip");
  FrameRequest request;
  std::vector<size_t> progress;
  request.progress = [&](size_t done, size_t total) {
    EXPECT_EQ(total, 2u);
    progress.push_back(done);
  };
  request.transform = [](Image image) { return resize_bicubic(image, 16, 8); };
  const auto frames = video->frames(std::vector<int64_t>{4, 4, 9}, request);
  EXPECT_EQ(frames[0], frames[1]);
  EXPECT_NE(frames[1], frames[2]);
  EXPECT_EQ(frames[2]->width, 16);
  EXPECT_THAT(progress, ::testing::ElementsAre(1, 2));
}

TEST(Video, WrongRequests) {
  const auto video = VideoReader::from_bytes(make_video({}), "clip");
  for (const std::vector<int64_t>& wanted : {std::vector<int64_t>{-1}, {20}, {5, 4}, {0, INT64_MAX}}) {
    EXPECT_THROW(video->frames(wanted), Error);
  }
  EXPECT_TRUE(video->frames({}).empty());
  const std::atomic<bool> cancel = true;
  try {
    video->frames(std::vector<int64_t>{9}, {.cancel = &cancel});
    ADD_FAILURE() << "cancelled decoding went on";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCancelled);
  }
}

TEST(Video, LimitsAreKept) {
  const std::string bytes = make_video({});
  const auto with = [](auto set) {
    VideoOptions options;
    set(options.limits);
    return options;
  };
  EXPECT_EQ(code_of(bytes, with([](VideoLimits& l) { l.max_pixels = 128 * 32 - 1; })), ErrorCode::kUnsupported);
  EXPECT_EQ(code_of(bytes, with([](VideoLimits& l) { l.max_frames = 19; })), ErrorCode::kUnsupported);
  EXPECT_EQ(code_of(bytes, with([](VideoLimits& l) { l.max_seconds = 1.9; })), ErrorCode::kUnsupported);
  EXPECT_EQ(code_of(bytes, with([](VideoLimits& l) { l.max_decoded_bytes = 128 * 32 * 3 - 1; })),
            ErrorCode::kOutOfMemory);
  EXPECT_EQ(code_of(make_webp_animation(3, 40), with([](VideoLimits& l) { l.max_pixels = 9; })),
            ErrorCode::kUnsupported);
}

TEST(Video, FilesThatAreNoVideos) {
  EXPECT_EQ(code_of(""), ErrorCode::kBadFile);
  EXPECT_EQ(code_of("this is a text, not a video"), ErrorCode::kBadFile);
  EXPECT_EQ(code_of(std::string(100000, '\0')), ErrorCode::kBadFile);
  EXPECT_EQ(code_of("RIFF\x10\0\0\0WEBPVP8X"), ErrorCode::kBadFile);
  EXPECT_EQ(code_of("ffconcat version 1.0\nfile /etc/passwd\n"), ErrorCode::kBadFile);
  EXPECT_EQ(code_of("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"),
            ErrorCode::kBadFile);
  try {
    VideoReader::open("/no/such/file.mp4");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  }
}

// Whatever is cut off or flipped: frames of the right size, or an Error that names the file.
TEST(Video, DamagedFilesEndInOneSentence) {
  const unsigned seed = 7;
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const auto try_it = [](const std::string& bytes) {
    try {
      const auto video = VideoReader::from_bytes(bytes, "clip", {.threads = 1});
      const int64_t n = video->info().frames;
      for (const auto& image : video->frames(std::vector<int64_t>{0, n / 2, n - 1})) {
        ASSERT_EQ(image->rgb.size(), static_cast<size_t>(image->width) * image->height * 3);
      }
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("clip"));
      EXPECT_NE(error.code(), ErrorCode::kInternal);
      EXPECT_NE(error.code(), ErrorCode::kInvalidRequest);
    }
  };
  for (const size_t k : {0, 1, 3, 7}) {
    VideoSpec spec = kKinds[k].spec;
    spec.frames = 10;
    const std::string whole = make_video(spec);
    for (int round = 0; round < 12; ++round) {
      try_it(whole.substr(0, random() % whole.size()));
      std::string flipped = whole;
      for (int i = 0; i < 8; ++i)
        flipped[random() % flipped.size()] ^= static_cast<char>(1 << random() % 8);
      try_it(flipped);
    }
  }
  const std::string webp = make_webp_animation(4, 40);
  for (int round = 0; round < 24; ++round)
    try_it(webp.substr(0, random() % webp.size()));
}

TEST(Video, ATruncatedFileGivesWhatItHas) {
  const std::string whole = make_video({.frames = 40});
  const auto video = VideoReader::from_bytes(whole.substr(0, whole.size() / 2), "clip");
  const int64_t n = video->info().frames;
  EXPECT_GT(n, 5);
  EXPECT_LT(n, 40);
  EXPECT_EQ(shown(*video, {0, n / 2}), as_ints({0, n / 2}));
}

TEST(PacketIndex, DecodingBeginsAtTheLastKeyPictureBefore) {
  // In the order of decoding: I0 P3 B1 B2 | I6 B4 B5 P8 B7; B4 and B5 lean on the group before.
  const PacketIndex index(
      {{0, true, true}, {3, true}, {1, true}, {2, true}, {6, true, true}, {4, true}, {5, true}, {8, true}, {7, true}});
  ASSERT_TRUE(index.exact());
  EXPECT_EQ(index.frames(), 9);
  EXPECT_EQ(index.frame_of(1), 3);
  EXPECT_EQ(index.start_for(3), 0u);
  EXPECT_EQ(index.start_for(5), 0u) << "shown before the key picture that it follows in the file";
  EXPECT_EQ(index.start_for(6), 4u);
  EXPECT_EQ(index.start_for(7), 4u);
}

TEST(PacketIndex, WithoutTimesFramesAreCounted) {
  EXPECT_FALSE(PacketIndex({{0, true, true}, {0, false}}).exact());
  EXPECT_FALSE(PacketIndex({{5, true, true}, {5, true}}).exact()) << "two frames at one time";
  const PacketIndex cut({{0, true, true, false}, {1, true}, {2, true}});
  EXPECT_EQ(cut.frames(), 2);
  EXPECT_EQ(cut.frame_of(0), -1);
  EXPECT_EQ(cut.frame_of(2), 1);
  EXPECT_EQ(cut.start_for(1), 0u);
  EXPECT_EQ(PacketIndex({}).frames(), 0);
}

}  // namespace
}  // namespace minicpm

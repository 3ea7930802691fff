// Decoding in processes of their own: the same numbers, and nothing that a decoder does reaches further.
#include "media/sandbox/sandbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "base/file_map.h"
#include "media/wav.h"
#include "support/video_writer.h"

namespace minicpm {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

const std::filesystem::path kAssets = std::filesystem::path(MINICPM_SOURCE_DIR) / "assets/pico";

std::unique_ptr<MediaSandbox> sandbox(const SandboxLimits& limits = {}) {
  return MediaSandbox::start({.program = MINICPM_MEDIA_WORKER, .limits = limits});
}

/// A "file" that makes the decoder do something.
Image decode(MediaDecoder& decoder, std::string_view text, const std::atomic<bool>* cancel = nullptr) {
  return decoder.image(std::as_bytes(std::span(text)), "the picture", {}, cancel);
}

struct Failure {
  ErrorCode code{};
  std::string text;
};
Failure failure(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

int open_descriptors() {
  int count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
    ++count;
  return count;
}

/// The processes of files that a worker has now.
std::vector<int> children_of(int pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/task/" + std::to_string(pid) + "/children");
  std::vector<int> result;
  for (int child; in >> child;)
    result.push_back(child);
  return result;
}

/// The one process that the worker is about to have.
int wait_for_child(int worker) {
  const auto end = std::chrono::steady_clock::now() + 10s;
  while (std::chrono::steady_clock::now() < end) {
    if (const auto children = children_of(worker); !children.empty()) return children.front();
    std::this_thread::yield();
  }
  throw std::runtime_error("the worker has no process for a file");
}

bool wait_for_none(int worker) {
  const auto end = std::chrono::steady_clock::now() + 10s;
  while (std::chrono::steady_clock::now() < end) {
    if (children_of(worker).empty()) return true;
    std::this_thread::yield();
  }
  return false;
}

TEST(SandboxTest, PicturesAreTheSame) {
  const auto decoder = sandbox();
  for (const char* name : {"word.png", "chart.png", "shapes.png"}) {
    const std::string file = read_file(kAssets / name, 16u << 20);
    const auto bytes = std::as_bytes(std::span(file));
    const Image mine = decode_image(bytes, name), other = decoder->image(bytes, name, {}, nullptr);
    EXPECT_EQ(mine.width, other.width);
    EXPECT_EQ(mine.height, other.height);
    EXPECT_EQ(mine.rgb, other.rgb) << name;
  }
}

TEST(SandboxTest, SoundIsTheSame) {
  std::vector<float> wave(44100);
  for (size_t i = 0; i < wave.size(); ++i)
    wave[i] = 0.5f * std::sin(static_cast<float>(i) * 0.05f);
  const std::string file = wav_file(wave, 44100);
  const Sound mine = sound_from_bytes(file, "clip");
  const Sound other = sandbox()->sound(file, "clip", {}, nullptr);
  EXPECT_EQ(mine.rate, other.rate);
  EXPECT_EQ(mine.samples, other.samples);
  EXPECT_GT(mine.samples.size(), 15900u);
}

TEST(SandboxTest, VideosAreTheSame) {
  const auto decoder = sandbox();
  const std::string files[] = {read_file(kAssets / "motion.mp4", 16u << 20), testing::make_video({.rotation = 90})};
  for (const std::string& file : files) {
    const auto mine = VideoReader::from_bytes(file, "video");
    const auto other = decoder->video(file, "video", {}, nullptr);
    EXPECT_EQ(mine->info().frames, other->info().frames);
    EXPECT_EQ(mine->info().fps, other->info().fps);
    EXPECT_EQ(mine->info().codec, other->info().codec);
    EXPECT_EQ(mine->info().rotation, other->info().rotation);
    for (const std::vector<int64_t>& wanted : {std::vector<int64_t>{0, 2, 2, 3}, std::vector<int64_t>{1}}) {
      const auto a = mine->frames(wanted), b = other->frames(wanted);
      ASSERT_EQ(a.size(), b.size());
      for (size_t i = 0; i < a.size(); ++i) {
        EXPECT_EQ(a[i]->width, b[i]->width);
        EXPECT_EQ(a[i]->rgb, b[i]->rgb) << i;
      }
    }
  }
}

TEST(SandboxTest, ErrorsAreTheSame) {
  const auto decoder = sandbox();
  const auto direct = direct_decoder();
  const std::string png = read_file(kAssets / "word.png", 16u << 20);
  for (const std::string& file : {std::string("GIF89a"), std::string("no picture"), png.substr(0, png.size() / 2)}) {
    const Failure mine = failure([&] { decode(*direct, file); });
    const Failure other = failure([&] { decode(*decoder, file); });
    EXPECT_EQ(mine.code, other.code);
    EXPECT_EQ(mine.text, other.text);
  }
  const auto bytes = std::as_bytes(std::span(png));
  const DecodeOptions small{.limits = {.max_pixels = 10}};
  EXPECT_EQ(failure([&] { decoder->image(bytes, "x", small, nullptr); }).text,
            failure([&] { direct->image(bytes, "x", small, nullptr); }).text);
  EXPECT_EQ(failure([&] { decoder->video("no video", "x", {}, nullptr); }).code, ErrorCode::kBadFile);
  EXPECT_EQ(failure([&] { decoder->sound("no sound", "x", {}, nullptr); }).code, ErrorCode::kBadFile);
}

TEST(SandboxTest, WhatADecoderMayNotDoEndsItAlone) {
  const auto decoder = sandbox();
  const int worker = decoder->worker_pid();
  const std::string picture = read_file(kAssets / "word.png", 16u << 20);
  const std::pair<const char*, const char*> cases[] = {
      {"crash", "by signal 11"},          {"abort", "by signal 6"},
      {"connect", "by signal 31"},        {"fork", "by signal 31"},
      {"exec", "by signal 31"},           {"kill", "by signal 31"},
      {"open", "with exit code 40"},      {"write", "with exit code 40"},
      {"execute memory", "exit code 40"}, {"descriptors", "with exit code 40"},
      {"huge", "sent nonsense"},          {"chatter", "sent nonsense"},
  };
  for (const auto& [how, text] : cases) {
    const Failure seen = failure([&] { decode(*decoder, how); });
    EXPECT_EQ(seen.code, ErrorCode::kInternal) << how;
    EXPECT_THAT(seen.text, HasSubstr(text)) << how;
    EXPECT_EQ(decode(*decoder, picture).rgb, decode(*direct_decoder(), picture).rgb) << "after " << how;
  }
  EXPECT_EQ(decoder->worker_pid(), worker);
}

TEST(SandboxTest, WhatADecoderSendsIsNotTrusted) {
  const auto decoder = sandbox();
  const auto until = std::chrono::steady_clock::now() + 1s;
  int refused = 0;
  for (int i = 0; i < 200 && std::chrono::steady_clock::now() < until; ++i) {
    try {
      decode(*decoder, "noise " + std::to_string(i));
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 0);
  const std::string picture = read_file(kAssets / "word.png", 16u << 20);
  EXPECT_EQ(decode(*decoder, picture).rgb, decode(*direct_decoder(), picture).rgb);
}

TEST(SandboxTest, VideosThatLieAreNonsense) {
  const auto decoder = sandbox();
  const std::vector<int64_t> wanted = {0, 1, 2, 3};
  for (const char* text : {"lie: no frames", "lie: too few frames", "lie: a gap", "lie: frames for ever"}) {
    const auto video = decoder->video(text, "the video", {}, nullptr);
    const Failure seen = failure([&] { video->frames(wanted); });
    EXPECT_EQ(seen.code, ErrorCode::kInternal) << text;
    EXPECT_THAT(seen.text, HasSubstr("nonsense")) << text;
  }
}

TEST(SandboxTest, MemoryAndTimeAreLimited) {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_EQ(failure([] { decode(*sandbox({.memory_bytes = 256 << 20}), "memory"); }).code, ErrorCode::kOutOfMemory);
#endif
  const Failure computing = failure([] { decode(*sandbox({.cpu_seconds = 1}), "loop"); });
  EXPECT_EQ(computing.code, ErrorCode::kUnsupported);
  EXPECT_THAT(computing.text, HasSubstr("the picture: takes more than 1 seconds of processor time"));
  EXPECT_EQ(failure([] { decode(*sandbox({.time = 1s}), "sleep"); }).code, ErrorCode::kTimeout);
}

TEST(SandboxTest, CancellingEndsTheDecoderAtOnce) {
  const auto decoder = sandbox();
  const int worker = decoder->worker_pid();
  ASSERT_TRUE(wait_for_none(worker));
  std::atomic<bool> cancel{false};
  Failure seen;
  std::chrono::steady_clock::time_point asked;
  std::jthread request([&] { seen = failure([&] { decode(*decoder, "loop", &cancel); }); });
  wait_for_child(worker);
  asked = std::chrono::steady_clock::now();
  cancel = true;
  request.join();
  EXPECT_LT(std::chrono::steady_clock::now() - asked, 1s);  // 20 ms, on a machine that is busy
  EXPECT_EQ(seen.code, ErrorCode::kCancelled);
  EXPECT_TRUE(wait_for_none(worker));
}

TEST(SandboxTest, AKilledDecoderFailsItsRequestOnly) {
  const auto decoder = sandbox();
  ASSERT_TRUE(wait_for_none(decoder->worker_pid()));
  Failure seen;
  std::jthread request([&] { seen = failure([&] { decode(*decoder, "loop"); }); });
  kill(wait_for_child(decoder->worker_pid()), SIGKILL);
  request.join();
  EXPECT_EQ(seen.code, ErrorCode::kInternal);
  EXPECT_THAT(seen.text, HasSubstr("by signal 9"));
}

TEST(SandboxTest, AKilledWorkerIsReplaced) {
  const auto decoder = sandbox();
  const int worker = decoder->worker_pid();
  ASSERT_TRUE(wait_for_none(worker));
  Failure seen;
  std::jthread request([&] { seen = failure([&] { decode(*decoder, "loop"); }); });
  wait_for_child(worker);
  kill(worker, SIGKILL);
  request.join();  // the decoders of a worker end with it
  EXPECT_EQ(seen.code, ErrorCode::kInternal);
  const std::string picture = read_file(kAssets / "word.png", 16u << 20);
  EXPECT_EQ(decode(*decoder, picture).rgb, decode(*direct_decoder(), picture).rgb);
  EXPECT_NE(decoder->worker_pid(), worker);
}

TEST(SandboxTest, ManyAtOnceLeaveNothingBehind) {
  const auto decoder = sandbox();
  const std::string picture = read_file(kAssets / "chart.png", 16u << 20);
  const std::vector<uint8_t> pixels = decode(*direct_decoder(), picture).rgb;
  const int before = open_descriptors();
  std::atomic<int> good{0}, failed{0};
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < 8; ++thread) {
      threads.emplace_back([&, thread] {
        for (int i = 0; i < 10; ++i) {
          try {
            const Image image = decode(*decoder, (i + thread) % 4 == 0 ? std::string("crash") : picture);
            if (image.rgb == pixels) ++good;
          } catch (const Error&) {
            ++failed;
          }
        }
      });
    }
  }
  EXPECT_EQ(good, 60);
  EXPECT_EQ(failed, 20);
  EXPECT_TRUE(wait_for_none(decoder->worker_pid()));
  EXPECT_EQ(open_descriptors(), before);
}

TEST(SandboxTest, TheWorkerEndsWithItsOwner) {
  auto decoder = sandbox();
  const int worker = decoder->worker_pid();
  decoder.reset();
  EXPECT_NE(kill(worker, 0), 0);
}

TEST(SandboxTest, AProgramThatIsNoWorkerIsSaidToBeNone) {
  for (const char* program : {"/nowhere/worker", "/bin/true"}) {
    const Failure seen = failure([&] { MediaSandbox::start({.program = program}); });
    EXPECT_EQ(seen.code, ErrorCode::kUnsupported) << program;
    EXPECT_THAT(seen.text, HasSubstr("media cannot be decoded in processes of their own")) << program;
  }
}

}  // namespace
}  // namespace minicpm

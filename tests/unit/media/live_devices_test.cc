// Voice detectors on synthetic sound, and devices without hardware: FFmpeg's test sources, ALSA's null device.
#include "media/live_devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/companion.h"
#include "base/error.h"

namespace minicpm {
namespace {

using ::testing::HasSubstr;

/// Something like a voice: harmonics of a wandering pitch through three wandering resonances, in syllables.
std::vector<float> voice(double seconds, float level, int rate = 16000) {
  std::vector<float> samples(static_cast<size_t>(seconds * rate));
  double phase = 0;
  for (size_t i = 0; i < samples.size(); ++i) {
    const double t = static_cast<double>(i) / rate;
    const double pitch = 120 + 25 * std::sin(2 * M_PI * 0.7 * t);
    phase += 2 * M_PI * pitch / rate;
    const double formants[] = {500 + 200 * std::sin(2 * M_PI * 2.1 * t), 1500 + 400 * std::sin(2 * M_PI * 1.3 * t),
                               2500};
    double value = 0;
    for (int h = 1; h * pitch < 3800; ++h) {
      double gain = 0;
      for (const double formant : formants)
        gain += 1 / (1 + std::pow((h * pitch - formant) / 120, 2));
      value += gain * std::sin(h * phase);
    }
    const double syllable = 0.55 + 0.45 * std::sin(2 * M_PI * 4 * t);
    samples[i] = level * static_cast<float>(0.2 * value * syllable);
  }
  return samples;
}

std::vector<float> noise(double seconds, float level) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, level);
  std::vector<float> samples(static_cast<size_t>(seconds * 16000));
  for (float& sample : samples)
    sample = normal(random);
  return samples;
}

/// Share of the frames that are taken for speech.
double share(VoiceDetector& detector, const std::vector<float>& samples) {
  double sum = 0;
  int count = 0;
  for (size_t at = 0; at + kVoiceFrame <= samples.size(); at += kVoiceFrame, ++count)
    sum += detector.judge(std::span(samples).subspan(at, kVoiceFrame)) >= 0.7f ? 1 : 0;
  return sum / std::max(1, count);
}

bool has_library() {
  return !find_companion("libminicpm_live.so").empty();
}

class DetectorTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    try {
      detector_ = make_voice_detector(GetParam());
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kUnsupported) throw;
      GTEST_SKIP() << error.what();
    }
  }
  std::unique_ptr<VoiceDetector> detector_;
};

TEST_P(DetectorTest, TellsSpeechFromSilence) {
  EXPECT_EQ(detector_->name(), GetParam());
  EXPECT_LT(share(*detector_, std::vector<float>(32000)), 0.05);
  EXPECT_LT(share(*detector_, noise(2, 0.0005f)), 0.1);
  EXPECT_GT(share(*detector_, voice(2, 0.5f)), 0.6);
  share(*detector_, noise(1, 0.0005f));  // the time that detectors take to let go
  EXPECT_LT(share(*detector_, noise(2, 0.0005f)), 0.1);
}

TEST_P(DetectorTest, TakesFullScale) {
  std::vector<float> clipped = voice(1, 1);
  for (float& sample : clipped)
    sample = std::clamp(50 * sample, -1.0f, 1.0f);
  const double found = share(*detector_, clipped);
  EXPECT_TRUE(found >= 0 && found <= 1);
}

INSTANTIATE_TEST_SUITE_P(All, DetectorTest, ::testing::Values("energy", "webrtc"));

TEST(Detectors, HaveNames) {
  EXPECT_THROW(make_voice_detector("ear"), Error);
  EXPECT_NE(make_voice_detector("auto"), nullptr);
}

TEST(EchoCanceller, TakesTheLoudspeakerOut) {
  if (!has_library()) GTEST_SKIP() << "no library of devices";
  const auto canceller = make_echo_canceller();
  if (canceller == nullptr) GTEST_SKIP() << "built without WebRTC";
  // The microphone hears the loudspeaker 40 ms later and fainter.
  const std::vector<float> far = voice(6, 0.7f, 24000), near = voice(6, 0.7f);
  const size_t delay = 640;
  double before = 0, after = 0;
  for (size_t at = 0; at + 160 <= near.size(); at += 160) {
    canceller->played(std::span(far).subspan(at * 3 / 2, 240));
    std::vector<float> heard(160);
    for (size_t i = 0; i < heard.size(); ++i)
      heard[i] = at + i >= delay ? 0.4f * near[at + i - delay] : 0;
    const std::vector<float> clean = canceller->heard(heard);
    ASSERT_EQ(clean.size(), heard.size());
    if (at < 4 * 16000) continue;  // it learns
    for (size_t i = 0; i < heard.size(); ++i) {
      before += static_cast<double>(heard[i]) * heard[i];
      after += static_cast<double>(clean[i]) * clean[i];
    }
  }
  EXPECT_LT(after, 0.1 * before);  // 10 dB less
}

/// What a device gives, or why it gives nothing.
struct Captured {
  std::vector<float> sound;
  std::vector<Image> pictures;
  bool skipped = false;
};
Captured capture(const std::string& device, bool sound) {
  Captured result;
  CaptureOptions options;
  options.device = device;
  options.sound = sound;
  try {
    const auto opened = open_capture(options);
    const CaptureSink sink{[&](std::span<const float> samples) {
                             result.sound.insert(result.sound.end(), samples.begin(), samples.end());
                           },
                           [&](Image picture) { result.pictures.push_back(std::move(picture)); }};
    while (opened->read(sink)) {
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUnsupported) throw;
    result.skipped = true;
  }
  return result;
}

TEST(Capture, GivesSoundAtSixteenKilohertz) {
  const Captured captured = capture("lavfi:sine=frequency=440:sample_rate=48000:duration=2", true);
  if (captured.skipped) GTEST_SKIP() << "built without devices";
  ASSERT_NEAR(static_cast<double>(captured.sound.size()), 32000, 200);
  int crossings = 0;
  for (size_t i = 16000; i < 24000; ++i)
    crossings += captured.sound[i - 1] < 0 && captured.sound[i] >= 0 ? 1 : 0;
  EXPECT_NEAR(crossings, 220, 2);
}

TEST(Capture, GivesAPictureASecond) {
  const Captured captured = capture("lavfi:testsrc=size=64x48:rate=10:duration=3", false);
  if (captured.skipped) GTEST_SKIP() << "built without devices";
  ASSERT_EQ(captured.pictures.size(), 3u);
  EXPECT_EQ(captured.pictures[0].width, 64);
  EXPECT_EQ(captured.pictures[0].rgb.size(), 64u * 48 * 3);
  EXPECT_NE(captured.pictures[0].rgb, captured.pictures[1].rgb);
}

TEST(Capture, RefusesWhatIsNoDevice) {
  if (capture("lavfi:sine=duration=0.1", true).skipped) GTEST_SKIP() << "built without devices";
  EXPECT_THROW(capture("file.wav", true), Error);
  EXPECT_THROW(capture("concat:/etc/passwd", true), Error);
  EXPECT_THROW(capture("v4l2:/dev/video99", false), Error);
  EXPECT_THROW(capture("lavfi:testsrc=duration=0.1", true), Error);  // pictures only
}

TEST(Speaker, PlaysAndDrops) {
  if (!has_library()) GTEST_SKIP() << "no library of devices";
  std::unique_ptr<Speaker> speaker;
  try {
    speaker = open_speaker("null");  // takes everything at once
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUnsupported) throw;
    GTEST_SKIP() << error.what();
  }
  speaker->write(voice(1, 0.5f, 24000));
  speaker->drop();
  EXPECT_GE(speaker->waiting(), 0);
  speaker->write(std::vector<float>(10));
  try {
    open_speaker("no such device");
    ADD_FAILURE() << "opened";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("no such device"));
  }
}

}  // namespace
}  // namespace minicpm

// Draws what the sound encoder gets: the log-mel features of a sound as a picture (PPM), a column a frame (10 ms), low
// tones below, quiet to loud from black to yellow.
//
//   draw_mel talk.wav whole.ppm
//   draw_mel talk.wav live.ppm --seconds     each second by itself, as live sessions hear it
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <string>

#include "base/error.h"
#include "base/file_map.h"
#include "media/log_mel.h"
#include "media/sound.h"

namespace minicpm {
namespace {

constexpr int64_t kBinHeight = 3, kFrameWidth = 2;  // pixels

/// Black, purple, red, yellow.
void add_colour(float value, std::string& pixels) {
  const float x = std::clamp(value, 0.0f, 1.0f);
  const float red = std::min(1.0f, 1.8f * x), green = std::max(0.0f, 1.9f * x - 0.9f);
  const float blue = x < 0.5f ? 1.1f * x : std::max(0.0f, 1.1f * (1 - x));
  for (const float part : {red, green, blue})
    pixels += static_cast<char>(static_cast<int>(std::min(part, 1.0f) * 255));
}

std::string picture(const MelFrames& mel) {
  const auto [low, high] = std::ranges::minmax(mel.values);
  const float range = std::max(high - low, 1e-6f);
  std::string ppm = fmt::format("P6\n{} {}\n255\n", mel.frames * kFrameWidth, mel.bins * kBinHeight);
  for (int64_t y = 0; y < mel.bins * kBinHeight; ++y) {
    const int64_t bin = mel.bins - 1 - y / kBinHeight;
    for (int64_t x = 0; x < mel.frames * kFrameWidth; ++x)
      add_colour((mel.values[static_cast<size_t>(x / kFrameWidth * mel.bins + bin)] - low) / range, ppm);
  }
  return ppm;
}

MelFrames features(std::span<const float> samples, bool by_seconds) {
  const LogMel extractor;
  if (!by_seconds) return extractor.extract(samples);
  MelFrames all{0, 80, {}};
  for (size_t at = 0; at < samples.size(); at += kAudioRate) {
    const MelFrames second = extractor.extract(samples.subspan(at, std::min<size_t>(kAudioRate, samples.size() - at)));
    all.frames += second.frames;
    all.values.insert(all.values.end(), second.values.begin(), second.values.end());
  }
  return all;
}

int run(int argc, char** argv) {
  std::string sound_file, picture_file;
  bool by_seconds = false;
  CLI::App app("Draws the log-mel features of a sound.");
  app.add_option("sound", sound_file, "a sound of at most 30 seconds")->required();
  app.add_option("picture", picture_file, "PPM file to write")->required();
  app.add_flag("--seconds", by_seconds, "each second by itself");
  CLI11_PARSE(app, argc, argv);
  try {
    const Sound sound = read_sound(sound_file);
    if (sound.samples.empty()) fail(ErrorCode::kBadFile, "{}: holds no sound", sound_file);
    write_file_atomically(picture_file, picture(features(sound.samples, by_seconds)));
  } catch (const std::exception& error) {
    fmt::print(stderr, "draw_mel: {}\n", error.what());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace minicpm

int main(int argc, char** argv) {
  return minicpm::run(argc, argv);
}

#include <algorithm>
#include <cmath>

#include "media/voice_detector.h"

namespace minicpm {
namespace {

// Decibels of full scale.
constexpr float kSilence = -60;           // nothing below is speech
constexpr float kStartFloor = -50;        // of the noise, before anything was heard
constexpr float kUnsure = 3, kSure = 12;  // above the noise: score 0 below, 1 above
constexpr float kRise = 0.02f;            // the floor rises by this a frame: 2 dB a second
constexpr float kFall = 0.2f;             // share of the way down that it falls in a frame

class EnergyDetector : public VoiceDetector {
 public:
  float judge(std::span<const float> frame) override {
    double sum = 1e-10;
    for (const float sample : frame)
      sum += static_cast<double>(sample) * sample;
    const auto level =
        static_cast<float>(10 * std::log10(sum / static_cast<double>(std::max<size_t>(1, frame.size()))));
    floor_ = level < floor_ ? floor_ + kFall * (level - floor_) : floor_ + kRise;
    floor_ = std::clamp(floor_, -80.0f, -20.0f);
    if (level < kSilence) return 0;
    return std::clamp((level - floor_ - kUnsure) / (kSure - kUnsure), 0.0f, 1.0f);
  }
  std::string_view name() const override { return "energy"; }

 private:
  float floor_ = kStartFloor;
};

}  // namespace

std::unique_ptr<VoiceDetector> make_energy_detector() {
  return std::make_unique<EnergyDetector>();
}

}  // namespace minicpm

#include "media/sound_cuts.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace minicpm {
namespace {

constexpr double kStepSeconds = 0.02;  // of the loudness curve
constexpr int64_t kQuietSteps = 10;    // a fifth of a second
constexpr double kSilentPower = 1e-6;  // mean square: -60 dB of full scale

/// Mean squares of successive steps; the last one may be shorter.
std::vector<double> loudness(std::span<const float> samples, int64_t step) {
  std::vector<double> powers;
  for (size_t at = 0; at < samples.size(); at += static_cast<size_t>(step)) {
    const auto part = samples.subspan(at, std::min(static_cast<size_t>(step), samples.size() - at));
    double sum = 0;
    for (const float sample : part)
      sum += double{sample} * sample;
    powers.push_back(sum / static_cast<double>(part.size()));
  }
  return powers;
}

/// The step behind which a window of steps [first, last) is cut.
int64_t quietest(const std::vector<double>& powers, int64_t first, int64_t last) {
  double least = std::numeric_limits<double>::infinity();
  int64_t best = last;
  for (int64_t i = first; i + kQuietSteps <= last; ++i) {
    double sum = 0;
    for (int64_t k = 0; k < kQuietSteps; ++k)
      sum += powers[i + k];
    if (sum <= least) {  // of equals the last: longer parts
      least = sum;
      best = i + kQuietSteps / 2;
    }
  }
  return best;
}

}  // namespace

std::vector<SoundCut> cut_sound(std::span<const float> samples, int64_t rate, int64_t window) {
  const auto step = std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(rate) * kStepSeconds));
  const auto count = static_cast<int64_t>(samples.size());
  if (window < 2 * kQuietSteps * step) {
    fail(ErrorCode::kInvalidRequest, "parts of {} samples are too short to cut sound into, expected at least {}",
         window, 2 * kQuietSteps * step);
  }
  const std::vector<double> powers = loudness(samples, step);
  std::vector<SoundCut> cuts;
  for (int64_t begin = 0; begin < count;) {
    int64_t end = count;
    if (count - begin > window) {
      const int64_t first = begin / step, steps = window / step;
      end = quietest(powers, first + steps / 2, first + steps) * step;
    }
    const auto loudest = std::max_element(powers.begin() + begin / step, powers.begin() + (end + step - 1) / step);
    cuts.push_back({begin, end, *loudest < kSilentPower});
    begin = end;
  }
  return cuts;
}

}  // namespace minicpm

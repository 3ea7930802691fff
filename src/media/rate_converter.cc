#include "media/rate_converter.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "base/error.h"

namespace minicpm {
namespace {

constexpr int kLeast = 4000, kMost = 192000;
constexpr double kZeros = 32;      // zero crossings of the sine on each side
constexpr double kCutoff = 0.95;   // of the lower rate's band
constexpr double kKaiserBeta = 7;  // about 70 dB

/// Modified Bessel function of the first kind and order 0.
double bessel(double x) {
  double sum = 1, term = 1;
  for (int k = 1; term > 1e-12 * sum; ++k) {
    term *= x * x / (4.0 * k * k);
    sum += term;
  }
  return sum;
}

double sinc(double x) {
  return x == 0 ? 1 : std::sin(std::numbers::pi * x) / (std::numbers::pi * x);
}

}  // namespace

RateConverter::RateConverter(int from, int to) : from_(from), to_(to) {
  for (const int rate : {from, to}) {
    if (rate < kLeast || rate > kMost) {
      fail(ErrorCode::kInvalidRequest, "sound of {} samples a second; {} to {} are taken", rate, kLeast, kMost);
    }
  }
  const int divisor = std::gcd(from, to);
  up_ = to / divisor;
  down_ = from / divisor;
  if (up_ == down_) return;
  const double scale = kCutoff * std::min(1.0, static_cast<double>(to) / from);  // of the sine, in old samples
  const double half = kZeros / scale;
  reach_ = static_cast<int64_t>(std::ceil(half));
  taps_.resize(static_cast<size_t>(up_ * 2 * reach_));
  for (int64_t phase = 0; phase < up_; ++phase) {
    float* taps = taps_.data() + phase * 2 * reach_;
    double sum = 0;
    for (int64_t i = 0; i < 2 * reach_; ++i) {
      // The new sample lies phase / up behind the old one in the middle, which is number reach - 1.
      const double x = static_cast<double>(i - (reach_ - 1)) - static_cast<double>(phase) / static_cast<double>(up_);
      const double edge = std::min(1.0, std::abs(x) / half);
      taps[i] = static_cast<float>(scale * sinc(scale * x) * bessel(kKaiserBeta * std::sqrt(1 - edge * edge)) /
                                   bessel(kKaiserBeta));
      sum += taps[i];
    }
    for (int64_t i = 0; i < 2 * reach_; ++i)
      taps[i] = static_cast<float>(taps[i] / sum);
  }
  held_.assign(static_cast<size_t>(reach_ - 1), 0.0f);  // silence before the beginning
  first_ = -(reach_ - 1);
}

std::vector<float> RateConverter::convert(std::span<const float> samples) {
  if (up_ == down_) return {samples.begin(), samples.end()};
  held_.insert(held_.end(), samples.begin(), samples.end());
  const int64_t end = first_ + static_cast<int64_t>(held_.size());
  std::vector<float> made;
  int64_t middle = made_ * down_ / up_;
  for (; middle + reach_ < end; middle = ++made_ * down_ / up_) {
    const float* taps = taps_.data() + made_ * down_ % up_ * 2 * reach_;
    const float* old = held_.data() + (middle - (reach_ - 1) - first_);
    made.push_back(std::inner_product(taps, taps + 2 * reach_, old, 0.0f));
  }
  const int64_t unused = middle - (reach_ - 1) - first_;
  const auto drop = std::min(static_cast<int64_t>(held_.size()), std::max<int64_t>(0, unused));
  held_.erase(held_.begin(), held_.begin() + drop);
  first_ += drop;
  return made;
}

}  // namespace minicpm

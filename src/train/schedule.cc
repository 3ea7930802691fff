#include "train/schedule.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <string>

#include "base/error.h"

namespace minicpm {
namespace {

struct ScheduleRow {
  ScheduleConfig::Kind kind;
  std::string_view name;
};
constexpr std::array<ScheduleRow, 4> kSchedules = {{
    {ScheduleConfig::kConstant, "constant"},
    {ScheduleConfig::kCosine, "cosine"},
    {ScheduleConfig::kLinear, "linear"},
    {ScheduleConfig::kWarmupStableDecay, "wsd"},
}};

/// The peak (1) and the end (min_ratio) mixed.
double between(const ScheduleConfig& config, double weight_of_peak) {
  return config.min_ratio + (1.0 - config.min_ratio) * weight_of_peak;
}

}  // namespace

ScheduleConfig::Kind parse_schedule(std::string_view name) {
  std::string names;
  for (const ScheduleRow& row : kSchedules) {
    if (row.name == name) return row.kind;
    names += names.empty() ? "" : ", ";
    names += row.name;
  }
  fail(ErrorCode::kInvalidRequest, "unknown learning rate schedule \"{}\"; there are {}", name, names);
}

std::string_view schedule_name(ScheduleConfig::Kind kind) {
  return std::find_if(kSchedules.begin(), kSchedules.end(), [&](const ScheduleRow& row) { return row.kind == kind; })
      ->name;
}

void check_schedule(const ScheduleConfig& config) {
  const auto require = [](bool ok, std::string_view what, double value, std::string_view range) {
    if (!ok) fail(ErrorCode::kInvalidRequest, "learning rate schedule: {} is {}, expected {}", what, value, range);
  };
  require(config.steps > 0, "the number of steps", static_cast<double>(config.steps), "1 or more");
  require(config.warmup >= 0 && config.warmup <= static_cast<double>(config.steps), "warm-up", config.warmup,
          "a fraction below 1, or a number of steps within the run");
  require(config.decay_fraction > 0 && config.decay_fraction <= 1, "the decay fraction", config.decay_fraction,
          "above 0 and at most 1");
  require(config.min_ratio >= 0 && config.min_ratio <= 1, "the lowest ratio", config.min_ratio, "0 to 1");
}

int64_t warmup_steps(const ScheduleConfig& config) {
  const auto steps = static_cast<double>(config.steps);
  const double warmup = config.warmup < 1.0 ? std::ceil(config.warmup * steps) : std::floor(config.warmup);
  return static_cast<int64_t>(std::clamp(warmup, 0.0, std::max(steps, 0.0)));
}

double learning_rate_factor(const ScheduleConfig& config, int64_t step) {
  const int64_t warmup = warmup_steps(config);
  if (step < warmup) return static_cast<double>(step + 1) / static_cast<double>(warmup);
  if (config.kind == ScheduleConfig::kConstant) return 1.0;
  if (step >= config.steps) return config.min_ratio;
  const auto decay_begin = [&]() -> double {
    if (config.kind != ScheduleConfig::kWarmupStableDecay) return static_cast<double>(warmup);
    const auto steps = static_cast<double>(config.steps);
    return std::max(static_cast<double>(warmup), std::floor(steps - config.decay_fraction * steps));
  }();
  const double progress =
      std::max(0.0, (static_cast<double>(step) - decay_begin) / (static_cast<double>(config.steps) - decay_begin));
  const bool cosine = config.kind == ScheduleConfig::kCosine;
  return between(config, cosine ? 0.5 * (1.0 + std::cos(std::numbers::pi * progress)) : 1.0 - progress);
}

}  // namespace minicpm

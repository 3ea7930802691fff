// How the learning rate changes over a run.
#pragma once

#include <cstdint>
#include <string_view>

namespace minicpm {

struct ScheduleConfig {
  enum Kind {
    kConstant,
    kCosine,            // half a cosine from 1 to min_ratio
    kLinear,            // a straight line from 1 to min_ratio
    kWarmupStableDecay  // 1, then over the last decay_fraction of the run a straight line to min_ratio
  };
  Kind kind = kCosine;
  int64_t steps = 0;            // updates of the whole run, warm-up included
  double warmup = 0.0;          // below 1: a fraction of `steps`; else a number of updates
  double decay_fraction = 0.1;  // of kWarmupStableDecay
  double min_ratio = 0.0;       // rate at the end / peak rate
};

/// "constant", "cosine", "linear" or "wsd". Throws Error invalid_request that lists the names.
ScheduleConfig::Kind parse_schedule(std::string_view name);
std::string_view schedule_name(ScheduleConfig::Kind kind);

/// Throws Error invalid_request naming the first value that is out of range.
void check_schedule(const ScheduleConfig& config);

/// Updates of the warm-up, never more than `steps`.
int64_t warmup_steps(const ScheduleConfig& config);

/// What the peak rate is multiplied with in update number `step` (from 0). The warm-up rises in equal parts and reaches
/// 1 in its last update; at and after `steps` the factor stays min_ratio (1 for kConstant).
double learning_rate_factor(const ScheduleConfig& config, int64_t step);

}  // namespace minicpm

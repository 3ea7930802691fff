// What this machine can do at most, measured by small loops: the limits that speeds are held against.
#pragma once

#include <cstdint>
#include <string_view>

namespace minicpm {

/// Operations a second when every instruction slot does nothing else; a multiplication and an addition count as two.
struct ArithmeticPeak {
  std::string_view instruction;  // what the loop consists of
  double per_second = 0;         // 0: this processor has no instruction for it
};

struct MachineLimits {
  int threads = 1;
  double read_one = 0, read_all = 0;  // bytes a second from memory, by one thread and by all
  ArithmeticPeak int8, bf16, f32;     // of all threads together
};

struct LimitOptions {
  int threads = 0;                   // 0: one per processor
  int64_t bytes = int64_t{1} << 30;  // read for the memory's speed: far more than the caches hold
  double seconds = 0.2;              // for each of the five loops; the best pass counts
};

/// Takes `bytes` of memory for the time being. Throws Error out_of_memory, and invalid_request for less than a
/// mebibyte.
MachineLimits measure_limits(const LimitOptions& options = {});

}  // namespace minicpm

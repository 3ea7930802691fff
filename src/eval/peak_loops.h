// Loops of one arithmetic instruction each, with independent sums so that none waits for another.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace minicpm {

struct PeakLoop {
  std::string_view instruction;
  double operations;  // of one pass; a multiplication and an addition are two
  bool (*is_supported)();
  void (*run)(int64_t passes);
};

/// The most capable first.
std::span<const PeakLoop> int8_loops();
std::span<const PeakLoop> bf16_loops();
std::span<const PeakLoop> f32_loops();

}  // namespace minicpm

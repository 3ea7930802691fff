// Constants that kernels load instead of building them.
#pragma once

#include <stdint.h>

namespace minicpm::cpu {

/// Every byte value, four times. GCC 12 builds a vector constant of equal elements from a general register again in
/// each iteration of a loop with many constants, three instructions each. It cannot see into this table, which stands
/// in a file of its own, and broadcasts from memory, which is free.
extern const uint32_t kRepeatedByte[256];

}  // namespace minicpm::cpu

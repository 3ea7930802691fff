// The kernels behind Linear, one table per instruction set.
#pragma once

namespace minicpm::cpu {

struct LinearKernels {
  const char* isa;
};

}  // namespace minicpm::cpu

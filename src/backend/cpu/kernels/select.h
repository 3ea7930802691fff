// Which kernel tables this build has, which of them this processor can run, and which one is used.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "backend/cpu/kernels/kernel_table.h"

namespace minicpm::cpu {

/// One instruction set: the kernels of this folder and those of the matrix products.
struct Isa {
  std::string_view name;
  const KernelTable* kernels;
  bool supported;  // by this processor
};

/// All that were compiled in, the least demanding first.
std::span<const Isa> all_isas();

/// The one called `requested`; when that is empty the one named by the environment variable MINICPM_ISA; when that is
/// empty too, the most capable one. Throws Error: invalid_request (no such name), unsupported (not on this processor).
const Isa& select_isa(std::string_view requested);

}  // namespace minicpm::cpu

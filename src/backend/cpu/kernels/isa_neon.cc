// Kernels for processors with 64-bit ARM.
#include "backend/cpu/kernels/kernel_table.h"
#include "backend/cpu/kernels/vec_neon.h"

namespace minicpm::cpu::neon {
#include "backend/cpu/kernels/elementwise.inl"

#include "backend/cpu/kernels/cache_rows.inl"

#include "backend/cpu/kernels/attention.inl"

#include "backend/cpu/kernels/table.inl"
}  // namespace minicpm::cpu::neon

// Kernels for processors with AVX2, FMA and F16C.
#include "backend/cpu/kernels/kernel_table.h"
#include "backend/cpu/kernels/vec_avx2.h"

namespace minicpm::cpu::avx2 {
#include "backend/cpu/kernels/elementwise.inl"

#include "backend/cpu/kernels/cache_rows.inl"

#include "backend/cpu/kernels/attention.inl"

#include "backend/cpu/kernels/table.inl"
}  // namespace minicpm::cpu::avx2

// Kernels for processors with AVX-512.
#include "backend/cpu/kernels/kernel_table.h"
#include "backend/cpu/kernels/vec_avx512.h"

namespace minicpm::cpu::avx512 {
#include "backend/cpu/kernels/elementwise.inl"

#include "backend/cpu/kernels/cache_rows.inl"

#include "backend/cpu/kernels/attention.inl"

#include "backend/cpu/kernels/table.inl"
}  // namespace minicpm::cpu::avx512

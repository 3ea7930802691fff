// Kernels for any processor; the reference of the tests.
#include "backend/cpu/kernels/kernel_table.h"
#include "backend/cpu/kernels/vec_scalar.h"

namespace minicpm::cpu::scalar {
#include "backend/cpu/kernels/elementwise.inl"

#include "backend/cpu/kernels/cache_rows.inl"

#include "backend/cpu/kernels/attention.inl"

#include "backend/cpu/kernels/table.inl"
}  // namespace minicpm::cpu::scalar

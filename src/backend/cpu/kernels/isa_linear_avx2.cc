// Matrix products with AVX2, FMA and F16C.
#include <stddef.h>

#include "backend/cpu/kernels/linear_kernels.h"
#include "backend/cpu/kernels/loaders_avx2.h"

namespace minicpm::cpu::avx2 {
namespace {

// 16 registers. int8: 4 int32 and 4 f32 sums; dense: 12 sums.
constexpr int kQ8Rows = 4, kQ8Vecs = 1;
constexpr int kDenseRows = 6, kDenseVecs = 2;
constexpr int kQ8GemvRows = 4, kDenseGemvRows = 6;

// Each builds on those before it.
// clang-format off
#include "backend/cpu/kernels/linear_common.inl"
#include "backend/cpu/kernels/gemv_q8.inl"
#include "backend/cpu/kernels/gemv_dense.inl"
#include "backend/cpu/kernels/gemm_common.inl"
#include "backend/cpu/kernels/gemm_q8.inl"
#include "backend/cpu/kernels/gemm_dense.inl"
#include "backend/cpu/kernels/linear_table.inl"
// clang-format on

}  // namespace

const LinearKernels kLinear = MINICPM_LINEAR_TABLE;

}  // namespace minicpm::cpu::avx2

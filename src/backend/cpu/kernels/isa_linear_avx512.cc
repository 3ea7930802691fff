// Matrix products with AVX-512 (F, BW, VL, DQ, VNNI).
#include <stddef.h>

#include "backend/cpu/kernels/linear_kernels.h"
#include "backend/cpu/kernels/loaders_avx512.h"

namespace minicpm::cpu::avx512 {
namespace {

// 32 registers. int8: 12 int32 and 12 f32 sums; dense: 24 sums.
constexpr int kQ8Rows = 6, kQ8Vecs = 2;
constexpr int kDenseRows = 6, kDenseVecs = 4;
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

}  // namespace minicpm::cpu::avx512

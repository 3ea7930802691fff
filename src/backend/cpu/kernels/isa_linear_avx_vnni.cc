// Matrix products with AVX2, FMA, F16C and AVX-VNNI.
#include <stddef.h>

#include "backend/cpu/kernels/linear_kernels.h"
#include "backend/cpu/kernels/loaders_avx2.h"

namespace minicpm::cpu::avx_vnni {
namespace {

using namespace avx2;

// 16 registers. int8: 6 int32 and 6 f32 sums; dense: 12 sums.
constexpr int kQ8Rows = 3, kQ8Vecs = 2;
constexpr int kDenseRows = 6, kDenseVecs = 2;
constexpr int kQ8GemvRows = 3, kDenseGemvRows = 6;

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

}  // namespace minicpm::cpu::avx_vnni

// Matrix products with AVX-512 (F, BW, VL, DQ, VNNI).
#include <stddef.h>

#include "backend/cpu/kernels/linear_kernels.h"
#include "backend/cpu/kernels/loaders_avx512.h"

namespace minicpm::cpu::avx512 {
namespace {

// 32 registers. int8: 12 int32 sums and 12 f32 sums; f32: 24 sums.
constexpr int kQ8Rows = 6, kQ8Vecs = 2;
constexpr int kDenseRows = 6, kDenseVecs = 4;
constexpr int kGemvRows = 8;

#include "backend/cpu/kernels/linear_common.inl"
//
#include "backend/cpu/kernels/gemv.inl"
//
#include "backend/cpu/kernels/gemm.inl"
//
#include "backend/cpu/kernels/activations.inl"
//
#include "backend/cpu/kernels/linear_table.inl"

}  // namespace

const LinearKernels kLinear = MINICPM_LINEAR_TABLE;

}  // namespace minicpm::cpu::avx512

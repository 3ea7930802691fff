// The kernels behind Linear, one table per instruction set. Included by ISA files: plain types only.
//
// A product is out = x w^T. Weights stay in the layout of the file; activations are first brought into one of three
// forms (`Input`). Every format has two drivers: `gemv` for few rows streams the weights once and keeps nothing; `gemm`
// for many rows unpacks a panel of weight rows once and multiplies all activations with it. Inside one driver the order
// of additions over k is fixed, so a row's result is the same bits whatever other rows are there; between the two
// drivers the last bits differ.
#pragma once

#include <stdint.h>

namespace minicpm::cpu {

/// The form of the activations that a kernel reads.
enum Input {
  kInputF32,   // as the caller has them
  kInputBF16,  // rounded to bf16
  kInputQ8,    // int8 with one scale per 32 values
  kNumInputs,
};

/// 256 quantised activations of one row for gemv: x = d q. The sums serve weights with an offset or a minimum.
struct alignas(64) ActBlock {
  int8_t q[256];
  float d[8];       // scale of each 32
  float sum[8];     // d times the sum of the 32 codes
  float d16[16];    // the scale of each 16: d, every value twice
  float sum16[16];  // and the sums
};

/// Some columns of one product: `cols` successive weight rows times all activation rows.
struct ProductArgs {
  const uint8_t* w;  // first weight row
  int64_t w_stride;  // bytes from one weight row to the next
  int64_t cols;
  int64_t k;
  const void* x;     // gemv: rows in the format's Input; gemm: all rows as tiles
  int64_t x_stride;  // gemv: bytes from row to row
  int64_t rows;
  int64_t first_tile, end_tile;  // gemm: the tiles of rows to multiply with
  float* out;          // [rows, cols]
  int64_t out_stride;  // floats from row to row
  const float* bias;   // [cols] or null
  void* scratch;       // scratch_bytes for this thread, 64-byte aligned
};
using ProductFn = void (*)(const ProductArgs&);

/// How weights of one format are multiplied.
struct LinearFormat {
  Input fast_input;
  ProductFn gemv, gemm;              // Precision::kFast, activations in fast_input
  ProductFn gemv_exact, gemm_exact;  // Precision::kExact, activations in kInputF32
  ProductFn gemm_half = nullptr;     // Precision::kHalf, activations in kInputBF16; null: as Precision::kFast
  ProductFn gemm_int8 = nullptr;     // Precision::kInt8, activations in kInputQ8; null: as Precision::kHalf
};

/// Conversions of activations into one Input.
struct LinearInput {
  /// One row for gemv. `out` holds row_bytes(k); null for kInputF32, where gemv reads the caller's rows.
  void (*to_row)(const float* x, int64_t k, void* out);
  /// Tile `tile` of all `rows` rows of x (x_stride floats apart) for gemm, written to its place in `out`.
  void (*to_tile)(const float* x, int64_t x_stride, int64_t k, int64_t rows, int64_t tile, void* out);
  int64_t (*row_bytes)(int64_t k);
  /// Bytes that a row takes in the tiles.
  int64_t (*tile_row_bytes)(int64_t k);
  int64_t tile_rows;  // at most
  int64_t gemv_rows;  // gemv is the better driver up to this many rows
};

struct LinearKernels {
  int64_t panel_cols;     // gemm is best given a multiple of this many columns
  int64_t scratch_bytes;  // per thread
  LinearInput inputs[kNumInputs];
  LinearFormat f32, f16, bf16, q4_0, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_nl, iq4_xs;
};

namespace scalar {
extern const LinearKernels kLinear;
}
namespace avx2 {
extern const LinearKernels kLinear;
}
namespace avx_vnni {
extern const LinearKernels kLinear;
}
namespace avx512 {
extern const LinearKernels kLinear;
}
namespace avx512_bf16 {
/// What differs from avx512: bf16 weights are multiplied with bf16 activations, other plain ones where that is asked.
extern const LinearInput kInput;
extern const ProductFn kGemv, kGemm, kGemmOfF16, kGemmOfF32;
}  // namespace avx512_bf16
namespace neon {
extern const LinearKernels kLinear;
}
namespace neon_dot {
extern const LinearKernels kLinear;
}

}  // namespace minicpm::cpu

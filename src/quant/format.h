// One row per weight format: how a row of blocks becomes f32 and back. The scalar routines here are the reference that
// every fast kernel is tested against.
#pragma once

#include <cstdint>
#include <span>

#include "base/dtype.h"

namespace minicpm {

struct FormatTraits {
  DType dtype;
  /// n elements (a multiple of the block size) from packed bytes to f32, exactly as the format's definition says.
  void (*dequantize)(const void* blocks, float* out, int64_t n);
  /// n elements from f32 to packed bytes, round to nearest with the usual scale choice; null where not offered.
  void (*quantize)(const float* in, void* blocks, int64_t n);
};

/// Traits of a format that can hold weights (all but the pure integer and bool types), else null.
const FormatTraits* format_traits(DType dtype);

/// Shorthands. Require a format with traits.
void dequantize_row(DType dtype, const void* blocks, float* out, int64_t n);
void quantize_row(DType dtype, const float* in, void* blocks, int64_t n);

}  // namespace minicpm

// Unquantised element types.
#pragma once

#include <cstdint>

namespace minicpm::quant {

void dequantize_f32(const void* in, float* out, int64_t n);
void quantize_f32(const float* in, void* out, int64_t n);
void dequantize_f16(const void* in, float* out, int64_t n);
void quantize_f16(const float* in, void* out, int64_t n);
void dequantize_bf16(const void* in, float* out, int64_t n);
void quantize_bf16(const float* in, void* out, int64_t n);
void dequantize_f64(const void* in, float* out, int64_t n);
void quantize_f64(const float* in, void* out, int64_t n);

}  // namespace minicpm::quant

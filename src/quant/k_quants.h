// The super-blocks of 256 elements with quantised sub-block scales: Q2_K to Q6_K. Layouts in blocks.h; n is a multiple
// of 256.
#pragma once

#include <cstdint>

namespace minicpm::quant {

void dequantize_q2_k(const void* blocks, float* out, int64_t n);
void dequantize_q3_k(const void* blocks, float* out, int64_t n);
void dequantize_q4_k(const void* blocks, float* out, int64_t n);
void dequantize_q5_k(const void* blocks, float* out, int64_t n);
void dequantize_q6_k(const void* blocks, float* out, int64_t n);

void quantize_q2_k(const float* in, void* blocks, int64_t n);
void quantize_q3_k(const float* in, void* blocks, int64_t n);
void quantize_q4_k(const float* in, void* blocks, int64_t n);
void quantize_q5_k(const float* in, void* blocks, int64_t n);
void quantize_q6_k(const float* in, void* blocks, int64_t n);

}  // namespace minicpm::quant

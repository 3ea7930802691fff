// Four-bit codes into a fixed table of uneven values: IQ4_NL (blocks of 32) and IQ4_XS (super-blocks of 256). Layouts
// and the table in blocks.h.
#pragma once

#include <cstdint>

namespace minicpm::quant {

void dequantize_iq4_nl(const void* blocks, float* out, int64_t n);
void dequantize_iq4_xs(const void* blocks, float* out, int64_t n);

void quantize_iq4_nl(const float* in, void* blocks, int64_t n);
void quantize_iq4_xs(const float* in, void* blocks, int64_t n);

}  // namespace minicpm::quant

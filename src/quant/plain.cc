#include "quant/plain.h"

#include <cstring>

#include "base/half.h"

namespace minicpm::quant {

void dequantize_f32(const void* in, float* out, int64_t n) {
  std::memcpy(out, in, static_cast<size_t>(n) * sizeof(float));
}

void quantize_f32(const float* in, void* out, int64_t n) {
  std::memcpy(out, in, static_cast<size_t>(n) * sizeof(float));
}

void dequantize_f16(const void* in, float* out, int64_t n) {
  const auto* halves = static_cast<const uint16_t*>(in);
  for (int64_t i = 0; i < n; ++i)
    out[i] = f16_to_f32(halves[i]);
}

void quantize_f16(const float* in, void* out, int64_t n) {
  auto* halves = static_cast<uint16_t*>(out);
  for (int64_t i = 0; i < n; ++i)
    halves[i] = f32_to_f16(in[i]);
}

void dequantize_bf16(const void* in, float* out, int64_t n) {
  const auto* halves = static_cast<const uint16_t*>(in);
  for (int64_t i = 0; i < n; ++i)
    out[i] = bf16_to_f32(halves[i]);
}

void quantize_bf16(const float* in, void* out, int64_t n) {
  auto* halves = static_cast<uint16_t*>(out);
  for (int64_t i = 0; i < n; ++i)
    halves[i] = f32_to_bf16(in[i]);
}

void dequantize_f64(const void* in, float* out, int64_t n) {
  const auto* doubles = static_cast<const double*>(in);
  for (int64_t i = 0; i < n; ++i)
    out[i] = static_cast<float>(doubles[i]);
}

void quantize_f64(const float* in, void* out, int64_t n) {
  auto* doubles = static_cast<double*>(out);
  for (int64_t i = 0; i < n; ++i)
    doubles[i] = in[i];
}

}  // namespace minicpm::quant

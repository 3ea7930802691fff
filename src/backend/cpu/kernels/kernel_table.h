// The CPU kernels of one instruction set as a table of functions. Every kernel is single-threaded, works on f32 unless
// its name says otherwise, and is written once in elementwise.inl or attention.inl; isa_<name>.cc compiles that text
// for one instruction set. Included by ISA files: plain types only, no std containers and no inline functions.
#pragma once

#include <stdint.h>

namespace minicpm::cpu {

struct KernelTable {
  int lanes;  // f32 values in one vector register

  // Rows of n values, one after another. out may be x.
  void (*rms_norm)(float* out, const float* x, const float* w, int64_t rows, int64_t n, float eps);
  void (*layer_norm)(float* out, const float* x, const float* w, const float* b, int64_t rows, int64_t n, float eps);

  // Element by element.
  void (*add)(float* x, const float* y, int64_t n);
  void (*add_scaled)(float* x, const float* y, float factor, int64_t n);
  void (*scale)(float* x, float factor, int64_t n);
  void (*gelu_tanh)(float* x, int64_t n);
  void (*gelu_erf)(float* x, int64_t n);
  void (*silu_mul)(float* out, const float* gate, const float* up, int64_t n);

  // One head: pairs (i, i + half) or (2i, 2i + 1) turned by the angles of cos, sin [half].
  void (*rope_halves)(float* x, const float* cos, const float* sin, int64_t half);
  void (*rope_neighbours)(float* x, const float* cos, const float* sin, int64_t half);

  // Conversions, rounding to nearest even.
  void (*f16_to_f32)(float* out, const uint16_t* in, int64_t n);
  void (*f32_to_f16)(uint16_t* out, const float* in, int64_t n);
  void (*bf16_to_f32)(float* out, const uint16_t* in, int64_t n);
  void (*f32_to_bf16)(uint16_t* out, const float* in, int64_t n);
};

// The tables that may be compiled in; select.cc knows which are.
namespace scalar {
extern const KernelTable kKernels;
}
namespace avx2 {
extern const KernelTable kKernels;
}
namespace avx512 {
extern const KernelTable kKernels;
}
namespace neon {
extern const KernelTable kKernels;
}

}  // namespace minicpm::cpu

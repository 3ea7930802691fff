#include "eval/peak_loops.h"

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace minicpm {
namespace {

constexpr int kSums = 12;  // latency of four cycles times two or three instructions a cycle, at most

// Operands that are small numbers in their format and not zero: zeros take less power, and may run at a higher clock.
constexpr uint32_t kBytesOfOne = 0x01010101, kSmallBf16 = 0x3a833a83, kSmallF32 = 0x3a83126f;

/// A pass is `text` once for each sum: %0 is the sum, %2 and %3 are the operands, %1 is free. Written out, since sums
/// that are indexed by a variable would lie in memory.
#define MINICPM_PEAK_STEP(i, constraint, text) \
  asm volatile(text : "+" constraint(sums[i]), "=&" constraint(spare) : constraint(left), constraint(right));
#define MINICPM_PEAK_LOOP(name, vector, constraint, features, text, pattern) \
  features void name(int64_t passes) {                                       \
    static_assert(kSums == 12);                                              \
    const vector left = vector{} + pattern, right = left;                    \
    vector sums[kSums] = {}, spare;                                          \
    for (; passes > 0; --passes) {                                           \
      MINICPM_PEAK_STEP(0, constraint, text)                                 \
      MINICPM_PEAK_STEP(1, constraint, text)                                 \
      MINICPM_PEAK_STEP(2, constraint, text)                                 \
      MINICPM_PEAK_STEP(3, constraint, text)                                 \
      MINICPM_PEAK_STEP(4, constraint, text)                                 \
      MINICPM_PEAK_STEP(5, constraint, text)                                 \
      MINICPM_PEAK_STEP(6, constraint, text)                                 \
      MINICPM_PEAK_STEP(7, constraint, text)                                 \
      MINICPM_PEAK_STEP(8, constraint, text)                                 \
      MINICPM_PEAK_STEP(9, constraint, text)                                 \
      MINICPM_PEAK_STEP(10, constraint, text)                                \
      MINICPM_PEAK_STEP(11, constraint, text)                                \
    }                                                                        \
  }

#if defined(__x86_64__)
typedef uint32_t Words16 __attribute__((vector_size(64)));
typedef uint32_t Words8 __attribute__((vector_size(32)));

#define MINICPM_FEATURES(list) __attribute__((target(list)))
MINICPM_PEAK_LOOP(vnni_512, Words16, "v", MINICPM_FEATURES("avx512f,avx512vnni"), "vpdpbusd %3, %2, %0", kBytesOfOne)
MINICPM_PEAK_LOOP(vnni_256, Words8, "x", MINICPM_FEATURES("avx2,avxvnni"), "%{vex%} vpdpbusd %3, %2, %0", kBytesOfOne)
MINICPM_PEAK_LOOP(madd_256, Words8, "x", MINICPM_FEATURES("avx2"),
                  "vpmaddubsw %3, %2, %1\n\tvpmaddwd %2, %1, %1\n\tvpaddd %1, %0, %0", kBytesOfOne)
MINICPM_PEAK_LOOP(bf16_512, Words16, "v", MINICPM_FEATURES("avx512f,avx512bf16"), "vdpbf16ps %3, %2, %0", kSmallBf16)
MINICPM_PEAK_LOOP(fma_512, Words16, "v", MINICPM_FEATURES("avx512f"), "vfmadd231ps %3, %2, %0", kSmallF32)
MINICPM_PEAK_LOOP(fma_256, Words8, "x", MINICPM_FEATURES("avx2,fma"), "vfmadd231ps %3, %2, %0", kSmallF32)

constexpr PeakLoop kInt8[] = {
    {"vpdpbusd zmm", kSums * 128.0, [] { return __builtin_cpu_supports("avx512vnni") != 0; }, vnni_512},
    {"vpdpbusd ymm", kSums * 64.0, [] { return __builtin_cpu_supports("avxvnni") != 0; }, vnni_256},
    {"vpmaddubsw ymm", kSums * 64.0, [] { return __builtin_cpu_supports("avx2") != 0; }, madd_256},
};
constexpr PeakLoop kBf16[] = {
    {"vdpbf16ps zmm", kSums * 64.0, [] { return __builtin_cpu_supports("avx512bf16") != 0; }, bf16_512},
};
constexpr PeakLoop kF32[] = {
    {"vfmadd231ps zmm", kSums * 32.0, [] { return __builtin_cpu_supports("avx512f") != 0; }, fma_512},
    {"vfmadd231ps ymm", kSums * 16.0,
     [] { return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0; }, fma_256},
};
#elif defined(__aarch64__)
typedef uint32_t Words4 __attribute__((vector_size(16)));

MINICPM_PEAK_LOOP(dot_128, Words4, "w", , ".arch_extension dotprod\n\tsdot %0.4s, %2.16b, %3.16b", kBytesOfOne)
MINICPM_PEAK_LOOP(fma_128, Words4, "w", , "fmla %0.4s, %2.4s, %3.4s", kSmallF32)

constexpr PeakLoop kInt8[] = {
    {"sdot", kSums * 32.0, [] { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }, dot_128},
};
constexpr std::span<const PeakLoop> kBf16;
constexpr PeakLoop kF32[] = {{"fmla", kSums * 8.0, [] { return true; }, fma_128}};
#else
constexpr std::span<const PeakLoop> kInt8, kBf16, kF32;
#endif

}  // namespace

std::span<const PeakLoop> int8_loops() {
  return kInt8;
}
std::span<const PeakLoop> bf16_loops() {
  return kBf16;
}
std::span<const PeakLoop> f32_loops() {
  return kF32;
}

}  // namespace minicpm

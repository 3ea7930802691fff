#include "backend/cpu/kernels/select.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

#include <cstdlib>
#include <vector>

#include "base/error.h"

namespace minicpm::cpu {
namespace {

#if defined(__x86_64__)
// The instruction sets that the flags in kernels.cmake let the compiler use.
bool has_avx2() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  const bool f16c = __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
  return f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
}
#endif

}  // namespace

std::span<const Isa> all_isas() {
  static const std::vector<Isa> isas = {
    {"scalar", &scalar::kKernels, true},
#if defined(__x86_64__)
    {"avx2", &avx2::kKernels, has_avx2()},
    {"avx_vnni", &avx2::kKernels, has_avx2() && __builtin_cpu_supports("avxvnni")},
    {"avx512", &avx512::kKernels, has_avx512()},
    {"avx512_bf16", &avx512_bf16::kKernels, has_avx512() && __builtin_cpu_supports("avx512bf16")},
#elif defined(__aarch64__)
    {"neon", &neon::kKernels, true},
    {"neon_dot", &neon::kKernels, (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0},
#endif
  };
  return isas;
}

const Isa& select_isa(std::string_view requested) {
  std::string_view name = requested, origin;
  if (name.empty()) {
    const char* variable = std::getenv("MINICPM_ISA");
    if (variable != nullptr) name = variable;
    origin = "MINICPM_ISA: ";
  }
  const Isa* best = nullptr;
  std::string known;
  for (const Isa& isa : all_isas()) {
    if (!name.empty() && isa.name == name) {
      if (isa.supported) return isa;
      fail(ErrorCode::kUnsupported, "{}this processor lacks the instruction set \"{}\"", origin, name);
    }
    if (isa.supported) best = &isa;
    known += known.empty() ? "" : ", ";
    known += isa.name;
  }
  if (!name.empty()) {
    fail(ErrorCode::kInvalidRequest, "{}unknown instruction set \"{}\"; this build has {}", origin, name, known);
  }
  return *best;
}

}  // namespace minicpm::cpu

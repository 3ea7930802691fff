// Makes backends by name; the only way other folders get one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"

namespace minicpm {

struct BackendOptions {
  int num_threads = 0;  // 0: one per usable processor
  std::string isa;      // kernel table to force ("scalar", "avx2", ...); empty: the best one, or MINICPM_ISA
  /// The bits of a row's results do not depend on how many rows are computed with it, so that answers are the same
  /// alone and among others. Single rows are computed as slowly as several.
  bool deterministic = false;
};

/// The CPU backend. Throws Error invalid_request for an unknown isa, unsupported for one this processor lacks.
std::unique_ptr<Backend> make_cpu_backend(const BackendOptions& options);

/// One kernel table that was compiled in.
struct KernelInfo {
  std::string name;
  bool supported;  // by this processor
  bool chosen;     // what make_cpu_backend picks without options
};
std::vector<KernelInfo> cpu_kernels();

}  // namespace minicpm

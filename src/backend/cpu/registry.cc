#include "backend/registry.h"

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/kernels/select.h"

namespace minicpm {

std::unique_ptr<Backend> make_cpu_backend(const BackendOptions& options) {
  return std::make_unique<cpu::CpuBackend>(cpu::select_isa(options.isa), options.num_threads, options.deterministic);
}

std::vector<KernelInfo> cpu_kernels() {
  const cpu::Isa& chosen = cpu::select_isa({});
  std::vector<KernelInfo> result;
  for (const cpu::Isa& isa : cpu::all_isas())
    result.push_back({std::string(isa.name), isa.supported, &isa == &chosen});
  return result;
}

}  // namespace minicpm

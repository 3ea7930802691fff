#include "backend/cpu/kernels/select.h"

#include <cstdlib>
#include <vector>

#include "base/error.h"

namespace minicpm::cpu {

std::span<const Isa> all_isas() {
  static const std::vector<Isa> isas = {
      {"scalar", &scalar::kKernels, true},
  };
  return isas;
}

const Isa& select_isa(std::string_view requested) {
  std::string_view name = requested;
  if (name.empty()) {
    const char* variable = std::getenv("MINICPM_ISA");
    if (variable != nullptr) name = variable;
  }
  const std::span<const Isa> isas = all_isas();
  const Isa* best = nullptr;
  std::string known;
  for (const Isa& isa : isas) {
    if (!name.empty() && isa.name == name) {
      if (!isa.supported) fail(ErrorCode::kUnsupported, "this processor lacks the instruction set \"{}\"", name);
      return isa;
    }
    if (isa.supported) best = &isa;
    known += known.empty() ? "" : ", ";
    known += isa.name;
  }
  if (!name.empty()) {
    fail(ErrorCode::kInvalidRequest, "unknown instruction set \"{}\"; this build has {}", name, known);
  }
  return *best;
}

}  // namespace minicpm::cpu

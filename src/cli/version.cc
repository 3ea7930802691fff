#include <fmt/format.h>

#include "backend/registry.h"
#include "cli/build_info.h"
#include "cli/terminal.h"
#include "cli/verbs.h"

namespace minicpm::cli {

int run_version(const Options& options) {
  std::string compiled, chosen;
  Json names = Json::array();
  for (const KernelInfo& kernels : cpu_kernels()) {
    names.push_back(kernels.name);
    compiled += (compiled.empty() ? "" : ", ") + kernels.name;
    if (kernels.chosen) chosen = kernels.name;
  }
  if (options.json) {
    print_json({{"version", kVersion},
                {"commit", kCommit},
                {"compiler", kCompiler},
                {"build_type", kBuildType},
                {"target", kTarget},
                {"kernels", names},
                {"kernels_chosen", chosen}});
    return kExitOk;
  }
  print(fmt::format("minicpm {} (commit {})\n{}, {} build, {}\nkernels: {}; chosen: {}\n", kVersion, kCommit, kCompiler,
                    kBuildType, kTarget, compiled, chosen));
  return kExitOk;
}

}  // namespace minicpm::cli

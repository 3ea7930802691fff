#include <fmt/format.h>

#include <filesystem>
#include <system_error>

#include "backend/registry.h"
#include "base/machine.h"
#include "base/thread_pool.h"
#include "cli/build_info.h"
#include "cli/terminal.h"
#include "cli/verbs.h"

namespace minicpm::cli {
namespace {

Json kernels_json() {
  Json list = Json::array();
  for (const KernelInfo& kernels : cpu_kernels()) {
    list.push_back({{"name", kernels.name}, {"supported", kernels.supported}, {"chosen", kernels.chosen}});
  }
  return list;
}

Json report(const Options& options) {
  const MachineMemory memory = machine_memory();
  std::error_code error;
  const auto disk = std::filesystem::space(".", error);
  Json libraries = Json::object();
  for (const LibraryVersion& library : kLibraries)
    libraries[std::string(library.name)] = library.version;
  // Making the backend shows that the kernels asked for can be used here.
  const auto backend = make_cpu_backend({.isa = options.isa});
  return {{"version", kVersion},
          {"commit", kCommit},
          {"processor", processor_name()},
          {"processors", usable_processors()},
          {"threads", backend->num_threads()},
          {"backend", backend->description()},
          {"kernels", kernels_json()},
          {"memory_total_bytes", memory.total_bytes},
          {"memory_available_bytes", memory.available_bytes},
          {"disk_free_bytes", error ? Json() : Json(disk.available)},
          {"libraries", libraries}};
}

}  // namespace

int run_doctor(const Options& options) {
  const Json facts = report(options);
  if (options.json) {
    print_json(facts);
    return kExitOk;
  }
  const auto line = [](std::string_view name, const std::string& value) {
    print(fmt::format("{:<12}{}\n", name, value));
  };
  line("minicpm", fmt::format("{} (commit {})", kVersion, kCommit));
  line("processor", one_line(facts["processor"].get<std::string>()));
  line("threads", fmt::format("{} of {} usable processors", facts["threads"].get<int>(), usable_processors()));
  for (const KernelInfo& kernels : cpu_kernels()) {
    const char* state = kernels.chosen ? "chosen" : kernels.supported ? "works here" : "not on this processor";
    line("kernels", fmt::format("{:<14}{}", kernels.name, state));
  }
  line("memory", fmt::format("{} available of {}", bytes_text(facts["memory_available_bytes"].get<int64_t>()),
                             bytes_text(facts["memory_total_bytes"].get<int64_t>())));
  const Json& disk = facts["disk_free_bytes"];
  line("disk", disk.is_null() ? "unknown" : bytes_text(disk.get<int64_t>()) + " free in this folder");
  for (const LibraryVersion& library : kLibraries)
    line("library", fmt::format("{:<14}{}", library.name, library.version));
  return kExitOk;
}

}  // namespace minicpm::cli

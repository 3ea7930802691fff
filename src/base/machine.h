// Facts about the machine.
#pragma once

#include <cstdint>
#include <string>

namespace minicpm {

struct MachineMemory {
  int64_t total_bytes = 0;
  int64_t available_bytes = 0;  // what a program can still use without swapping
};

/// From /proc/meminfo, lowered to the limit of the control group where one is set; zeros where unknown.
MachineMemory machine_memory();
/// "AMD EPYC 9B14" and the like, or "unknown".
std::string processor_name();
/// Memory of this process that belongs to no file, as it is now; 0 where unknown.
int64_t anonymous_rss_bytes();
/// Highest resident size of this process so far.
int64_t peak_rss_bytes();

}  // namespace minicpm

// Facts about the machine.
#pragma once

#include <cstddef>
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
/// Makes peak_rss_bytes count from now on, where the system lets it.
void forget_peak_rss();

/// Asks for large pages where untouched anonymous memory is touched later. Only a hint: it may do nothing.
void advise_large_pages(void* memory, size_t bytes);

}  // namespace minicpm

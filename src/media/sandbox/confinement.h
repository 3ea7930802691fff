// Giving up rights. Internal to media/sandbox.
#pragma once

#include <cstdint>

namespace minicpm::sandbox {

struct Confinement {
  int64_t cpu_seconds = 0;
  int64_t memory_bytes = 0;  // beyond what the process has now; 0: no limit
};

/// For the calling process, which must have a single thread, for ever: limits of time and memory, no new rights, and
/// only the system calls that decoders need. Files cannot be opened (EACCES); calls that no decoder makes, such as
/// those for sockets and programs, end the process (SIGSYS). Returns false where the machine does not allow that.
bool confine(const Confinement& confinement);

}  // namespace minicpm::sandbox

// What a file's process is told to do. Internal to media/sandbox.
#pragma once

#include <cstdint>

#include "media/image.h"
#include "media/sound.h"
#include "media/video.h"

namespace minicpm::sandbox {

/// Comes to the worker with two descriptors: the file's socket, and a pipe. The wait status of the file's process is
/// written to the pipe; closing its other end ends that process.
struct Order {
  int64_t cpu_seconds;
  int64_t memory_bytes;
};

/// The wait status where there is no process.
inline constexpr int kNotStarted = -1;
// How a file's process ends when it could not give up its rights.
inline constexpr int kNotConfined = 3;

}  // namespace minicpm::sandbox

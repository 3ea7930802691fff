// Decoding in processes that can do nothing else: each file has a process of its own, which may neither open files nor
// reach a network nor start programs, with limits of memory and time. What a damaged or hostile file does to its
// decoder ends there. Linux only.
//
// One worker is started early, with FFmpeg loaded and nothing else in its memory. For each file it makes a copy of
// itself (fork), which gives up all rights before it reads the file.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "media/media_decoder.h"
#include "media/video_source.h"

namespace minicpm {

struct SandboxLimits {
  int64_t cpu_seconds = 60;                     // of all threads of one file's process
  int64_t memory_bytes = int64_t{2} << 30;      // of address space, beyond what the worker has itself; 0: no limit
  std::chrono::milliseconds time{10 * 60'000};  // for one file, however little of it was computing
};

struct SandboxOptions {
  /// What runs the worker: `program` with `arguments` must call run_media_worker().
  std::string program = "/proc/self/exe";
  std::vector<std::string> arguments;
  SandboxLimits limits;
};

/// Starts the worker and decodes a small picture with it. Throws Error unsupported with the reason where this machine
/// does not allow that. Besides the errors of MediaDecoder its functions throw unsupported for files that take too much
/// processor time, timeout, and internal when the file's process ended for another reason; a worker that is gone is
/// started again for the next file.
class MediaSandbox : public MediaDecoder {
 public:
  static std::unique_ptr<MediaSandbox> start(SandboxOptions options);
  /// The worker's process.
  virtual int worker_pid() const = 0;
};

/// The decoders that a worker uses.
struct WorkerDecoders {
  std::function<Image(std::span<const std::byte>, const std::string&, const DecodeOptions&)> image;
  std::function<Sound(const std::string&, const std::string&, const SoundOptions&)> sound;
  std::function<std::unique_ptr<VideoSource>(const MediaFile&)> video;
};
WorkerDecoders real_decoders();

// Where a worker finds the socket that orders come through.
inline constexpr int kWorkerSocket = 3;

/// The worker: serves the process that started it until that ends. Returns the exit code; 2 where nothing started it
/// properly.
int run_media_worker(const WorkerDecoders& decoders);

}  // namespace minicpm

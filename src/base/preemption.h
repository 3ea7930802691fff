// Whether the kernel has taken the processor from a thread in the middle of its work.
#pragma once

#include <chrono>

namespace minicpm {

/// Watches the thread that calls it. A system call at most five times a millisecond.
class PreemptionWatch {
 public:
  using Clock = std::chrono::steady_clock;

  /// Work begins.
  void begin();
  /// Work ends. Whether other threads had this one's processor meanwhile, and for a good part of the last 50 ms.
  /// Waiting for the disk or for other threads does not count, nor do turns under a millisecond.
  bool end();

 private:
  struct Usage {
    std::chrono::microseconds processor{0};
    long taken = 0;        // times that the processor was taken from the thread
    long page_faults = 0;  // with a wait for the disk
  };
  static Usage usage();

  Clock::time_point begin_{}, noted_{};
  Usage at_note_;
  Clock::time_point lost_at_{};
  std::chrono::duration<double> lost_{0};  // before lost_at_, the longer ago the less it counts
};

}  // namespace minicpm

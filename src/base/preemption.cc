#include "base/preemption.h"

#include <sys/resource.h>

#include <cmath>

namespace minicpm {
namespace {

using namespace std::chrono_literals;

constexpr auto kNoteAge = 200us;  // how old the note may be from which lost time is counted
constexpr auto kShortWork = 1ms;  // turns of other threads last longer
constexpr auto kLost = 800us;
constexpr int kPart = 2;  // lost for each part of work: a long piece of work bears a turn of others
// One turn of another program costs 3 ms and comes on every machine; turns that follow each other are a busy program.
constexpr auto kMemory = 50ms;
constexpr auto kMuch = 5ms;

std::chrono::microseconds duration(const timeval& time) {
  return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
}

}  // namespace

PreemptionWatch::Usage PreemptionWatch::usage() {
  rusage all{};
#ifdef RUSAGE_THREAD
  getrusage(RUSAGE_THREAD, &all);
#endif
  return {duration(all.ru_utime) + duration(all.ru_stime), all.ru_nivcsw, all.ru_majflt};
}

void PreemptionWatch::begin() {
  begin_ = Clock::now();
  if (begin_ - noted_ < kNoteAge) return;
  noted_ = begin_;
  at_note_ = usage();
}

bool PreemptionWatch::end() {
  const auto now = Clock::now();
  if (now - begin_ < kShortWork) return false;
  const Usage before = at_note_, after = usage();
  const auto used = after.processor - before.processor;
  const auto lost = now - noted_ - used;
  noted_ = now;
  at_note_ = after;
  if (lost <= kLost || lost <= kPart * used) return false;
  if (after.taken == before.taken || after.page_faults != before.page_faults) return false;
  lost_ = lost_ * std::exp(-std::chrono::duration<double>(now - lost_at_) / kMemory) + lost;
  lost_at_ = now;
  return lost_ > kMuch;
}

}  // namespace minicpm

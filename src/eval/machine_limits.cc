#include "eval/machine_limits.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <vector>

#include "base/clones.h"
#include "base/error.h"
#include "base/parallel.h"
#include "base/thread_pool.h"
#include "eval/peak_loops.h"

namespace minicpm {
namespace {

using Clock = std::chrono::steady_clock;

/// Anonymous memory in large pages where the system has them, so that address translation costs nothing.
class Buffer {
 public:
  explicit Buffer(int64_t bytes) : size_(static_cast<size_t>(bytes)) {
    void* address = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (address == MAP_FAILED) fail(ErrorCode::kOutOfMemory, "no memory for a buffer of {} bytes", bytes);
    ::madvise(address, size_, MADV_HUGEPAGE);  // refused by systems without: only slower
    words_ = static_cast<uint64_t*>(address);
  }
  ~Buffer() { ::munmap(words_, size_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  uint64_t* words() const { return words_; }
  int64_t num_words() const { return static_cast<int64_t>(size_ / sizeof(uint64_t)); }

 private:
  size_t size_;
  uint64_t* words_;
};

constexpr int64_t kBlockWords = 32;  // four cache lines

MINICPM_CLONES uint64_t sum_words(const uint64_t* words, int64_t count) {
  constexpr int64_t kAhead = 512;  // words, one page: what the processor's own prefetchers stop at
  uint64_t sums[kBlockWords] = {};
  for (int64_t i = 0; i + kBlockWords <= count; i += kBlockWords) {
    for (int64_t line = 0; line < kBlockWords; line += 8)
      __builtin_prefetch(words + i + kAhead + line);
    for (int64_t k = 0; k < kBlockWords; ++k)
      sums[k] += words[i + k];
  }
  uint64_t sum = 0;
  for (const uint64_t part : sums)
    sum += part;
  return sum;
}

/// Seconds of the quickest of the passes that fit into `seconds`, two at least.
double best_pass(double seconds, const std::function<void()>& pass) {
  const auto since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  double best = 0;
  const Clock::time_point start = Clock::now();
  for (int i = 0; i < 2 || since(start) < seconds; ++i) {
    const Clock::time_point begin = Clock::now();
    pass();
    const double time = since(begin);
    if (i == 0 || time < best) best = time;
  }
  return best;
}

double read_speed(const Buffer& buffer, int threads, double seconds) {
  std::vector<uint64_t> sums(static_cast<size_t>(threads));
  const int64_t blocks = buffer.num_words() / kBlockWords;
  const double time = best_pass(seconds, [&] {
    for_parts(threads, threads, [&](int64_t thread, int64_t) {
      const int64_t begin = blocks * thread / threads * kBlockWords,
                    end = blocks * (thread + 1) / threads * kBlockWords;
      const uint64_t sum = sum_words(buffer.words() + begin, end - begin);
      // Every word is 1.
      if (sum != static_cast<uint64_t>(end - begin))
        fail(ErrorCode::kInternal, "memory does not hold what was written");
    });
  });
  return static_cast<double>(blocks * kBlockWords) * sizeof(uint64_t) / time;
}

ArithmeticPeak peak(std::span<const PeakLoop> loops, int threads, double seconds) {
  for (const PeakLoop& loop : loops) {
    if (!loop.is_supported()) continue;
    constexpr int64_t kPasses = 1 << 20;  // some milliseconds: a thread is started in tens of microseconds
    const double time =
        best_pass(seconds, [&] { for_parts(threads, threads, [&](int64_t, int64_t) { loop.run(kPasses); }); });
    return {loop.instruction, loop.operations * static_cast<double>(kPasses) * threads / time};
  }
  return {};
}

}  // namespace

MachineLimits measure_limits(const LimitOptions& options) {
  if (options.bytes < (1 << 20)) fail(ErrorCode::kInvalidRequest, "a buffer of {} bytes is too small", options.bytes);
  MachineLimits limits;
  limits.threads = options.threads > 0 ? options.threads : usable_processors();
  {
    const Buffer buffer(options.bytes);
    for_parts(buffer.num_words(), limits.threads,
              [&](int64_t first, int64_t last) { std::fill(buffer.words() + first, buffer.words() + last, 1); });
    limits.read_one = read_speed(buffer, 1, options.seconds);
    limits.read_all = read_speed(buffer, limits.threads, options.seconds);
  }
  limits.int8 = peak(int8_loops(), limits.threads, options.seconds);
  limits.bf16 = peak(bf16_loops(), limits.threads, options.seconds);
  limits.f32 = peak(f32_loops(), limits.threads, options.seconds);
  return limits;
}

}  // namespace minicpm

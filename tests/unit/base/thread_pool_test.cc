// The pool runs each task once, also where its threads keep losing their processor.
#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "base/preemption.h"

namespace minicpm {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

void compute_for(Clock::duration length) {
  for (const auto end = Clock::now() + length; Clock::now() < end;) {
  }
}

/// From here on the calling thread and those that it starts share one processor.
class OneProcessor {
 public:
  OneProcessor() {
    sched_getaffinity(0, sizeof before_, &before_);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof one, &one);
  }
  ~OneProcessor() { sched_setaffinity(0, sizeof before_, &before_); }
  OneProcessor(const OneProcessor&) = delete;
  OneProcessor& operator=(const OneProcessor&) = delete;

 private:
  cpu_set_t before_;
};

TEST(ThreadPool, RunsEveryTaskOnce) {
  for (int threads : {1, 2, 7}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.num_threads(), threads);
    for (int64_t tasks : {0, 1, 2, 5, 1000}) {
      std::vector<std::atomic<int>> done(static_cast<size_t>(tasks));
      std::atomic<bool> worker_in_range{true};
      pool.run(tasks, [&](int64_t task, int worker) {
        ++done[static_cast<size_t>(task)];
        if (worker < 0 || worker >= threads) worker_in_range = false;
      });
      for (const auto& count : done)
        EXPECT_EQ(count, 1);
      EXPECT_TRUE(worker_in_range);
    }
  }
}

TEST(ThreadPool, ManyShortJobs) {
  ThreadPool pool(3);
  std::atomic<int64_t> sum{0};
  for (int job = 0; job < 5000; ++job) {
    pool.run(3, [&](int64_t task, int) { sum += task; });
  }
  EXPECT_EQ(sum, 5000 * 3);
}

TEST(ThreadPool, ThreadsThatLoseTheirProcessor) {
  const OneProcessor one;
  std::atomic<bool> stop{false};
  std::jthread other([&] {
    while (!stop)
      compute_for(1ms);
  });
  int64_t jobs = 0;
  std::atomic<int64_t> sum{0};
  {
    ThreadPool pool(3);
    for (const auto end = Clock::now() + 300ms; Clock::now() < end; ++jobs) {
      pool.run(8, [&](int64_t task, int) {
        compute_for(100us);
        sum += task;
      });
    }
  }  // a thread that rests just then does not keep the pool
  stop = true;
  EXPECT_EQ(sum, jobs * 28);
}

TEST(PreemptionWatch, SeesThatAnotherThreadHadTheProcessor) {
  const OneProcessor one;
  std::atomic<bool> seen{false};
  std::jthread other([&] {
    while (!seen)
      compute_for(1ms);
  });
  PreemptionWatch watch;
  for (const auto end = Clock::now() + 30s; !seen && Clock::now() < end;) {
    watch.begin();
    compute_for(300us);
    seen = watch.end();
  }
  EXPECT_TRUE(seen);
  seen = true;
}

TEST(PreemptionWatch, ShortWorkIsNotLookedAt) {
  PreemptionWatch watch;
  for (int i = 0; i < 1000; ++i) {
    const auto begin = Clock::now();
    watch.begin();
    const bool lost = watch.end();
    EXPECT_FALSE(lost && Clock::now() - begin < 1ms);
  }
}

}  // namespace
}  // namespace minicpm

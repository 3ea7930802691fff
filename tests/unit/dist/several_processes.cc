// Run by mpirun with two or more processes. With --fail, the last process ends by an exception.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <random>
#include <stdexcept>
#include <vector>

#include "base/error.h"
#include "dist/communicator.h"

namespace minicpm {
namespace {

Communicator* world = nullptr;

/// The values of a process; everyone can compute everyone's.
template <typename T>
std::vector<T> values_of(int rank, size_t count) {
  std::mt19937_64 random(100 + rank);
  std::uniform_real_distribution<T> uniform(-1, 1);
  std::vector<T> values(count);
  for (T& value : values)
    value = uniform(random) * (rank % 2 == 0 ? T(1000) : T(1));
  return values;
}

template <typename T>
void expect_sums(size_t count) {
  std::vector<T> expected = values_of<T>(0, count);
  for (int rank = 1; rank < world->size(); ++rank) {
    const std::vector<T> other = values_of<T>(rank, count);
    for (size_t i = 0; i < count; ++i)
      expected[i] += other[i];
  }
  std::vector<T> values = values_of<T>(world->rank(), count);
  world->all_reduce_sum(std::span<T>(values));
  EXPECT_TRUE(values == expected) << count << " values: not the sum in the order of the ranks";
}

TEST(SeveralProcesses, AreSeveral) {
  EXPECT_EQ(world->size(), launched_processes());
  EXPECT_GE(world->size(), 2);
  EXPECT_GE(world->rank(), 0);
  EXPECT_LT(world->rank(), world->size());
}

TEST(SeveralProcesses, SumToTheSameBits) {
  // Fewer values than processes, an odd count, and more than are exchanged at once.
  for (const size_t count : {0, 1, 2, 1001, (1 << 20) + 3}) {
    expect_sums<float>(count);
    expect_sums<double>(count);
  }
}

TEST(SeveralProcesses, BroadcastFromEachProcess) {
  for (int root = 0; root < world->size(); ++root) {
    std::vector<int> values(1000, world->rank());
    world->broadcast(std::as_writable_bytes(std::span(values)), root);
    EXPECT_EQ(values, std::vector<int>(1000, root));
  }
  EXPECT_THROW(world->broadcast({}, world->size()), Error);
  EXPECT_THROW(world->broadcast({}, -1), Error);
}

TEST(SeveralProcesses, WaitForEachOther) {
  world->barrier();
}

int fail_in_one_process() {
  try {
    const auto communicator = make_communicator();
    if (communicator->rank() == communicator->size() - 1) throw std::runtime_error("this process gives up");
    communicator->barrier();
  } catch (const std::runtime_error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 5;
  }
  return 0;
}

}  // namespace
}  // namespace minicpm

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--fail") == 0) return minicpm::fail_in_one_process();
  testing::InitGoogleTest(&argc, argv);
  const auto communicator = minicpm::make_communicator();
  minicpm::world = communicator.get();
  return RUN_ALL_TESTS();
}

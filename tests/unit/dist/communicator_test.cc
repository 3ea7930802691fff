#include "dist/communicator.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <array>

#include "base/error.h"

namespace minicpm {
namespace {

/// Sets a variable of the environment for the length of a test.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~Variable() { unsetenv(name_); }

 private:
  const char* name_;
};

TEST(Communicator, IsOfOneProcessWithoutMpirun) {
  const auto communicator = make_communicator();
  EXPECT_EQ(communicator->rank(), 0);
  EXPECT_EQ(communicator->size(), 1);
  std::array<float, 2> values = {1, 2};
  communicator->all_reduce_sum(std::span<float>(values));
  communicator->broadcast(std::as_writable_bytes(std::span(values)), 0);
  communicator->barrier();
  EXPECT_EQ(values, (std::array<float, 2>{1, 2}));
  EXPECT_THROW(communicator->broadcast({}, 1), Error);
}

TEST(Communicator, CountsProcessesFromTheEnvironment) {
  EXPECT_EQ(launched_processes(), 1);
  {
    const Variable variable("OMPI_COMM_WORLD_SIZE", "4");
    EXPECT_EQ(launched_processes(), 4);
  }
  {
    const Variable variable("PMI_SIZE", "2");
    EXPECT_EQ(launched_processes(), 2);
  }
  const Variable variable("PMI_SIZE", "nonsense");
  EXPECT_EQ(launched_processes(), 1);
}

TEST(Communicator, OneProcessUnderMpirunNeedsNoMpi) {
  const Variable variable("OMPI_COMM_WORLD_SIZE", "1");
  EXPECT_EQ(make_communicator()->size(), 1);
}

TEST(Communicator, SeveralProcessesNeedMpi) {
  if (built_with_mpi()) GTEST_SKIP() << "this build has MPI";
  const Variable variable("OMPI_COMM_WORLD_SIZE", "2");
  try {
    make_communicator();
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  }
}

}  // namespace
}  // namespace minicpm

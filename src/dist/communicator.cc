#include "dist/communicator.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "dist/mpi_communicator.h"

namespace minicpm {
namespace {

class SingleProcess : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void all_reduce_sum(std::span<float>) override {}
  void all_reduce_sum(std::span<double>) override {}
  void broadcast(std::span<std::byte>, int root) override {
    if (root != 0) fail(ErrorCode::kInvalidRequest, "broadcast from process {}, but there is one process only", root);
  }
  void barrier() override {}
};

}  // namespace

int launched_processes() {
  // Set for each process by Open MPI, and by MPICH and its relatives.
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}) {
    if (const char* text = std::getenv(name)) return std::max(1, std::atoi(text));
  }
  return 1;
}

std::unique_ptr<Communicator> make_communicator() {
  const int processes = launched_processes();
  if (processes == 1) return std::make_unique<SingleProcess>();
  if (!built_with_mpi()) {
    fail(ErrorCode::kUnsupported, "started as {} processes, but this build has no MPI", processes);
  }
  return make_mpi_communicator();
}

}  // namespace minicpm

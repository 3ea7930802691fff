#include "base/error.h"
#include "dist/mpi_communicator.h"

namespace minicpm {

bool built_with_mpi() {
  return false;
}

std::unique_ptr<Communicator> make_mpi_communicator() {
  fail(ErrorCode::kInternal, "this build has no MPI");
}

}  // namespace minicpm

// The MPI communicator, or its absence: one of mpi_communicator.cc and no_mpi.cc is built.
#pragma once

#include <memory>

#include "dist/communicator.h"

namespace minicpm {

/// Starts MPI unless the program did. Throws Error io; internal in a build without MPI.
std::unique_ptr<Communicator> make_mpi_communicator();

}  // namespace minicpm

// Sums and copies between the processes of one run.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

namespace minicpm {

/// Collective calls: every process must make the same ones in the same order with the same sizes, from one thread.
/// Errors are Error io.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// Element-wise sum over all processes, in place. Added in the order of the ranks, so every process gets the same
  /// bits on every run.
  virtual void all_reduce_sum(std::span<float> values) = 0;
  virtual void all_reduce_sum(std::span<double> values) = 0;
  /// Copies the bytes of process `root` to all others.
  virtual void broadcast(std::span<std::byte> bytes, int root) = 0;
  /// Returns when every process has come here.
  virtual void barrier() = 0;
};

/// Over MPI when started by mpirun with more than one process, else of one process, where every call does nothing. MPI
/// is started in the former case only, and ended with the object; when that happens because of an exception, MPI is
/// left as it is, so that mpirun ends the other processes instead of letting them wait. Throws Error unsupported when
/// there are several processes and the build has no MPI; io when MPI cannot be started.
std::unique_ptr<Communicator> make_communicator();

/// Processes that mpirun started, from the environment; 1 without it.
int launched_processes();

/// Whether this build can use MPI.
bool built_with_mpi();

}  // namespace minicpm

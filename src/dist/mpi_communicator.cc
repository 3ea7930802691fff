#include "dist/mpi_communicator.h"

// The C++ interface that older MPI headers bring along needs libraries of its own.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

#include <algorithm>
#include <exception>
#include <vector>

#include "base/error.h"

namespace minicpm {
namespace {

// Elements that are exchanged at once: bounds the two buffers, and keeps counts far below MPI's int.
constexpr size_t kChunkElements = size_t{1} << 20;
constexpr size_t kBroadcastBytes = size_t{1} << 28;

void check(int result, const char* action) {
  if (result == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  if (MPI_Error_string(result, text, &length) != MPI_SUCCESS) length = 0;
  fail(ErrorCode::kIo, "the training processes cannot {}: {}", action, std::string_view(text, length));
}

class MpiCommunicator : public Communicator {
 public:
  MpiCommunicator();
  ~MpiCommunicator() override;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void all_reduce_sum(std::span<float> values) override { reduce(values, MPI_FLOAT); }
  void all_reduce_sum(std::span<double> values) override { reduce(values, MPI_DOUBLE); }
  void broadcast(std::span<std::byte> bytes, int root) override;
  void barrier() override { check(MPI_Barrier(MPI_COMM_WORLD), "wait for each other"); }

 private:
  template <typename T>
  void reduce(std::span<T> values, MPI_Datatype type);
  template <typename T>
  void reduce_chunk(std::span<T> values, MPI_Datatype type, std::vector<T>& parts);

  int rank_ = 0;
  int size_ = 1;
  bool owns_mpi_ = false;
  int exceptions_ = std::uncaught_exceptions();
};

MpiCommunicator::MpiCommunicator() {
  int initialised = 0;
  int finalised = 0;
  MPI_Initialized(&initialised);
  MPI_Finalized(&finalised);
  if (finalised != 0) fail(ErrorCode::kInternal, "MPI was ended and cannot be started a second time");
  if (initialised == 0) {
    int provided = 0;
    check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "start MPI");
    owns_mpi_ = true;
  }
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  check(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "find their numbers");
  check(MPI_Comm_size(MPI_COMM_WORLD, &size_), "find their count");
}

MpiCommunicator::~MpiCommunicator() {
  // MPI_Finalize waits for the others, who may be waiting for this process in a call that it will never make.
  if (owns_mpi_ && std::uncaught_exceptions() <= exceptions_) MPI_Finalize();
}

template <typename T>
void MpiCommunicator::reduce(std::span<T> values, MPI_Datatype type) {
  std::vector<T> parts;
  while (!values.empty()) {
    const auto chunk = values.first(std::min(values.size(), kChunkElements));
    reduce_chunk(chunk, type, parts);
    values = values.subspan(chunk.size());
  }
}

/// Process i gets part i of everyone, adds in the order of the ranks, and gives the sum to all. The order of MPI's own
/// sum depends on the algorithm that it picks.
template <typename T>
void MpiCommunicator::reduce_chunk(std::span<T> values, MPI_Datatype type, std::vector<T>& parts) {
  const size_t part = (values.size() + size_ - 1) / size_;
  std::vector<int> counts(size_), starts(size_), own_counts(size_), own_starts(size_);
  for (int i = 0; i < size_; ++i) {
    const size_t begin = std::min(values.size(), i * part);
    starts[i] = static_cast<int>(begin);
    counts[i] = static_cast<int>(std::min(values.size(), begin + part) - begin);
  }
  const int own = counts[rank_];
  for (int i = 0; i < size_; ++i) {
    own_counts[i] = own;
    own_starts[i] = i * own;
  }
  parts.resize(std::max<size_t>(1, static_cast<size_t>(own) * size_));
  check(MPI_Alltoallv(values.data(), counts.data(), starts.data(), type, parts.data(), own_counts.data(),
                      own_starts.data(), type, MPI_COMM_WORLD),
        "exchange gradients");
  for (int i = 1; i < size_; ++i) {
    const T* other = parts.data() + static_cast<size_t>(i) * own;
    for (int j = 0; j < own; ++j)
      parts[j] += other[j];
  }
  check(MPI_Allgatherv(parts.data(), own, type, values.data(), counts.data(), starts.data(), type, MPI_COMM_WORLD),
        "exchange gradients");
}

void MpiCommunicator::broadcast(std::span<std::byte> bytes, int root) {
  if (root < 0 || root >= size_) {
    fail(ErrorCode::kInvalidRequest, "broadcast from process {}, but there are {}", root, size_);
  }
  while (!bytes.empty()) {
    const size_t count = std::min(bytes.size(), kBroadcastBytes);
    check(MPI_Bcast(bytes.data(), static_cast<int>(count), MPI_BYTE, root, MPI_COMM_WORLD), "copy to each other");
    bytes = bytes.subspan(count);
  }
}

}  // namespace

bool built_with_mpi() {
  return true;
}

std::unique_ptr<Communicator> make_mpi_communicator() {
  return std::make_unique<MpiCommunicator>();
}

}  // namespace minicpm

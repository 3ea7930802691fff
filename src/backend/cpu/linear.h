// Matrix products of activations with weights of any format.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "backend/backend.h"
#include "backend/cpu/kernels/linear_kernels.h"
#include "base/thread_pool.h"

namespace minicpm::cpu {

/// The product kernels that belong to the kernel table of that name ("scalar", "avx2", "avx512", ...); the scalar ones
/// for a name without its own. The caller has checked that the processor supports the instruction set.
const LinearKernels& linear_kernels(std::string_view isa);

/// out = x w^T + bias for a group of weights that share x. Owns the scratch memory, which grows to the largest product
/// seen. One call at a time.
class Linear {
 public:
  Linear(ThreadPool& pool, const LinearKernels& kernels);
  ~Linear();
  Linear(const Linear&) = delete;
  Linear& operator=(const Linear&) = delete;

  /// x [rows, k] f32, rows >= 0; row strides of x and of the outputs may exceed their widths. A row's result depends
  /// neither on the other rows' values nor on the number of threads.
  void run(std::span<const LinearTarget> targets, Tensor x, Precision precision);

 private:
  struct Scratch;
  ThreadPool& pool_;
  const LinearKernels& kernels_;
  std::unique_ptr<Scratch> scratch_;
};

}  // namespace minicpm::cpu

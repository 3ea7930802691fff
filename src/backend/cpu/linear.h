// Matrix products of activations with weights of any format.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "backend/backend.h"
#include "backend/cpu/kernels/linear_kernels.h"
#include "base/thread_pool.h"

namespace minicpm::cpu {

/// The product kernels that belong to the instruction set of that name ("scalar", "avx2", "avx512", ...); the scalar
/// ones for a name without its own. The caller has checked that the processor supports it.
const LinearKernels& linear_kernels(std::string_view isa);

/// out = x w^T + bias for a group of weights that share x. Owns the scratch memory, which grows to the largest product
/// seen and is then reused. One call at a time.
///
/// Accuracy: kExact multiplies and adds in f32. kFast rounds the activations as the format's kernels want them: to int8
/// with one scale per 32 values for block formats, to bf16 for bf16 weights where the processor has such products. A
/// row's result has the same bits whatever the other rows hold and however many threads there are. Products of up to
/// LinearInput::gemv_rows rows and of more rows use different kernels, so between those the last bits may differ,
/// unless it is to be deterministic: then the kernels of many rows compute few rows, too.
class Linear {
 public:
  Linear(ThreadPool& pool, const LinearKernels& kernels, bool deterministic = false);
  ~Linear();
  Linear(const Linear&) = delete;
  Linear& operator=(const Linear&) = delete;

  /// x [rows, k] f32, rows >= 0; row strides of x and of the outputs may exceed their widths. k is a multiple of the
  /// weights' block size. Throws Error out_of_memory if the scratch cannot grow.
  void run(std::span<const LinearTarget> targets, Tensor x, Precision precision);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace minicpm::cpu

// Attention on the CPU: splits the work into tasks for the pool and calls the kernels.
#pragma once

#include <cstdint>
#include <span>

#include "backend/backend.h"
#include "backend/cpu/kernels/kernel_table.h"
#include "base/thread_pool.h"

namespace minicpm::cpu {

class Attention {
 public:
  Attention(ThreadPool& pool, const KernelTable& kernels) : pool_(pool), kernels_(kernels) {}

  /// As in Backend.
  void paged(Tensor out, Tensor q, const KvLayer& kv, const Batch& batch, float scale);
  void varlen(Tensor out, Tensor q, Tensor k, Tensor v, std::span<const int64_t> q_starts,
              std::span<const int64_t> k_starts, float scale);

 private:
  ThreadPool& pool_;
  const KernelTable& kernels_;
};

}  // namespace minicpm::cpu

// The CPU backend: splits each op over the threads of a pool and calls the kernels of one instruction set.
#pragma once

#include <span>
#include <string>

#include "backend/backend.h"
#include "backend/cpu/attention.h"
#include "backend/cpu/kernels/select.h"
#include "backend/cpu/linear.h"
#include "base/thread_pool.h"

namespace minicpm::cpu {

/// Results do not depend on the number of threads. One thread at a time may call.
class CpuBackend final : public Backend {
 public:
  CpuBackend(const Isa& isa, int num_threads, bool deterministic);

  std::string description() const override;
  int num_threads() const override { return pool_.num_threads(); }

  void embedding(Tensor out, const Weight& table, std::span<const int32_t> ids) override;
  void linear(std::span<const LinearTarget> targets, Tensor x, Precision precision) override;
  void rms_norm(Tensor out, Tensor x, Tensor w, float eps) override;
  void layer_norm(Tensor out, Tensor x, Tensor w, Tensor b, float eps) override;
  void add(Tensor x, Tensor y) override;
  void add_scaled(Tensor x, Tensor y, float factor) override;
  void scale(Tensor x, float factor) override;
  void add_row(Tensor x, Tensor row) override;
  void gelu(Tensor x, Gelu kind) override;
  void relu(Tensor x) override;
  void silu_mul(Tensor out, Tensor gate, Tensor up) override;
  void rope(Tensor x, Tensor cos, Tensor sin, RopeStyle style) override;
  void kv_write(const KvLayer& kv, Tensor k, Tensor v, const Batch& batch) override;
  void attention_paged(Tensor out, Tensor q, const KvLayer& kv, const Batch& batch, float scale,
                       Precision precision) override;
  void attention_varlen(Tensor out, Tensor q, Tensor k, Tensor v, std::span<const int64_t> q_starts,
                        std::span<const int64_t> k_starts, float scale, Precision precision) override;
  void scatter_rows(Tensor dst, std::span<const int64_t> dst_rows, Tensor src) override;
  void gather_rows(Tensor dst, Tensor src, std::span<const int64_t> src_rows) override;

 private:
  /// fn(begin, end) over parts of [0, count). `item_bytes`: memory that one item touches; a part touches about
  /// kPartBytes, and less than that in total runs on the calling thread.
  template <typename Fn>
  void split(int64_t count, int64_t item_bytes, Fn&& fn);

  const Isa& isa_;
  const KernelTable& kernels_;
  ThreadPool pool_;
  Linear linear_;
  Attention attention_;
};

}  // namespace minicpm::cpu

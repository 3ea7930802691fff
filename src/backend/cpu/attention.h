// Attention on the CPU: cuts the work into tasks for the pool and calls the kernels.
//
// Many queries of a sequence (rows times the query heads that share a key head) go through tiles, see
// attention_tile.h. A query's result in a tile does not depend on the other queries, so cutting a prompt into chunks
// does not change it.
//
// Few queries (decoding) would leave most lanes of a tile empty. They take row kernels instead, and their keys are cut
// into parts of fixed length whose results are combined in order. Where results must not depend on the number of rows,
// everything goes through tiles.
//
// Either way the result does not depend on the number of threads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/kernels/kernel_table.h"
#include "backend/cpu/scratch.h"
#include "base/thread_pool.h"

namespace minicpm::cpu {

/// Of the four formats that KvLayer may have.
const CacheKernels& cache_kernels(const KernelTable& kernels, DType dtype);

/// One call at a time.
class Attention {
 public:
  Attention(ThreadPool& pool, const KernelTable& kernels, bool deterministic);

  /// As in Backend.
  void paged(Tensor out, Tensor q, const KvLayer& kv, const Batch& batch, float scale, Precision precision);
  void varlen(Tensor out, Tensor q, Tensor k, Tensor v, std::span<const int64_t> q_starts,
              std::span<const int64_t> k_starts, float scale, Precision precision);

 private:
  struct PagedCall;

  /// What one thread does at a time: some rows and one key head of a group of rows (a sequence, or a group of
  /// `varlen`).
  struct Task {
    int64_t group;
    int64_t head;
    int64_t first_row;
    int64_t rows;
    int64_t first_key;  // row kernels only
    int64_t part;       // where its results begin in parts_ (row kernels); -1: a tile
  };

  /// Fills tasks_, tiles first, and makes room for scratch memory and partial results.
  void plan(const PagedCall& call);
  /// Append the tasks of one sequence and return the floats of scratch memory that each needs.
  int64_t plan_tiles(const PagedCall& call, int64_t sequence);
  int64_t plan_parts(const PagedCall& call, int64_t sequence);
  void run_paged_tile(const PagedCall& call, const Task& task, int worker);
  void run_part(const PagedCall& call, const Task& task, int worker);
  void combine_parts(const PagedCall& call, const Task& first_part);
  int64_t rows_per_tile(int64_t rows, int64_t heads, int64_t group, int64_t head_dim) const;

  ThreadPool& pool_;
  const KernelTable& kernels_;
  int64_t few_queries_;           // of a sequence, that take row kernels
  std::vector<Scratch> scratch_;  // one per worker
  Scratch parts_;                 // partial results of the row kernels
  int64_t parts_size_ = 0;        // floats in use there
  std::vector<Task> tasks_;
};

}  // namespace minicpm::cpu

#include "backend/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "backend/cpu/attention_tile.h"

namespace minicpm::cpu {
namespace {

// Keys per part of the row kernels: with head_dim 128 in f16 a part reads 256 KiB, about ten microseconds of memory
// time, which hides the cost of taking a task.
constexpr int64_t kPartKeys = 512;

// Up to this many queries (rows times heads of a group) row kernels are at least as fast as tiles, whose lanes they
// would leave empty; measured with AVX-512 (equal at 16) and AVX2 (rows ahead up to 20).
constexpr int64_t kFewQueries = 16;

// Results of this size are combined by the calling thread: waking the others would take longer.
constexpr int64_t kCombineBytes = 64 << 10;

// Queries and sums of a tile in f32 may take this much of the L2 cache.
constexpr int64_t kTileBytes = 256 << 10;

bool in_halves(Precision precision) {
  return precision == Precision::kHalf || precision == Precision::kInt8;
}

/// Rows [begin, begin + rows) of one head in [rows, heads, head_dim].
class StridedKeys final : public KeySource {
 public:
  StridedKeys(const Tensor& k, const Tensor& v, int64_t begin, int64_t head)
      : k_(k), v_(v), begin_(begin), head_(head) {}

  void load(int64_t first, int64_t count, int64_t stride, float* k, float* v) const override {
    copy(k_, first, count, stride, k);
    copy(v_, first, count, stride, v);
  }

 private:
  void copy(const Tensor& from, int64_t first, int64_t count, int64_t stride, float* to) const {
    const int64_t d = from.dims[2];
    const float* row = from.f32() + (begin_ + first) * from.strides[0] + head_ * from.strides[1];
    for (int64_t i = 0; i < count; ++i, row += from.strides[0], to += stride) {
      std::memcpy(to, row, static_cast<size_t>(d) * sizeof(float));
      std::fill(to + d, to + stride, 0.0f);
    }
  }

  const Tensor& k_;
  const Tensor& v_;
  int64_t begin_;
  int64_t head_;
};

/// The cached keys of one sequence and key head.
class PagedKeys final : public KeySource {
 public:
  PagedKeys(const KernelTable& kernels, const KvLayer& kv, const int32_t* blocks, int64_t head)
      : cache_(cache_kernels(kernels, kv.dtype)), kv_(kv), blocks_(blocks), head_(head) {}

  void load(int64_t first, int64_t count, int64_t stride, float* k, float* v) const override {
    for (int64_t done = 0; done < count;) {
      const Run part = run(first + done, first + count);
      convert(kv_.k, part.offset, part.count, stride, k + done * stride);
      convert(kv_.v, part.offset, part.count, stride, v + done * stride);
      done += part.count;
    }
  }

  /// Keys [first, end) as far as they lie together: their number and their offset in elements.
  struct Run {
    int64_t count, offset;
  };
  Run run(int64_t first, int64_t end) const {
    const int64_t block = first / kv_.block_tokens, token = first % kv_.block_tokens;
    return {std::min(end - first, kv_.block_tokens - token),
            ((blocks_[block] * kv_.kv_heads + head_) * kv_.block_tokens + token) * kv_.head_dim};
  }

 private:
  void convert(const void* from, int64_t offset, int64_t rows, int64_t stride, float* to) const {
    const int64_t d = kv_.head_dim;
    const int64_t piece = stride == d ? rows * d : d;  // rows without padding are converted in one go
    for (int64_t i = 0; i < rows * d; i += piece, to += stride) {
      cache_.read(to, static_cast<const char*>(from) + row_bytes(kv_.dtype, offset + i), piece);
      if (stride != d) std::fill(to + d, to + stride, 0.0f);
    }
  }

  const CacheKernels& cache_;
  const KvLayer& kv_;
  const int32_t* blocks_;
  int64_t head_;
};

}  // namespace

const CacheKernels& cache_kernels(const KernelTable& kernels, DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return kernels.cache_f32;
    case DType::kBF16:
      return kernels.cache_bf16;
    case DType::kQ8_0:
      return kernels.cache_q8_0;
    default:
      return kernels.cache_f16;
  }
}

struct Attention::PagedCall {
  Tensor out, q;
  const KvLayer& kv;
  const Batch& batch;
  float scale;
  bool half;

  int64_t group() const { return q.dims[1] / kv.kv_heads; }
  int64_t head_dim() const { return kv.head_dim; }
  const int32_t* blocks(const Task& task) const {
    return batch.block_table.data() + batch.block_starts[static_cast<size_t>(task.group)];
  }
  int32_t position(int64_t row) const { return batch.positions[static_cast<size_t>(row)]; }
  /// Keys that the rows of a task see.
  int64_t keys(int64_t first_row, int64_t rows) const {
    int32_t last = -1;
    for (int64_t r = first_row; r < first_row + rows; ++r)
      last = std::max(last, position(r));
    return last + 1;
  }
};

Attention::Attention(ThreadPool& pool, const KernelTable& kernels, bool deterministic)
    : pool_(pool),
      kernels_(kernels),
      few_queries_(deterministic ? 0 : kFewQueries),
      scratch_(static_cast<size_t>(pool.num_threads())) {}

int64_t Attention::rows_per_tile(int64_t rows, int64_t heads, int64_t group, int64_t head_dim) const {
  // Large tiles convert keys less often; smaller ones give every thread something to do.
  const int64_t panel = static_cast<int64_t>(kernels_.lanes) * kernels_.tile_vectors;
  const int64_t wanted_tiles = (4 * pool_.num_threads() + heads - 1) / heads;
  const int64_t fair = (rows * group + wanted_tiles * panel - 1) / (wanted_tiles * panel) * panel;
  const int64_t fitting = kTileBytes / (8 * head_dim) / panel * panel;
  const int64_t lanes = std::max(panel, std::min(fair, fitting));
  const int64_t most = std::max<int64_t>(1, lanes / group);
  const int64_t tiles = (rows + most - 1) / most;
  return (rows + tiles - 1) / tiles;
}

// ---- paged ---------------------------------------------------------------------------------------------------------

void Attention::plan(const PagedCall& call) {
  const Batch& batch = call.batch;
  int64_t scratch = 0;
  tasks_.clear();
  parts_size_ = 0;
  for (int64_t s = 0; s < batch.sequences(); ++s) {
    const int64_t rows = batch.row_starts[s + 1] - batch.row_starts[s];
    if (rows * call.group() > few_queries_) scratch = std::max(scratch, plan_tiles(call, s));
  }
  for (int64_t s = 0; s < batch.sequences(); ++s) {
    const int64_t rows = batch.row_starts[s + 1] - batch.row_starts[s];
    if (rows * call.group() <= few_queries_) scratch = std::max(scratch, plan_parts(call, s));
  }
  parts_.reserve(parts_size_);
  for (Scratch& memory : scratch_)
    memory.reserve(scratch);
}

int64_t Attention::plan_tiles(const PagedCall& call, int64_t sequence) {
  const int64_t first_row = call.batch.row_starts[sequence], rows = call.batch.row_starts[sequence + 1] - first_row;
  const int64_t step = rows_per_tile(rows, call.kv.kv_heads, call.group(), call.head_dim());
  // Later rows see more keys: the longest tasks first.
  for (int64_t r = (rows - 1) / step * step; r >= 0; r -= step) {
    for (int64_t head = 0; head < call.kv.kv_heads; ++head)
      tasks_.push_back({sequence, head, first_row + r, std::min(step, rows - r), 0, -1});
  }
  return tile_scratch(kernels_, step * call.group(), call.head_dim());
}

int64_t Attention::plan_parts(const PagedCall& call, int64_t sequence) {
  const int64_t first_row = call.batch.row_starts[sequence], rows = call.batch.row_starts[sequence + 1] - first_row;
  const int64_t keys = call.keys(first_row, rows), queries = rows * call.group(), d = call.head_dim();
  for (int64_t head = 0; head < call.kv.kv_heads; ++head) {
    for (int64_t key = 0; key < keys; key += kPartKeys) {
      tasks_.push_back({sequence, head, first_row, rows, key, parts_size_});
      parts_size_ += queries * (d + 2);
    }
  }
  return queries * (d + kPartKeys);
}

void Attention::paged(Tensor out, Tensor q, const KvLayer& kv, const Batch& batch, float scale, Precision precision) {
  const PagedCall call = {out, q, kv, batch, scale, in_halves(precision)};
  plan(call);
  pool_.run(static_cast<int64_t>(tasks_.size()), [&](int64_t i, int worker) {
    const Task& task = tasks_[static_cast<size_t>(i)];
    if (task.part < 0) {
      run_paged_tile(call, task, worker);
    } else {
      run_part(call, task, worker);
    }
  });
  const auto combine = [&](int64_t i, int) {
    const Task& task = tasks_[static_cast<size_t>(i)];
    if (task.part >= 0 && task.first_key == 0) combine_parts(call, task);
  };
  const auto tasks = static_cast<int64_t>(tasks_.size());
  if (parts_size_ * static_cast<int64_t>(sizeof(float)) > kCombineBytes) {
    pool_.run(tasks, combine);
  } else {
    for (int64_t i = 0; i < tasks; ++i)
      combine(i, 0);
  }
}

void Attention::run_paged_tile(const PagedCall& call, const Task& task, int worker) {
  const int64_t group = call.group();
  AttentionTile tile = {};
  tile.q = call.q.f32_row(task.first_row) + task.head * group * call.q.strides[1];
  tile.q_row_stride = call.q.strides[0];
  tile.q_head_stride = call.q.strides[1];
  tile.out = call.out.f32_row(task.first_row) + task.head * group * call.out.strides[1];
  tile.out_row_stride = call.out.strides[0];
  tile.out_head_stride = call.out.strides[1];
  tile.rows = task.rows;
  tile.group = group;
  tile.head_dim = call.head_dim();
  tile.keys = call.keys(task.first_row, task.rows);
  tile.positions = call.batch.positions.data() + task.first_row;
  tile.scale = call.scale;
  tile.half = call.half;
  const PagedKeys keys(kernels_, call.kv, call.blocks(task), task.head);
  run_tile(kernels_, tile, keys, scratch_[static_cast<size_t>(worker)].data());
}

/// Layout of a part: sums [queries][head_dim], highest score [queries], total weight [queries].
void Attention::run_part(const PagedCall& call, const Task& task, int worker) {
  const int64_t group = call.group(), d = call.head_dim(), queries = task.rows * group;
  float* packed = scratch_[static_cast<size_t>(worker)].data();
  float* scores = packed + queries * d;
  const float factor = call.scale * std::numbers::log2e_v<float>;
  for (int64_t i = 0; i < queries; ++i) {
    const float* row = call.q.f32_row(task.first_row + i / group) + (task.head * group + i % group) * call.q.strides[1];
    for (int64_t j = 0; j < d; ++j)
      packed[i * d + j] = factor * row[j];
  }
  const int64_t end = std::min(task.first_key + kPartKeys, call.keys(task.first_row, task.rows));
  const PagedKeys keys(kernels_, call.kv, call.blocks(task), task.head);
  const auto address = [&](const void* base, int64_t offset) {
    return static_cast<const char*>(base) + row_bytes(call.kv.dtype, offset);
  };
  // fn(first key, keys, address, address of what is read next); `after` is read after the last run.
  const auto for_runs = [&](const void* base, const void* after, auto&& fn) {
    for (int64_t key = task.first_key; key < end;) {
      const PagedKeys::Run run = keys.run(key, end);
      const int64_t next = key + run.count;
      fn(key, run.count, address(base, run.offset), next < end ? address(base, keys.run(next, end).offset) : after);
      key = next;
    }
  };
  const CacheKernels& cache = cache_kernels(kernels_, call.kv.dtype);
  const void* first_values = address(call.kv.v, keys.run(task.first_key, end).offset);
  for_runs(call.kv.k, first_values, [&](int64_t key, int64_t count, const void* k, const void* next) {
    cache.scores(scores + key - task.first_key, kPartKeys, packed, queries, k, count, d, next);
  });
  float* sums = parts_.data() + task.part;
  float* highest = sums + queries * d;
  float* total = highest + queries;
  for (int64_t i = 0; i < queries; ++i) {
    const int64_t visible = call.position(task.first_row + i / group) + 1 - task.first_key;
    const int64_t seen = std::clamp<int64_t>(visible, 0, end - task.first_key);
    float* row = scores + i * kPartKeys;
    kernels_.exp2_row(row, seen, highest + i, total + i);
    std::fill(row + seen, row + end - task.first_key, 0.0f);
  }
  std::fill_n(sums, queries * d, 0.0f);
  for_runs(call.kv.v, nullptr, [&](int64_t key, int64_t count, const void* v, const void* next) {
    cache.add_values(sums, scores + key - task.first_key, kPartKeys, queries, v, count, d, next);
  });
}

void Attention::combine_parts(const PagedCall& call, const Task& first) {
  const int64_t group = call.group(), d = call.head_dim(), queries = first.rows * group;
  const int64_t parts = (call.keys(first.first_row, first.rows) + kPartKeys - 1) / kPartKeys;
  const int64_t part_size = queries * (d + 2);
  for (int64_t i = 0; i < queries; ++i) {
    const float* sums = parts_.data() + first.part + i * d;
    const float* highest = parts_.data() + first.part + queries * d + i;
    const float* total = highest + queries;
    float top = kLowestScore, weight = 0.0f;
    for (int64_t p = 0; p < parts; ++p)
      top = std::max(top, highest[p * part_size]);
    for (int64_t p = 0; p < parts; ++p)
      weight += total[p * part_size] * std::exp2(highest[p * part_size] - top);
    float* out = call.out.f32_row(first.first_row + i / group) + (first.head * group + i % group) * call.out.strides[1];
    std::fill_n(out, d, 0.0f);
    for (int64_t p = 0; p < parts; ++p)
      kernels_.add_scaled(out, sums + p * part_size, std::exp2(highest[p * part_size] - top) / weight, d);
  }
}

// ---- varlen --------------------------------------------------------------------------------------------------------

void Attention::varlen(Tensor out, Tensor q, Tensor k, Tensor v, std::span<const int64_t> q_starts,
                       std::span<const int64_t> k_starts, float scale, Precision precision) {
  const int64_t heads = q.dims[1], d = q.dims[2];
  int64_t scratch = 0;
  tasks_.clear();
  for (size_t g = 0; g + 1 < q_starts.size(); ++g) {
    const int64_t rows = q_starts[g + 1] - q_starts[g];
    if (rows == 0) continue;
    const int64_t step = rows_per_tile(rows, heads, 1, d);
    // Tiles of one head follow each other, so its keys are still in the cache.
    for (int64_t head = 0; head < heads; ++head) {
      for (int64_t r = 0; r < rows; r += step)
        tasks_.push_back({static_cast<int64_t>(g), head, q_starts[g] + r, std::min(step, rows - r), 0, -1});
    }
    scratch = std::max(scratch, tile_scratch(kernels_, step, d));
  }
  for (Scratch& memory : scratch_)
    memory.reserve(scratch);
  pool_.run(static_cast<int64_t>(tasks_.size()), [&](int64_t i, int worker) {
    const Task& task = tasks_[static_cast<size_t>(i)];
    const int64_t first_key = k_starts[static_cast<size_t>(task.group)];
    AttentionTile tile = {};
    tile.q = q.f32_row(task.first_row) + task.head * q.strides[1];
    tile.q_row_stride = q.strides[0];
    tile.out = out.f32_row(task.first_row) + task.head * out.strides[1];
    tile.out_row_stride = out.strides[0];
    tile.rows = task.rows;
    tile.group = 1;
    tile.head_dim = d;
    tile.keys = k_starts[static_cast<size_t>(task.group) + 1] - first_key;
    tile.scale = scale;
    tile.half = in_halves(precision);
    run_tile(kernels_, tile, StridedKeys(k, v, first_key, task.head), scratch_[static_cast<size_t>(worker)].data());
  });
}

}  // namespace minicpm::cpu

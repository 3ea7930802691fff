// The compute contract. `ops/` has checked shapes and types before it calls here, so an implementation contains
// arithmetic only and cannot fail. All activations are f32; weights are of any format.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/tensor.h"
#include "base/thread_pool.h"

namespace minicpm {

/// How `linear` computes.
enum class Precision {
  kFast,   // what the processor does best: int8 activations for block formats, bf16 activations for bf16 weights
  kHalf,   // as kFast, and f32 and f16 weights are rounded to bf16 as well for products of many rows, as is what
           // attention multiplies, where the processor does that faster than f32: for parts whose authors do so
  kInt8,   // as kHalf, but plain weights are rounded to int8 with a scale for each 32 of them, as those of block
           // formats are stored, for products of many rows
  kExact,  // activations and products in f32; weights dequantised exactly
};

/// Rows of many sequences, flattened without padding. Built by the scheduler, read-only for models.
struct Batch {
  std::span<const int32_t> positions;     // [rows] position of each row in its sequence
  std::span<const int64_t> row_starts;    // [sequences + 1] first row of each sequence
  std::span<const int64_t> kv_lengths;    // [sequences] tokens in the cache, this step's rows included
  std::span<const int32_t> block_table;   // block numbers of all sequences, one after another
  std::span<const int64_t> block_starts;  // [sequences + 1] where a sequence's blocks start in block_table
  std::span<const int64_t> logit_rows;    // rows whose logits are wanted, ascending

  int64_t rows() const { return static_cast<int64_t>(positions.size()); }
  int64_t sequences() const { return static_cast<int64_t>(kv_lengths.size()); }
};

/// Keys and values of one layer in fixed blocks: [num_blocks, kv_heads, block_tokens, head_dim], so the rows that one
/// query head reads lie together inside a block.
struct KvLayer {
  void* k = nullptr;
  void* v = nullptr;
  DType dtype = DType::kF16;  // f32, f16, bf16, or q8_0 where head_dim is a multiple of 32
  int64_t num_blocks = 0;
  int64_t kv_heads = 0;
  int64_t block_tokens = 0;
  int64_t head_dim = 0;
};

enum class RopeStyle {
  kHalves,      // pairs (i, i + head_dim/2): the layout of Hugging Face checkpoints
  kNeighbours,  // pairs (2i, 2i + 1): GGUF files of the llama and minicpm architectures
};

enum class Gelu { kTanh, kErf };

/// One product of a group that shares its input: out = x w^T + bias.
struct LinearTarget {
  Tensor out;   // [rows, w.rows()], f32, contiguous rows (row stride may exceed the width)
  Weight w;     // [n, k], any format
  Tensor bias;  // [n] f32, or undefined
};

class Backend {
 public:
  virtual ~Backend() = default;

  /// "cpu (avx512_bf16, 2 threads)" and the like.
  virtual std::string description() const = 0;
  virtual int num_threads() const = 0;

  /// out[i] = row ids[i] of `table` [n, d], dequantised.
  virtual void embedding(Tensor out, const Weight& table, std::span<const int32_t> ids) = 0;

  /// All targets in one go: x [rows, k] f32 is converted (quantised) once and there is one barrier. A row's result does
  /// not depend on the other rows' values, nor on the number of threads.
  virtual void linear(std::span<const LinearTarget> targets, Tensor x, Precision precision) = 0;

  /// Over the last dim; x may be any contiguous shape. w, b: [d] f32. `out` may be `x`.
  virtual void rms_norm(Tensor out, Tensor x, Tensor w, float eps) = 0;
  virtual void layer_norm(Tensor out, Tensor x, Tensor w, Tensor b, float eps) = 0;

  virtual void add(Tensor x, Tensor y) = 0;                       // x += y, same contiguous shape
  virtual void add_scaled(Tensor x, Tensor y, float factor) = 0;  // x += factor * y
  virtual void scale(Tensor x, float factor) = 0;                 // x *= factor
  virtual void add_row(Tensor x, Tensor row) = 0;                 // x[r, :] += row for every r; row [d]
  virtual void gelu(Tensor x, Gelu kind) = 0;                     // in place
  virtual void relu(Tensor x) = 0;                                // in place
  virtual void silu_mul(Tensor out, Tensor gate, Tensor up) = 0;  // out = silu(gate) * up; out may be gate

  /// Rotates x [rows, heads, head_dim] in place by cos, sin [rows, rotary_dim/2] f32; dims beyond rotary_dim stay.
  virtual void rope(Tensor x, Tensor cos, Tensor sin, RopeStyle style) = 0;

  /// Appends k, v [rows, kv_heads, head_dim] at the rows' positions.
  virtual void kv_write(const KvLayer& kv, Tensor k, Tensor v, const Batch& batch) = 0;

  /// Causal attention of q [rows, heads, head_dim] over the cached keys: row r of sequence s sees positions
  /// 0..positions[r]. Query head h reads key head h / (heads / kv_heads). Softmax in f32. out: same shape as q.
  virtual void attention_paged(Tensor out, Tensor q, const KvLayer& kv, const Batch& batch, float scale,
                               Precision precision) = 0;

  /// Full attention inside each group: rows [q_starts[g], q_starts[g+1]) of q see rows [k_starts[g], k_starts[g+1]) of
  /// k and v. q [q_rows, heads, head_dim], k and v [k_rows, heads, head_dim]; rows may be strided. Softmax in f32.
  virtual void attention_varlen(Tensor out, Tensor q, Tensor k, Tensor v, std::span<const int64_t> q_starts,
                                std::span<const int64_t> k_starts, float scale, Precision precision) = 0;

  /// dst[dst_rows[i], :] = src[i, :].
  virtual void scatter_rows(Tensor dst, std::span<const int64_t> dst_rows, Tensor src) = 0;
  /// dst[i, :] = src[src_rows[i], :].
  virtual void gather_rows(Tensor dst, Tensor src, std::span<const int64_t> src_rows) = 0;
};

}  // namespace minicpm

// Attention of many queries over the same keys by online softmax: the keys come in blocks that are converted to f32
// once and met by every query of the tile.
#pragma once

#include <cstdint>

#include "backend/cpu/kernels/kernel_table.h"

namespace minicpm::cpu {

/// Keys and values of one head, wherever they lie.
class KeySource {
 public:
  virtual ~KeySource() = default;
  /// Writes keys and values [first, first + count) as f32 rows of `stride` values (head_dim and then anything finite).
  virtual void load(int64_t first, int64_t count, int64_t stride, float* k, float* v) const = 0;
};

/// Query i is head i % group of row i / group: the heads of a group read the same keys.
struct AttentionTile {
  const float* q;
  int64_t q_row_stride;
  int64_t q_head_stride;
  float* out;
  int64_t out_row_stride;
  int64_t out_head_stride;
  int64_t rows;
  int64_t group;
  int64_t head_dim;
  int64_t keys;              // that any row sees
  const int32_t* positions;  // row r sees keys 0..positions[r]; null: every row sees all keys
  float scale;
  bool half;  // products in bf16, where the kernels have that and head_dim is even

  int64_t queries() const { return rows * group; }
};

/// Keys that a block holds. In f32 and with head_dim 128, keys and values of a block take 128 KiB: an eighth of the L2
/// cache, which they share with the queries and sums of the tile.
inline constexpr int64_t kTileKeys = 128;

/// Floats of scratch memory that a tile needs.
int64_t tile_scratch(const KernelTable& kernels, int64_t queries, int64_t head_dim);

/// A query's result does not depend on the other queries of the tile. A query that sees no key gives zeros.
void run_tile(const KernelTable& kernels, const AttentionTile& tile, const KeySource& source, float* scratch);

}  // namespace minicpm::cpu

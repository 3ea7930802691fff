// Activations in the forms that the drivers read. Included after gemm.inl.

// ---- int8

int64_t q8_row_bytes(int64_t k) {
  return (k + kBlockK - 1) / kBlockK * static_cast<int64_t>(sizeof(ActBlock));
}
/// Requires k % 32 == 0. What lies beyond k in the last block is zero.
void q8_row(const float* x, int64_t k, void* out) {
  auto* blocks = static_cast<ActBlock*>(out);
  if (k % kBlockK != 0) __builtin_memset(blocks + k / kBlockK, 0, sizeof(ActBlock));
  for (int64_t group = 0; group < k / 32; ++group) {
    ActBlock& block = blocks[group / 8];
    const int64_t g = group % 8;
    int32_t sums[2];
    const float d = quantize_group(x + group * 32, block.q + g * 32, sums);
    block.d[g] = block.d16[2 * g] = block.d16[2 * g + 1] = d;
    block.sum16[2 * g] = d * static_cast<float>(sums[0]);
    block.sum16[2 * g + 1] = d * static_cast<float>(sums[1]);
    block.sum[g] = d * static_cast<float>(sums[0] + sums[1]);
  }
}

int64_t q8_tile_row_bytes(int64_t k) {
  return k / 32 * kQ8GroupBytes;
}
void q8_tile_of(const float* x, int64_t x_stride, int64_t k, int64_t rows, int64_t tile, void* out) {
  const int64_t tiles = count_tiles(rows, kQ8Rows);
  const int64_t row = first_row(tile, rows, tiles);
  const int64_t count = first_row(tile + 1, rows, tiles) - row;
  for (int64_t g = 0; g < k / 32; ++g) {
    const int64_t g0 = g / kQ8ChunkGroups * kQ8ChunkGroups;
    const int64_t chunk_groups = smaller<int64_t>(kQ8ChunkGroups, k / 32 - g0);
    uint8_t* chunk = static_cast<uint8_t*>(out) + g0 * rows * kQ8GroupBytes;
    uint8_t* group = chunk + (row * chunk_groups + (g - g0) * count) * kQ8GroupBytes;
    auto* scales = reinterpret_cast<float*>(group + 32 * count);
    auto* negated = reinterpret_cast<int32_t*>(scales + 2 * count);
    for (int64_t r = 0; r < count; ++r) {
      alignas(32) int8_t codes[32];
      int32_t sums[2];
      const float d = quantize_group(x + (row + r) * x_stride + g * 32, codes, sums);
      for (int64_t quad = 0; quad < 8; ++quad)
        __builtin_memcpy(group + (quad * count + r) * 4, codes + quad * 4, 4);
      scales[r] = d;
      scales[count + r] = d * static_cast<float>(sums[0] + sums[1]);
      negated[r] = -sums[0];
      negated[count + r] = -sums[1];
    }
  }
}

// ---- f32

int64_t f32_row_bytes(int64_t) {
  return 0;
}
int64_t f32_tile_row_bytes(int64_t k) {
  return round_up(k, kDenseUnroll) * 4;
}

/// Writes `count` words of each row of a tile where gemm_dense looks for them; row(r, word) gives their address.
template <class Row>
MINICPM_INLINE void interleave(int64_t words, int64_t rows, int64_t tile, float* out, Row&& row_words) {
  const int64_t tiles = count_tiles(rows, kDenseRows);
  const int64_t row = first_row(tile, rows, tiles);
  const int64_t count = first_row(tile + 1, rows, tiles) - row;
  for (int64_t word = 0; word < words; word += kDenseDepth) {
    const int64_t chunk = smaller<int64_t>(kDenseDepth, words - word);
    const int64_t depth = round_up(chunk, kDenseUnroll);
    float* to = out + word * rows + row * depth;
    for (int64_t r = 0; r < count; ++r) {
      const uint32_t* from = row_words(row + r, word, chunk);
      int64_t i = 0;
      for (; i < chunk; ++i)
        __builtin_memcpy(to + i * count + r, from + i, 4);
      for (; i < depth; ++i)
        to[i * count + r] = 0.0f;
    }
  }
}
void f32_tile_of(const float* x, int64_t x_stride, int64_t k, int64_t rows, int64_t tile, void* out) {
  interleave(k, rows, tile, static_cast<float*>(out), [&](int64_t row, int64_t word, int64_t) MINICPM_BODY {
    return reinterpret_cast<const uint32_t*>(x + row * x_stride + word);
  });
}

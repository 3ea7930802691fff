// Products with many rows of activations. Both kinds below share the plan: k is cut into chunks; for each chunk and
// each panel of weight rows the panel is unpacked once, with the weights of all its rows side by side, and every tile
// of activations is multiplied with it while it is in cache. Sums over k are carried from chunk to chunk in the output.
// Included after gemv.inl. The ISA defines kDenseVecs, kDenseRows, kQ8Vecs and kQ8Rows: columns of a panel in vectors
// and rows of a tile, such that the sums of a tile fit into the registers.

/// Tiles are as few as possible and differ by at most one row.
MINICPM_INLINE int64_t count_tiles(int64_t rows, int64_t tile_rows) {
  return (rows + tile_rows - 1) / tile_rows;
}
MINICPM_INLINE int64_t first_row(int64_t tile, int64_t rows, int64_t tiles) {
  return rows * tile / tiles;
}

/// Calls kernel(Int<rows>) for the number of rows of a tile. More than kMax rows make tiles of at least kMax / 2.
template <int kMax, int kRows = (kMax + 1) / 2, class Kernel>
MINICPM_INLINE void with_rows(int64_t rows, Kernel&& kernel) {
  if constexpr (kRows < kMax) {
    if (rows != kRows) return with_rows<kMax, kRows + 1>(rows, kernel);
  }
  kernel(Int<kRows>{});
}

/// Where a tile's sums come from and go to. Panels that reach beyond the last column go through `edge`.
template <int kCols, int kRows>
struct TileOutput {
  alignas(64) float edge[kRows * kCols];
  alignas(64) float bias[kCols];

  void set_bias(const float* from, int64_t cols) {
    for (int64_t c = 0; c < kCols; ++c)
      bias[c] = from != nullptr && c < cols ? from[c] : 0.0f;
  }
};

/// Runs kernel(sums, stride, out, stride) for one tile: it reads the sums so far and writes the new ones.
template <int kCols, int kRows, class Kernel>
MINICPM_INLINE void run_tile(TileOutput<kCols, kRows>& t, float* out, int64_t stride, int64_t rows, int64_t cols,
                             bool first_chunk, Kernel&& kernel) {
  if (cols >= kCols) {
    kernel(first_chunk ? t.bias : out, first_chunk ? 0 : stride, out, stride);
    return;
  }
  if (!first_chunk) {
    for (int64_t r = 0; r < rows; ++r)
      __builtin_memcpy(t.edge + r * kCols, out + r * stride, static_cast<size_t>(cols) * sizeof(float));
  }
  kernel(first_chunk ? t.bias : t.edge, first_chunk ? 0 : kCols, t.edge, kCols);
  for (int64_t r = 0; r < rows; ++r)
    __builtin_memcpy(out + r * stride, t.edge + r * kCols, static_cast<size_t>(cols) * sizeof(float));
}

/// Brings the next piece of a panel's weight rows into the cache while the tiles of the present one are multiplied, a
/// few cache lines in each step of the kernels: in larger portions the requests would wait for each other and for the
/// tiles'.
class PanelPrefetch {
 public:
  /// The next piece is bytes [begin, begin + size) of the `rows` weight rows at `w`; it is fetched in `steps` steps.
  PanelPrefetch(const uint8_t* w, int64_t stride, int64_t rows, int64_t begin, int64_t size, int64_t steps)
      : p_(w + begin), size_(size), row_end_(p_ + size), stride_(stride), rows_(rows) {
    const int64_t lines = rows * ((size + 63) / 64 + 1);
    lines_per_step_ = (lines + steps - 1) / steps;
  }
  __attribute__((always_inline)) void step() {
    for (int64_t i = 0; i < lines_per_step_ && rows_ > 0; ++i) {
      __builtin_prefetch(p_);
      p_ += 64;
      if (p_ >= row_end_ + 63) {
        p_ = row_end_ - size_ + stride_;
        row_end_ += stride_;
        --rows_;
      }
    }
  }

 private:
  const uint8_t* p_;
  int64_t size_;
  const uint8_t* row_end_;
  int64_t stride_, rows_, lines_per_step_;
};

// Products of many rows of f32 or bf16 activations. Both are 32-bit words along k: one f32 or a pair of bf16. Included
// after gemm_common.inl. The ISA defines kDenseVecs and kDenseRows: the columns of a panel in vectors and the rows of a
// tile, such that the sums of a tile fit into the registers.

constexpr int kDenseCols = kDenseVecs * kLanes;
constexpr int kDenseDepth = 512;  // 32-bit words of k in a chunk: one f32 or two bf16 each
constexpr int kDenseUnroll = 4;   // chunks are filled up to a multiple of this with zeros
static_assert(kDenseCols % kSumLanes == 0);

struct alignas(64) DensePanel {
  float words[kDenseDepth * kDenseCols];  // [k][column]
  float rows[kSumLanes * kDenseDepth];    // of some columns as they were read
};

template <class M, int kRows>
__attribute__((noinline)) void dense_tile(const float* a, const float* b, int64_t depth, PanelPrefetch& next,
                                          const float* from, int64_t from_stride, float* out, int64_t out_stride) {
  Vec acc[kRows][kDenseVecs];
  unroll<kRows * kDenseVecs>([&](auto i) MINICPM_BODY {
    constexpr int r = decltype(i)::value / kDenseVecs, v = decltype(i)::value % kDenseVecs;
    acc[r][v] = zero();
  });
  for (int64_t k = 0; k < depth; k += kDenseUnroll) {
    next.step();
    unroll<kDenseUnroll>([&](auto step) MINICPM_BODY {
      constexpr int kStep = decltype(step)::value;
      Vec w[kDenseVecs];
      unroll<kDenseVecs>([&](auto v) MINICPM_BODY {
        w[decltype(v)::value] = load(b + kStep * kDenseCols + decltype(v)::value * kLanes);
      });
      unroll<kRows>([&](auto row) MINICPM_BODY {
        constexpr int r = decltype(row)::value;
        const Vec x = set1(a[kStep * kRows + r]);
        unroll<kDenseVecs>([&](auto v) MINICPM_BODY {
          acc[r][decltype(v)::value] = M::run(acc[r][decltype(v)::value], w[decltype(v)::value], x);
        });
      });
    });
    a += kDenseUnroll * kRows;
    b += kDenseUnroll * kDenseCols;
  }
  unroll<kRows * kDenseVecs>([&](auto i) MINICPM_BODY {
    constexpr int r = decltype(i)::value / kDenseVecs, v = decltype(i)::value % kDenseVecs;
    store(out + r * out_stride + v * kLanes, load(from + r * from_stride + v * kLanes) + acc[r][v]);
  });
}

/// Sources of panel words: fill() writes words [word, word + count) of a weight row, f32 each.
template <class E>
struct PlainSource {
  MINICPM_INLINE int64_t words(int64_t k) { return k; }
  MINICPM_INLINE int64_t bytes(int64_t words) { return words * E::kBytes; }
  MINICPM_INLINE void fill(const uint8_t* w, int64_t, int64_t word, int64_t count, float* out) {
    w += word * E::kBytes;
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes)
      store(out + i, E::read(w + i * E::kBytes));
    if (i < count) store(out + i, E::read_rest(w + i * E::kBytes, count - i));
  }
};
template <class L>
struct BlockSource {
  MINICPM_INLINE int64_t words(int64_t k) { return k; }
  MINICPM_INLINE int64_t bytes(int64_t words) { return words / kBlockK * L::kBytes; }
  MINICPM_INLINE void fill(const uint8_t* w, int64_t k, int64_t word, int64_t count, float* out) {
    RowBlocks<L> weights(k);
    weights.set_row(w);
    for (int64_t i = 0; i < count; i += kBlockK)
      expand_block<L>(weights.block((word + i) / kBlockK), out + i);
  }
};

template <class Source>
MINICPM_INLINE void fill_panel(const ProductArgs& args, int64_t col, int64_t word, int64_t count, DensePanel& panel) {
  const int64_t padded = round_up(count, kSumLanes);
  for (int first = 0; first < kDenseCols; first += kSumLanes) {
    for (int c = 0; c < kSumLanes; ++c) {
      float* row = panel.rows + c * kDenseDepth;
      Source::fill(args.w + smaller(col + first + c, args.cols - 1) * args.w_stride, args.k, word, count, row);
      for (int64_t i = count; i < padded; ++i)
        row[i] = 0.0f;
    }
    for (int64_t k = 0; k < padded; k += kSumLanes) {
      Codes words[kSumLanes];
      unroll<kSumLanes>([&](auto c) MINICPM_BODY {
        words[decltype(c)::value] = load_codes(panel.rows + decltype(c)::value * kDenseDepth + k);
      });
      transpose(words);
      unroll<kSumLanes>([&](auto i) MINICPM_BODY {
        store_codes(panel.words + (k + decltype(i)::value) * kDenseCols + first, words[decltype(i)::value]);
      });
    }
  }
}

template <class Source, class M>
void gemm_dense(const ProductArgs& args) {
  auto& panel = *static_cast<DensePanel*>(args.scratch);
  TileOutput<kDenseCols, kDenseRows> t;
  const int64_t words = Source::words(args.k);
  const int64_t tiles = count_tiles(args.rows, kDenseRows);
  for (int64_t col = 0; col < args.cols; col += kDenseCols) {
    t.set_bias(args.bias != nullptr ? args.bias + col : nullptr, args.cols - col);
    for (int64_t word = 0; word < words; word += kDenseDepth) {
      const int64_t count = smaller<int64_t>(kDenseDepth, words - word);
      const int64_t depth = round_up(count, kDenseUnroll);
      const float* chunk = static_cast<const float*>(args.x) + word * args.rows;
      fill_panel<Source>(args, col, word, count, panel);
      const bool more = word + count < words;
      PanelPrefetch next(args.w + (more ? col : col + kDenseCols) * args.w_stride, args.w_stride, kDenseCols,
                         more ? Source::bytes(word + count) : 0, smaller(Source::bytes(kDenseDepth), args.w_stride),
                         (args.end_tile - args.first_tile) * depth / kDenseUnroll);
      for (int64_t tile = args.first_tile; tile < args.end_tile; ++tile) {
        const int64_t row = first_row(tile, args.rows, tiles);
        const int64_t rows = first_row(tile + 1, args.rows, tiles) - row;
        const float* a = chunk + row * depth;
        float* out = args.out + row * args.out_stride + col;
        run_tile(t, out, args.out_stride, rows, args.cols - col, word == 0,
                 [&](const float* from, int64_t from_stride, float* to, int64_t to_stride) MINICPM_BODY {
                   with_rows<kDenseRows>(rows, [&](auto r) MINICPM_BODY {
                     dense_tile<M, decltype(r)::value>(a, panel.words, depth, next, from, from_stride, to, to_stride);
                   });
                 });
      }
    }
  }
}

// ---- activations ---------------------------------------------------------------------------------------------------

/// Writes `count` words of each row of a tile where gemm_dense looks for them; row_words(row, word, count) gives
/// their address.
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
      const float* from = row_words(row + r, word, chunk);
      int64_t i = 0;
      for (; i < chunk; ++i)
        to[i * count + r] = from[i];
      for (; i < depth; ++i)
        to[i * count + r] = 0.0f;
    }
  }
}

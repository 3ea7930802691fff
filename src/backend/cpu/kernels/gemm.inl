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

// ---- int8 ----------------------------------------------------------------------------------------------------------

constexpr int kQ8Cols = kQ8Vecs * kSumLanes;
constexpr int kQ8ChunkGroups = 16;  // 512 weights: codes and scales of a panel stay in L1
// A group of 32 activations in a tile of R rows: 8 x R x 4 codes, then R each of: scale, scale * sum (f32), and the
// negated sums of both halves (int32).
constexpr int kQ8GroupBytes = 32 + 4 * 4;

/// How offsets and minima enter.
enum class Correction {
  kNone,
  kShift,  // codes are too large by 2^shift: sums start at -2^shift times the sum of the activations
  kMin,    // the minimum times the sum of the activations is added
};

struct alignas(64) Q8Panel {
  uint8_t codes[kQ8ChunkGroups * 32 * kQ8Cols];  // [k / 4][column][4]
  float d[kQ8ChunkGroups * 2 * kQ8Cols];         // [group][column]
  float m[kQ8ChunkGroups * 2 * kQ8Cols];
  float scales[2][kSumLanes][16];  // of one block of 256 of each column
};

template <int kRows, int kGroup, Correction kCorrection, bool kSignedCodes>
MINICPM_INLINE void q8_tile(const uint8_t* a, const Q8Panel& panel, int64_t groups, int shift, const float* from,
                            int64_t from_stride, float* out, int64_t out_stride) {
  constexpr int kHalves = 32 / kGroup;
  constexpr int kQuads = kGroup / 4;
  Sums total[kRows][kQ8Vecs];
  unroll<kRows * kQ8Vecs>([&](auto i) MINICPM_BODY {
    constexpr int r = decltype(i)::value / kQ8Vecs, v = decltype(i)::value % kQ8Vecs;
    total[r][v] = zero_sums();
  });
  const Codes shifts = set_codes(shift);
  const uint8_t* b = panel.codes;
  const float* d = panel.d;
  const float* m = panel.m;
  for (int64_t g = 0; g < groups; ++g) {
    const auto* a_scale = reinterpret_cast<const float*>(a + 32 * kRows);
    const float* a_sum = a_scale + kRows;
    const auto* a_half = reinterpret_cast<const int32_t*>(a_sum + kRows);
    unroll<kHalves>([&](auto h) MINICPM_BODY {
      constexpr int kHalf = decltype(h)::value;
      Codes acc[kRows][kQ8Vecs];
      unroll<kRows>([&](auto row) MINICPM_BODY {
        constexpr int r = decltype(row)::value;
        Codes start = zero_codes();
        if constexpr (kCorrection == Correction::kShift) {
          start = broadcast4(a_half + kHalf * kRows + r);
          if constexpr (kHalves == 1) start = add(start, broadcast4(a_half + kRows + r));
          start = shift_left(start, shifts);
        }
        unroll<kQ8Vecs>([&](auto v) MINICPM_BODY { acc[r][decltype(v)::value] = start; });
      });
      unroll<kQuads>([&](auto quad) MINICPM_BODY {
        constexpr int k = kHalf * kQuads + decltype(quad)::value;
        Codes w[kQ8Vecs];
        unroll<kQ8Vecs>([&](auto v) MINICPM_BODY {
          w[decltype(v)::value] = load_codes(b + (k * kQ8Vecs + decltype(v)::value) * kCodeLanes);
        });
        unroll<kRows>([&](auto row) MINICPM_BODY {
          constexpr int r = decltype(row)::value;
          const Codes x = broadcast4(a + (k * kRows + r) * 4);
          unroll<kQ8Vecs>([&](auto vec) MINICPM_BODY {
            constexpr int v = decltype(vec)::value;
            acc[r][v] = kSignedCodes ? dot_signed(acc[r][v], w[v], x) : dot(acc[r][v], w[v], x);
          });
        });
      });
      unroll<kRows * kQ8Vecs>([&](auto i) MINICPM_BODY {
        constexpr int r = decltype(i)::value / kQ8Vecs, v = decltype(i)::value % kQ8Vecs;
        const Sums scaled = to_float(acc[r][v]) * load_sums(d + (kHalf * kQ8Vecs + v) * kSumLanes);
        total[r][v] = fma(scaled, set_sums(a_scale[r]), total[r][v]);
      });
      if constexpr (kCorrection == Correction::kMin) {
        unroll<kRows>([&](auto row) MINICPM_BODY {
          constexpr int r = decltype(row)::value;
          Sums x = set_sums(a_sum[r]);
          if constexpr (kHalves == 2) {
            // The tile holds negated sums of the codes.
            x = to_float(broadcast4(a_half + kHalf * kRows + r)) * set_sums(-a_scale[r]);
          }
          unroll<kQ8Vecs>([&](auto vec) MINICPM_BODY {
            constexpr int v = decltype(vec)::value;
            total[r][v] = fma(load_sums(m + (kHalf * kQ8Vecs + v) * kSumLanes), x, total[r][v]);
          });
        });
      }
    });
    a += kQ8GroupBytes * kRows;
    b += 32 * kQ8Cols;
    d += kHalves * kQ8Cols;
    m += kHalves * kQ8Cols;
  }
  unroll<kRows * kQ8Vecs>([&](auto i) MINICPM_BODY {
    constexpr int r = decltype(i)::value / kQ8Vecs, v = decltype(i)::value % kQ8Vecs;
    store_sums(out + r * out_stride + v * kSumLanes, load_sums(from + r * from_stride + v * kSumLanes) + total[r][v]);
  });
}

/// One kernel per number of rows, shared by all formats of a kind.
template <int kRows, int kGroup, Correction kCorrection, bool kSignedCodes>
__attribute__((noinline)) void q8_tile_kernel(const uint8_t* a, const Q8Panel& panel, int64_t groups, int shift,
                                              const float* from, int64_t from_stride, float* out, int64_t out_stride) {
  q8_tile<kRows, kGroup, kCorrection, kSignedCodes>(a, panel, groups, shift, from, from_stride, out, out_stride);
}

/// Block `index` of kSumLanes weight rows: codes to columns `vec` of the panel at k = `k`.
template <class L>
MINICPM_INLINE void unpack_block(const uint8_t* const (&blocks)[kSumLanes], Q8Panel& panel, int k, int vec) {
  for (int c = 0; c < kSumLanes; ++c)
    L::scales(blocks[c], panel.scales[0][c], panel.scales[1][c]);
  unroll<kSteps>([&](auto step) MINICPM_BODY {
    constexpr int kStep = decltype(step)::value;
    Codes codes[kSumLanes];
    unroll<kSumLanes>([&](auto c) MINICPM_BODY {
      const Codes stored = L::template codes<kStep>(blocks[decltype(c)::value]);
      codes[decltype(c)::value] = L::kSigned && !kSignedPanels ? to_panel(stored) : stored;
    });
    transpose(codes);
    uint8_t* out = panel.codes + (static_cast<int64_t>(k / 4 + kStep * kSumLanes) * kQ8Vecs + vec) * kCodeLanes;
    unroll<kSumLanes>([&](auto i) MINICPM_BODY {
      store_codes(out + decltype(i)::value * kQ8Vecs * kCodeLanes, codes[decltype(i)::value]);
    });
  });
  constexpr int kGroupsPerBlock = kBlockK / L::kGroup;
  unroll<(L::kMin ? 2 : 1)>([&](auto which) MINICPM_BODY {
    constexpr int kWhich = decltype(which)::value;
    for (int first = 0; first < kGroupsPerBlock; first += kSumLanes) {
      Codes values[kSumLanes];
      unroll<kSumLanes>([&](auto c) MINICPM_BODY {
        values[decltype(c)::value] = load_codes(&panel.scales[kWhich][decltype(c)::value][first]);
      });
      transpose(values);
      float* out = (kWhich == 0 ? panel.d : panel.m) + (k / L::kGroup + first) * kQ8Cols + vec * kSumLanes;
      unroll<(kGroupsPerBlock < kSumLanes ? kGroupsPerBlock : kSumLanes)>(
          [&](auto i) MINICPM_BODY { store_codes(out + decltype(i)::value * kQ8Cols, values[decltype(i)::value]); });
    }
  });
}

/// Unpacks weights [k0, k0 + 32 groups) of kQ8Cols rows from `w`; rows beyond `cols` repeat the last one.
template <class L>
__attribute__((noinline)) void unpack_panel(const ProductArgs& args, int64_t col, int64_t k0, int64_t groups,
                                            Q8Panel& panel) {
  alignas(64) uint8_t tails[kSumLanes][L::kBytes];
  for (int vec = 0; vec < kQ8Vecs; ++vec) {
    for (int64_t done = 0; done < groups * 32; done += kBlockK) {
      const uint8_t* blocks[kSumLanes];
      for (int c = 0; c < kSumLanes; ++c) {
        const int64_t row = smaller(col + vec * kSumLanes + c, args.cols - 1);
        blocks[c] = args.w + row * args.w_stride + (k0 + done) / kBlockK * L::kBytes;
        if constexpr (L::kSmall) {
          const int64_t left = groups * 32 - done;
          if (left < kBlockK) {
            const int64_t bytes = left / 32 * (L::kBytes / 8);
            __builtin_memcpy(tails[c], blocks[c], static_cast<size_t>(bytes));
            __builtin_memset(tails[c] + bytes, 0, static_cast<size_t>(L::kBytes - bytes));
            blocks[c] = tails[c];
          }
        }
      }
      unpack_block<L>(blocks, panel, static_cast<int>(done), vec);
    }
  }
}

constexpr int log2_of(int x) {
  int bits = 0;
  while (x > 1) {
    x /= 2;
    ++bits;
  }
  return bits;
}

template <class L>
void gemm_q8(const ProductArgs& args) {
  constexpr bool kSignedCodes = L::kSigned && kSignedPanels;
  constexpr int kOffset = L::kOffset + (L::kSigned && !kSignedPanels ? kSignedOffset : 0);
  constexpr Correction kCorrection = L::kMin ? Correction::kMin : kOffset != 0 ? Correction::kShift : Correction::kNone;
  auto& panel = *static_cast<Q8Panel*>(args.scratch);
  TileOutput<kQ8Cols, kQ8Rows> t;
  const int64_t all_groups = args.k / 32;
  const int64_t tiles = count_tiles(args.rows, kQ8Rows);
  for (int64_t g0 = 0; g0 < all_groups; g0 += kQ8ChunkGroups) {
    const int64_t groups = smaller<int64_t>(kQ8ChunkGroups, all_groups - g0);
    const uint8_t* chunk = static_cast<const uint8_t*>(args.x) + g0 * args.rows * kQ8GroupBytes;
    for (int64_t col = 0; col < args.cols; col += kQ8Cols) {
      unpack_panel<L>(args, col, g0 * 32, groups, panel);
      t.set_bias(args.bias != nullptr ? args.bias + col : nullptr, args.cols - col);
      for (int64_t tile = 0; tile < tiles; ++tile) {
        const int64_t row = first_row(tile, args.rows, tiles);
        const int64_t rows = first_row(tile + 1, args.rows, tiles) - row;
        const uint8_t* a = chunk + row * groups * kQ8GroupBytes;
        float* out = args.out + row * args.out_stride + col;
        run_tile(t, out, args.out_stride, rows, args.cols - col, g0 == 0,
                 [&](const float* from, int64_t from_stride, float* to, int64_t to_stride) MINICPM_BODY {
                   with_rows<kQ8Rows>(rows, [&](auto r) MINICPM_BODY {
                     q8_tile_kernel<decltype(r)::value, L::kGroup, kCorrection, kSignedCodes>(
                         a, panel, groups, log2_of(kOffset), from, from_stride, to, to_stride);
                   });
                 });
      }
    }
  }
}

// ---- f32 and bf16 --------------------------------------------------------------------------------------------------

constexpr int kDenseCols = kDenseVecs * kLanes;
constexpr int kDenseDepth = 256;  // 32-bit words of k in a chunk: one f32 or two bf16 each
constexpr int kDenseUnroll = 4;   // chunks are filled up to a multiple of this with zeros
static_assert(kDenseCols % kSumLanes == 0);

struct alignas(64) DensePanel {
  float words[kDenseDepth * kDenseCols];  // [k][column]
  float rows[kSumLanes * kDenseDepth];    // of some columns as they were read
};

/// Two multiply-adds of the word pairs, or one.
struct MultiplyF32 {
  MINICPM_INLINE Vec run(Vec acc, Vec w, Vec x) { return fma(w, x, acc); }
};

template <class M, int kRows>
__attribute__((noinline)) void dense_tile(const float* a, const float* b, int64_t depth, const float* from,
                                          int64_t from_stride, float* out, int64_t out_stride) {
  Vec acc[kRows][kDenseVecs];
  unroll<kRows * kDenseVecs>([&](auto i) MINICPM_BODY {
    constexpr int r = decltype(i)::value / kDenseVecs, v = decltype(i)::value % kDenseVecs;
    acc[r][v] = zero();
  });
  for (int64_t k = 0; k < depth; k += kDenseUnroll) {
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
  MINICPM_INLINE void fill(const uint8_t* w, int64_t, int64_t word, int64_t count, float* out) {
    w += word * E::kBytes;
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes)
      store(out + i, E::read(w + i * E::kBytes, Whole{}));
    if (i < count) store(out + i, E::read(w + i * E::kBytes, First{static_cast<int>(count - i)}));
  }
};
template <class L>
struct BlockSource {
  MINICPM_INLINE int64_t words(int64_t k) { return k; }
  MINICPM_INLINE void fill(const uint8_t* w, int64_t k, int64_t word, int64_t, float* out) {
    static_assert(kDenseDepth == kBlockK);
    RowBlocks<L> weights(k);
    weights.set_row(w);
    expand_block<L>(weights.block(word / kBlockK), out);
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
  for (int64_t word = 0; word < words; word += kDenseDepth) {
    const int64_t count = smaller<int64_t>(kDenseDepth, words - word);
    const int64_t depth = round_up(count, kDenseUnroll);
    const float* chunk = static_cast<const float*>(args.x) + word * args.rows;
    for (int64_t col = 0; col < args.cols; col += kDenseCols) {
      fill_panel<Source>(args, col, word, count, panel);
      t.set_bias(args.bias != nullptr ? args.bias + col : nullptr, args.cols - col);
      for (int64_t tile = 0; tile < tiles; ++tile) {
        const int64_t row = first_row(tile, args.rows, tiles);
        const int64_t rows = first_row(tile + 1, args.rows, tiles) - row;
        const float* a = chunk + row * depth;
        float* out = args.out + row * args.out_stride + col;
        run_tile(t, out, args.out_stride, rows, args.cols - col, word == 0,
                 [&](const float* from, int64_t from_stride, float* to, int64_t to_stride) MINICPM_BODY {
                   with_rows<kDenseRows>(rows, [&](auto r) MINICPM_BODY {
                     dense_tile<M, decltype(r)::value>(a, panel.words, depth, from, from_stride, to, to_stride);
                   });
                 });
      }
    }
  }
}

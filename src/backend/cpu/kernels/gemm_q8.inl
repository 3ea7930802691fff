// Products of many rows of int8 activations with block formats. Included after gemm_common.inl. The ISA defines kQ8Vecs
// and kQ8Rows: the columns of a panel in vectors and the rows of a tile, such that the sums of a tile fit into the
// registers twice, as int32 and as f32.

constexpr int kQ8Cols = kQ8Vecs * kSumLanes;
constexpr int kQ8ChunkGroups = 128;  // 512 weights: codes and scales of a panel stay in L1
// A group of 32 activations in a tile of R rows: 8 x R x 4 codes, then R each of: scale, scale * sum of the codes
// (f32), negated sum of the codes, negated sum of the first 16 codes (int32).
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
  uint8_t rows[kSumLanes][kBlockK];  // codes on their way to the panel
};

/// The negated sum of a group of 32 (kHalves 1) or of half of it, from those in a tile.
template <int kHalves, int kHalf>
MINICPM_INLINE Codes negated_sum(const int32_t* sums, int rows) {
  if constexpr (kHalves == 1) return broadcast4(sums);
  if constexpr (kHalf == 0) return broadcast4(sums + rows);
  return subtract(broadcast4(sums), broadcast4(sums + rows));
}

template <int kRows, int kGroup, Correction kCorrection, bool kSignedCodes>
MINICPM_INLINE void q8_tile(const uint8_t* a, const Q8Panel& panel, int64_t groups, int shift, PanelPrefetch& next,
                            const float* from, int64_t from_stride, float* out, int64_t out_stride) {
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
    next.step();
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
          start = shift_left(negated_sum<kHalves, kHalf>(a_half + r, kRows), shifts);
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
            x = to_float(negated_sum<kHalves, kHalf>(a_half + r, kRows)) * set_sums(-a_scale[r]);
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
                                              PanelPrefetch& next, const float* from, int64_t from_stride, float* out,
                                              int64_t out_stride) {
  q8_tile<kRows, kGroup, kCorrection, kSignedCodes>(a, panel, groups, shift, next, from, from_stride, out, out_stride);
}

/// The codes of kSumLanes rows of 256 weights to a panel: four of a row become one lane.
__attribute__((noinline)) void interleave_codes(const uint8_t (&rows)[kSumLanes][kBlockK], uint8_t* out) {
  for (int step = 0; step < kSteps; ++step) {
    Codes codes[kSumLanes];
    unroll<kSumLanes>([&](auto c) MINICPM_BODY {
      codes[decltype(c)::value] = load_codes(rows[decltype(c)::value] + step * kCodeLanes);
    });
    transpose(codes);
    unroll<kSumLanes>([&](auto i) MINICPM_BODY {
      store_codes(out + decltype(i)::value * kQ8Vecs * kCodeLanes, codes[decltype(i)::value]);
    });
    out += kSumLanes * kQ8Vecs * kCodeLanes;
  }
}

/// 256 weights of kSumLanes rows to column vector `vec` of the panel at `k`.
template <class L>
void unpack_blocks(const uint8_t* const (&blocks)[kSumLanes], Q8Panel& panel, int64_t k, int vec) {
  for (int c = 0; c < kSumLanes; ++c) {
    store_block_codes<L, true>(blocks[c], panel.rows[c]);
  }
  interleave_codes(panel.rows, panel.codes + k * kQ8Cols + vec * kCodeLanes);
  const int64_t scale = k / L::kGroup * kQ8Cols + vec * kSumLanes;
  L::panel_scales(blocks, panel.d + scale, panel.m + scale, kQ8Cols);
}

/// Plain weights in place of a block format: they become codes on their way to the panel, as activations do.
template <class E>
struct QuantizedPlain {
  static constexpr int kBytes = kBlockK * E::kBytes;
  static constexpr int kGroup = 32;
  static constexpr bool kSigned = true;
  static constexpr int kOffset = 0;
  static constexpr bool kMin = false;
};

/// `count` weights, at most 256, and zeros behind them.
template <class E>
MINICPM_INLINE void read_plain(const uint8_t* w, int64_t count, float* out) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    store(out + i, E::read(w + i * E::kBytes));
  if (i < count) {
    store(out + i, E::read_rest(w + i * E::kBytes, count - i));
    i += kLanes;
  }
  for (; i < kBlockK; i += kLanes)
    store(out + i, zero());
}

/// Brings weights [k0, k0 + 32 groups) of kQ8Cols rows into the panel; rows beyond `cols` repeat the last one.
template <class E>
__attribute__((noinline)) void unpack_panel(QuantizedPlain<E>, const ProductArgs& args, int64_t col, int64_t k0,
                                            int64_t groups, Q8Panel& panel) {
  for (int vec = 0; vec < kQ8Vecs; ++vec) {
    for (int64_t done = 0; done < groups * 32; done += kBlockK) {
      float* scales = panel.d + done / 32 * kQ8Cols + vec * kSumLanes;
      for (int c = 0; c < kSumLanes; ++c) {
        alignas(64) float weights[kBlockK];
        const int64_t row = smaller(col + vec * kSumLanes + c, args.cols - 1);
        const int64_t first = k0 + done;
        read_plain<E>(args.w + row * args.w_stride + first * E::kBytes, smaller<int64_t>(kBlockK, args.k - first),
                      weights);
        for (int g = 0; g < kBlockK / 32; ++g) {
          int32_t sums[2];
          scales[g * kQ8Cols + c] =
              quantize_group(weights + 32 * g, reinterpret_cast<int8_t*>(panel.rows[c]) + 32 * g, sums);
        }
        if constexpr (!kSignedPanels) {
          for (int i = 0; i < kBlockK; i += kCodeLanes)
            store_codes(panel.rows[c] + i, to_panel(load_codes(panel.rows[c] + i)));
        }
      }
      interleave_codes(panel.rows, panel.codes + done * kQ8Cols + vec * kCodeLanes);
    }
  }
}
template <class L>
__attribute__((noinline)) void unpack_panel(L, const ProductArgs& args, int64_t col, int64_t k0, int64_t groups,
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
      unpack_blocks<L>(blocks, panel, done, vec);
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
  const int64_t all_groups = (args.k + 31) / 32;
  const int64_t tiles = count_tiles(args.rows, kQ8Rows);
  for (int64_t col = 0; col < args.cols; col += kQ8Cols) {
    t.set_bias(args.bias != nullptr ? args.bias + col : nullptr, args.cols - col);
    for (int64_t g0 = 0; g0 < all_groups; g0 += kQ8ChunkGroups) {
      const int64_t groups = smaller<int64_t>(kQ8ChunkGroups, all_groups - g0);
      const uint8_t* chunk = static_cast<const uint8_t*>(args.x) + g0 * args.rows * kQ8GroupBytes;
      unpack_panel(L{}, args, col, g0 * 32, groups, panel);
      const bool more = g0 + groups < all_groups;
      constexpr int64_t kChunkBytes = kQ8ChunkGroups * 32 / kBlockK * L::kBytes;
      PanelPrefetch next(args.w + (more ? col : col + kQ8Cols) * args.w_stride, args.w_stride, kQ8Cols,
                         more ? (g0 + groups) * 32 * L::kBytes / kBlockK : 0,
                         kChunkBytes < args.w_stride ? kChunkBytes : args.w_stride, (args.end_tile - args.first_tile) * groups);
      for (int64_t tile = args.first_tile; tile < args.end_tile; ++tile) {
        const int64_t row = first_row(tile, args.rows, tiles);
        const int64_t rows = first_row(tile + 1, args.rows, tiles) - row;
        const uint8_t* a = chunk + row * groups * kQ8GroupBytes;
        float* out = args.out + row * args.out_stride + col;
        run_tile(t, out, args.out_stride, rows, args.cols - col, g0 == 0,
                 [&](const float* from, int64_t from_stride, float* to, int64_t to_stride) MINICPM_BODY {
                   with_rows<kQ8Rows>(rows, [&](auto r) MINICPM_BODY {
                     q8_tile_kernel<decltype(r)::value, L::kGroup, kCorrection, kSignedCodes>(
                         a, panel, groups, log2_of(kOffset), next, from, from_stride, to, to_stride);
                   });
                 });
      }
    }
  }
}

// ---- activations ---------------------------------------------------------------------------------------------------

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
  return (k + 31) / 32 * kQ8GroupBytes;
}
void q8_tile_of(const float* x, int64_t x_stride, int64_t k, int64_t rows, int64_t tile, void* out) {
  const int64_t tiles = count_tiles(rows, kQ8Rows);
  const int64_t row = first_row(tile, rows, tiles);
  const int64_t count = first_row(tile + 1, rows, tiles) - row;
  const int64_t groups = (k + 31) / 32;
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t g0 = g / kQ8ChunkGroups * kQ8ChunkGroups;
    const int64_t chunk_groups = smaller<int64_t>(kQ8ChunkGroups, groups - g0);
    const int64_t left = k - g * 32;
    uint8_t* chunk = static_cast<uint8_t*>(out) + g0 * rows * kQ8GroupBytes;
    uint8_t* group = chunk + (row * chunk_groups + (g - g0) * count) * kQ8GroupBytes;
    auto* scales = reinterpret_cast<float*>(group + 32 * count);
    auto* negated = reinterpret_cast<int32_t*>(scales + 2 * count);
    for (int64_t r = 0; r < count; ++r) {
      alignas(32) int8_t codes[32];
      int32_t sums[2];
      const float* from = x + (row + r) * x_stride + g * 32;
      alignas(64) float filled_up[32] = {};
      if (left < 32) {
        __builtin_memcpy(filled_up, from, static_cast<size_t>(left) * sizeof(float));
        from = filled_up;
      }
      const float d = quantize_group(from, codes, sums);
      for (int64_t quad = 0; quad < 8; ++quad)
        __builtin_memcpy(group + (quad * count + r) * 4, codes + quad * 4, 4);
      scales[r] = d;
      scales[count + r] = d * static_cast<float>(sums[0] + sums[1]);
      negated[r] = -(sums[0] + sums[1]);
      negated[count + r] = -sums[0];
    }
  }
}

// Products of few rows of activations with block formats: the weights are read once, in the order in which they lie in
// memory. Included after linear_common.inl.

// ---- block formats, int8 activations -------------------------------------------------------------------------------

constexpr int kRowsAtOnce = 4;  // three sums of each fit into 16 registers; AVX2 spills some

/// Three sums per row that become one at the end: products of even and odd steps, and those of offsets or minima.
struct BlockSums {
  Sums even, odd, mins;
};

/// What the codes seen by the dot product are too large by.
template <class L>
constexpr int kCodeOffset = L::kOffset + (L::kSigned ? kSignedOffset : 0);

template <class L>
MINICPM_INLINE void add_block(BlockSums& sums, const Codes (&codes)[kSteps], const float* d, const float* m,
                              const ActBlock& x) {
  alignas(64) float scales[16];
  multiply_scales<L::kGroup>(scales, d, L::kGroup == 32 ? x.d : x.d16);
  unroll<kSteps>([&](auto step) MINICPM_BODY {
    constexpr int kStep = decltype(step)::value;
    const Codes a = load_codes(x.q + kStep * kCodeLanes);
    const Codes products = L::kSigned ? dot_signed(zero_codes(), codes[kStep], a) : dot(zero_codes(), codes[kStep], a);
    Sums& acc = kStep % 2 == 0 ? sums.even : sums.odd;
    acc = fma(to_float(products), spread<L::kGroup>(scales, kStep), acc);
  });
  if constexpr (L::kMin || kCodeOffset<L> != 0) {
    sums.mins = add_scales<L::kGroup>(sums.mins, L::kMin ? m : d, L::kGroup == 32 ? x.sum : x.sum16);
  }
}

template <class L>
MINICPM_INLINE float total(const BlockSums& sums) {
  const float products = sum(sums.even + sums.odd);
  if constexpr (L::kMin) return products + sum(sums.mins);
  if constexpr (kCodeOffset<L> != 0) return products - static_cast<float>(kCodeOffset<L>) * sum(sums.mins);
  return products;
}

template <class L>
MINICPM_INLINE void load_block(const uint8_t* block, Codes (&codes)[kSteps], float* d, float* m) {
  for (int i = 0; i < L::kBytes; i += 64)
    __builtin_prefetch(block + kPrefetchBytes + i);
  L::scales(block, d, m);
  unroll<kSteps>([&](auto step)
                     MINICPM_BODY { codes[decltype(step)::value] = L::template codes<decltype(step)::value>(block); });
}

/// One column for kRows rows of activations, whose sums stay in registers. A row's result does not depend on the
/// others.
template <class L, int kRows>
MINICPM_INLINE void gemv_q8_column(const ProductArgs& args, const RowBlocks<L>& weights, int64_t first_row,
                                   float* out) {
  alignas(64) float d[16], m[16];
  const uint8_t* x = static_cast<const uint8_t*>(args.x) + first_row * args.x_stride;
  BlockSums sums[kRows];
  unroll<kRows>([&](auto r) MINICPM_BODY { sums[decltype(r)::value] = {zero_sums(), zero_sums(), zero_sums()}; });
  for (int64_t i = 0; i < weights.count(); ++i, x += sizeof(ActBlock)) {
    Codes codes[kSteps];
    load_block<L>(weights.block(i), codes, d, m);
    unroll<kRows>([&](auto row) MINICPM_BODY {
      constexpr int r = decltype(row)::value;
      add_block<L>(sums[r], codes, d, m, *reinterpret_cast<const ActBlock*>(x + r * args.x_stride));
    });
  }
  unroll<kRows>([&](auto row) MINICPM_BODY {
    constexpr int r = decltype(row)::value;
    out[(first_row + r) * args.out_stride] = total<L>(sums[r]);
  });
}

/// Rows come kRowsAtOnce at a time: after the first ones a column's weights are in the L1 cache.
template <class L, int kRows>
void gemv_q8_columns(const ProductArgs& args) {
  RowBlocks<L> weights(args.k);
  for (int64_t col = 0; col < args.cols; ++col) {
    weights.set_row(args.w + col * args.w_stride);
    float* out = args.out + col;
    int64_t row = 0;
    for (; row + kRowsAtOnce <= args.rows; row += kRowsAtOnce)
      gemv_q8_column<L, kRowsAtOnce>(args, weights, row, out);
    if constexpr (kRows > 0) gemv_q8_column<L, kRows>(args, weights, row, out);
    if (args.bias == nullptr) continue;
    for (row = 0; row < args.rows; ++row)
      out[row * args.out_stride] += args.bias[col];
  }
}

template <class L>
void gemv_q8(const ProductArgs& args) {
  static_assert(kRowsAtOnce == 4);
  switch (args.rows % kRowsAtOnce) {
    case 0:
      return gemv_q8_columns<L, 0>(args);
    case 1:
      return gemv_q8_columns<L, 1>(args);
    case 2:
      return gemv_q8_columns<L, 2>(args);
    default:
      return gemv_q8_columns<L, 3>(args);
  }
}

// ---- block formats, f32 activations --------------------------------------------------------------------------------

template <class L>
void gemv_block_f32(const ProductArgs& args) {
  constexpr int kChains = 4;
  alignas(64) float w[kBlockK];
  Vec sums[kMaxGemvRows];
  RowBlocks<L> weights(args.k);
  for (int64_t col = 0; col < args.cols; ++col) {
    weights.set_row(args.w + col * args.w_stride);
    for (int64_t r = 0; r < args.rows; ++r)
      sums[r] = zero();
    for (int64_t i = 0; i < weights.count(); ++i) {
      expand_block<L>(weights.block(i), w);
      const int64_t values = smaller<int64_t>(kBlockK, args.k - i * kBlockK);  // a multiple of 32
      for (int64_t r = 0; r < args.rows; ++r) {
        const float* x = static_cast<const float*>(args.x) + r * (args.x_stride / 4) + i * kBlockK;
        Vec chain[kChains] = {zero(), zero(), zero(), zero()};
        for (int64_t k = 0; k < values; k += 32) {
          unroll<32 / kLanes>([&](auto part) MINICPM_BODY {
            constexpr int kPart = decltype(part)::value;
            chain[kPart % kChains] =
                fma(load(w + k + kPart * kLanes), load(x + k + kPart * kLanes), chain[kPart % kChains]);
          });
        }
        sums[r] = sums[r] + ((chain[0] + chain[1]) + (chain[2] + chain[3]));
      }
    }
    const float bias = args.bias != nullptr ? args.bias[col] : 0.0f;
    for (int64_t r = 0; r < args.rows; ++r)
      args.out[r * args.out_stride + col] = sum(sums[r]) + bias;
  }
}

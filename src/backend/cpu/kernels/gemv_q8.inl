// Products of few rows of activations with block formats: the weights are read once, in the order in which they lie in
// memory. Included after linear_common.inl.

// ---- block formats, int8 activations -------------------------------------------------------------------------------

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

template <class L>
void gemv_q8_one(const ProductArgs& args) {
  alignas(64) float d[16], m[16];
  const auto* x = static_cast<const ActBlock*>(args.x);
  RowBlocks<L> weights(args.k);
  for (int64_t col = 0; col < args.cols; ++col) {
    weights.set_row(args.w + col * args.w_stride);
    BlockSums sums = {zero_sums(), zero_sums(), zero_sums()};
    for (int64_t i = 0; i < weights.count(); ++i) {
      Codes codes[kSteps];
      load_block<L>(weights.block(i), codes, d, m);
      add_block<L>(sums, codes, d, m, x[i]);
    }
    args.out[col] = total<L>(sums) + (args.bias != nullptr ? args.bias[col] : 0.0f);
  }
}

template <class L>
void gemv_q8_many(const ProductArgs& args) {
  alignas(64) float d[16], m[16];
  BlockSums sums[kMaxGemvRows];
  RowBlocks<L> weights(args.k);
  for (int64_t col = 0; col < args.cols; ++col) {
    weights.set_row(args.w + col * args.w_stride);
    for (int64_t r = 0; r < args.rows; ++r)
      sums[r] = {zero_sums(), zero_sums(), zero_sums()};
    for (int64_t i = 0; i < weights.count(); ++i) {
      Codes codes[kSteps];
      load_block<L>(weights.block(i), codes, d, m);
      for (int64_t r = 0; r < args.rows; ++r) {
        const auto* x = reinterpret_cast<const ActBlock*>(static_cast<const uint8_t*>(args.x) + r * args.x_stride);
        add_block<L>(sums[r], codes, d, m, x[i]);
      }
    }
    const float bias = args.bias != nullptr ? args.bias[col] : 0.0f;
    for (int64_t r = 0; r < args.rows; ++r)
      args.out[r * args.out_stride + col] = total<L>(sums[r]) + bias;
  }
}

/// Requires 1 <= rows <= kMaxGemvRows.
template <class L>
void gemv_q8(const ProductArgs& args) {
  if (args.rows == 1) {
    gemv_q8_one<L>(args);
  } else {
    gemv_q8_many<L>(args);
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

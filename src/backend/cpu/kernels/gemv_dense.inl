// Products of few rows of activations with plain formats: the weights are read once, in the order in which they lie in
// memory. Included after linear_common.inl.

/// Element types of plain weights, read as 32-bit words: one f32 each, or a pair of bf16.
struct PlainF32 {
  static constexpr int kBytes = 4;     // of an element
  static constexpr int kElements = 1;  // in a word
  MINICPM_INLINE Vec read(const uint8_t* p) { return load(reinterpret_cast<const float*>(p)); }
  /// Fewer elements than fill a vector.
  MINICPM_INLINE Vec read_rest(const uint8_t* p, int64_t elements) {
    return load(reinterpret_cast<const float*>(p), First{static_cast<int>(elements)});
  }
};
struct PlainF16 {
  static constexpr int kBytes = 2;
  static constexpr int kElements = 1;
  MINICPM_INLINE Vec read(const uint8_t* p) { return load_f16(reinterpret_cast<const uint16_t*>(p)); }
  MINICPM_INLINE Vec read_rest(const uint8_t* p, int64_t elements) {
    return load_f16(reinterpret_cast<const uint16_t*>(p), First{static_cast<int>(elements)});
  }
};
struct PlainBF16 {
  static constexpr int kBytes = 2;
  static constexpr int kElements = 1;
  MINICPM_INLINE Vec read(const uint8_t* p) { return load_bf16(reinterpret_cast<const uint16_t*>(p)); }
  MINICPM_INLINE Vec read_rest(const uint8_t* p, int64_t elements) {
    return load_bf16(reinterpret_cast<const uint16_t*>(p), First{static_cast<int>(elements)});
  }
};

/// One weight row times kRows rows of activations, `x_stride` words apart.
template <class E, class M, int kRows>
MINICPM_INLINE void dense_dots(const uint8_t* w, const float* x, int64_t x_stride, int64_t k, float* dots) {
  constexpr int kChains = 4;
  constexpr int kVectorBytes = kLanes * E::kElements * E::kBytes;
  Vec acc[kRows][kChains];
  unroll<kRows * kChains>(
      [&](auto i) MINICPM_BODY { acc[decltype(i)::value / kChains][decltype(i)::value % kChains] = zero(); });
  int64_t left = k;
  constexpr int kVectorElements = kLanes * E::kElements;
  for (; left >= kChains * kVectorElements; left -= kChains * kVectorElements) {
    for (int byte = 0; byte < kChains * kVectorBytes; byte += 64)
      __builtin_prefetch(w + kPrefetchBytes + byte);
    unroll<kChains>([&](auto chain) MINICPM_BODY {
      constexpr int kChain = decltype(chain)::value;
      const Vec weight = E::read(w + kChain * kVectorBytes);
      unroll<kRows>([&](auto row) MINICPM_BODY {
        constexpr int kRow = decltype(row)::value;
        acc[kRow][kChain] = M::run(acc[kRow][kChain], weight, load(x + kRow * x_stride + kChain * kLanes));
      });
    });
    w += kChains * kVectorBytes;
    x += kChains * kLanes;
  }
  for (; left > 0; left -= kVectorElements) {
    const bool whole = left >= kVectorElements;
    const First words = {static_cast<int>((left + E::kElements - 1) / E::kElements)};
    const Vec weight = whole ? E::read(w) : E::read_rest(w, left);
    unroll<kRows>([&](auto row) MINICPM_BODY {
      constexpr int kRow = decltype(row)::value;
      const float* p = x + kRow * x_stride;
      acc[kRow][0] = M::run(acc[kRow][0], weight, whole || words.count == kLanes ? load(p) : load(p, words));
    });
    w += kVectorBytes;
    x += kLanes;
  }
  unroll<kRows>([&](auto row) MINICPM_BODY {
    constexpr int kRow = decltype(row)::value;
    dots[kRow] = sum((acc[kRow][0] + acc[kRow][1]) + (acc[kRow][2] + acc[kRow][3]));
  });
}

/// Requires 1 <= rows <= kMaxGemvRows. Four rows at a time.
template <class E, class M>
void gemv_dense(const ProductArgs& args) {
  const int64_t x_stride = args.x_stride / 4;
  float dots[kMaxGemvRows];
  for (int64_t col = 0; col < args.cols; ++col) {
    const uint8_t* w = args.w + col * args.w_stride;
    const auto* x = static_cast<const float*>(args.x);
    int64_t r = 0;
    for (; r + 4 <= args.rows; r += 4)
      dense_dots<E, M, 4>(w, x + r * x_stride, x_stride, args.k, dots + r);
    if (args.rows - r == 3) dense_dots<E, M, 3>(w, x + r * x_stride, x_stride, args.k, dots + r);
    if (args.rows - r == 2) dense_dots<E, M, 2>(w, x + r * x_stride, x_stride, args.k, dots + r);
    if (args.rows - r == 1) dense_dots<E, M, 1>(w, x + r * x_stride, x_stride, args.k, dots + r);
    const float bias = args.bias != nullptr ? args.bias[col] : 0.0f;
    for (r = 0; r < args.rows; ++r)
      args.out[r * args.out_stride + col] = dots[r] + bias;
  }
}

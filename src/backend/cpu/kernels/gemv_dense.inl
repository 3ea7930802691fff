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

/// kCols weight rows times kRows rows of activations, `x_stride` words apart: dots[row * kCols + col]. Every pair has
/// the same two chains of sums, so its result does not depend on kCols and kRows.
template <class E, class M, int kCols, int kRows>
MINICPM_INLINE void dense_dots(const uint8_t* w, int64_t w_stride, const float* x, int64_t x_stride, int64_t k,
                               float* dots) {
  constexpr int kChains = 2;
  constexpr int kVectorElements = kLanes * E::kElements;
  constexpr int kVectorBytes = kVectorElements * E::kBytes;
  Vec acc[kRows][kCols][kChains];
  unroll<kRows * kCols>([&](auto i) MINICPM_BODY {
    constexpr int r = decltype(i)::value / kCols, c = decltype(i)::value % kCols;
    acc[r][c][0] = acc[r][c][1] = zero();
  });
  auto add_products = [&](auto chain, auto read_weights, auto read_x) MINICPM_BODY {
    constexpr int kChain = decltype(chain)::value;
    Vec weights[kCols];
    unroll<kCols>([&](auto col) MINICPM_BODY {
      weights[decltype(col)::value] = read_weights(w + decltype(col)::value * w_stride);
    });
    unroll<kRows>([&](auto row) MINICPM_BODY {
      constexpr int r = decltype(row)::value;
      const Vec xr = read_x(x + r * x_stride);
      unroll<kCols>([&](auto col) MINICPM_BODY {
        constexpr int c = decltype(col)::value;
        acc[r][c][kChain] = M::run(acc[r][c][kChain], weights[c], xr);
      });
    });
    w += kVectorBytes;
    x += kLanes;
  };
  auto read_whole = [](const uint8_t* p) MINICPM_BODY { return E::read(p); };
  auto read_whole_x = [](const float* p) MINICPM_BODY { return load(p); };
  int64_t left = k;
  for (; left >= kChains * kVectorElements; left -= kChains * kVectorElements) {
    unroll<kCols>([&](auto col) MINICPM_BODY {
      for (int byte = 0; byte < kChains * kVectorBytes; byte += 64)
        __builtin_prefetch(w + decltype(col)::value * w_stride + kPrefetchBytes + byte);
    });
    add_products(Int<0>{}, read_whole, read_whole_x);
    add_products(Int<1>{}, read_whole, read_whole_x);
  }
  if (left >= kVectorElements) {
    add_products(Int<0>{}, read_whole, read_whole_x);
    left -= kVectorElements;
  }
  if (left > 0) {
    const First words = {static_cast<int>((left + E::kElements - 1) / E::kElements)};
    add_products(
        Int<1>{}, [left](const uint8_t* p) MINICPM_BODY { return E::read_rest(p, left); },
        [words](const float* p) MINICPM_BODY { return words.count == kLanes ? load(p) : load(p, words); });
  }
  unroll<kRows * kCols>([&](auto i) MINICPM_BODY {
    constexpr int r = decltype(i)::value / kCols, c = decltype(i)::value % kCols;
    dots[r * kCols + c] = sum(acc[r][c][0] + acc[r][c][1]);
  });
}

/// kCols columns of kRows rows, from column `col` and row `row` on.
template <class E, class M, int kCols, int kRows>
MINICPM_INLINE void dense_block(const ProductArgs& args, int64_t col, int64_t row) {
  const int64_t x_stride = args.x_stride / 4;
  float dots[kRows * kCols];
  dense_dots<E, M, kCols, kRows>(args.w + col * args.w_stride, args.w_stride,
                                 static_cast<const float*>(args.x) + row * x_stride, x_stride, args.k, dots);
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t c = 0; c < kCols; ++c) {
      const float bias = args.bias != nullptr ? args.bias[col + c] : 0.0f;
      args.out[(row + r) * args.out_stride + col + c] = dots[r * kCols + c] + bias;
    }
  }
}

/// One or two rows of activations stay in L1 and the weights are one stream; with more, two columns share each vector
/// of activations.
template <class E, class M>
void gemv_dense(const ProductArgs& args) {
  for (int64_t row = 0; row < args.rows;) {
    const int64_t left = args.rows - row;
    const int64_t rows = left == 4 ? 2 : left < 3 ? left : 3;
    int64_t col = 0;
    for (; rows == 3 && col + 2 <= args.cols; col += 2)
      dense_block<E, M, 2, 3>(args, col, row);
    for (; col < args.cols; ++col) {
      if (rows == 3) dense_block<E, M, 1, 3>(args, col, row);
      if (rows == 2) dense_block<E, M, 1, 2>(args, col, row);
      if (rows == 1) dense_block<E, M, 1, 1>(args, col, row);
    }
    row += rows;
  }
}

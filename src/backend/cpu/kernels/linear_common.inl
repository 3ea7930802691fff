// Pieces of all drivers of the matrix products. Included inside the anonymous namespace of an ISA file.

/// body(Int<0>), ..., body(Int<kCount - 1>): a loop whose index is a constant from the start, so that arrays indexed by
/// it stay in registers (GCC 12 spills arrays whose indices become constant only when a loop is unrolled).
template <int kValue>
struct Int {
  static constexpr int value = kValue;
};
template <int kCount, int kFirst = 0, class Body>
MINICPM_INLINE void unroll(Body&& body) {
  if constexpr (kFirst < kCount) {
    body(Int<kFirst>{});
    unroll<kCount, kFirst + 1>(body);
  }
}
/// Lambdas given to `unroll` must be part of the caller's body, whatever their size.
#define MINICPM_BODY __attribute__((always_inline))

constexpr int kSteps = kBlockK / kCodeLanes;  // code vectors in a block
constexpr int kParts = kCodeLanes / kLanes;   // float vectors in a code vector
constexpr int kMaxGemvRows = 16;
constexpr int kPrefetchBytes = 4096;  // the distance at which gemv reaches the memory bandwidth

template <class T>
MINICPM_INLINE T smaller(T a, T b) {
  return a < b ? a : b;
}
MINICPM_INLINE int64_t round_up(int64_t a, int64_t b) {
  return (a + b - 1) / b * b;
}

/// The weights of one row as blocks of 256. The last block may be short for formats with small blocks: it is copied and
/// filled up with zero bytes, which are blocks of zeros.
template <class L>
struct RowBlocks {
  alignas(64) uint8_t tail[L::kBytes];
  const uint8_t* row = nullptr;
  int64_t whole;
  int64_t rest_bytes;

  explicit RowBlocks(int64_t k) : whole(k / kBlockK), rest_bytes(k % kBlockK / 32 * (L::kBytes / 8)) {
    if constexpr (L::kSmall) __builtin_memset(tail, 0, sizeof(tail));
  }
  void set_row(const uint8_t* w) {
    row = w;
    if constexpr (L::kSmall) {
      if (rest_bytes != 0) __builtin_memcpy(tail, w + whole * L::kBytes, static_cast<size_t>(rest_bytes));
    }
  }
  int64_t count() const { return whole + (rest_bytes != 0 ? 1 : 0); }
  const uint8_t* block(int64_t i) const { return i < whole ? row + i * L::kBytes : tail; }
};

/// How two words are multiplied and added.
struct MultiplyF32 {
  MINICPM_INLINE Vec run(Vec acc, Vec w, Vec x) { return fma(w, x, acc); }
};

/// The 256 codes of a block, in order. Signed ones as they are, or as the panels want them.
template <class L, bool kForPanel>
MINICPM_INLINE void store_block_codes(const uint8_t* block, uint8_t* out) {
  unroll<kSteps>([&](auto step) MINICPM_BODY {
    constexpr int kStep = decltype(step)::value;
    const Codes codes = L::template codes<kStep>(block);
    store_codes(out + kStep * kCodeLanes, kForPanel && L::kSigned && !kSignedPanels ? to_panel(codes) : codes);
  });
}

/// weight = d * (code - offset) + m for 256 codes.
template <int kGroup, bool kSigned>
__attribute__((noinline)) void expand_codes(const uint8_t* codes, const float* d, const float* m, float offset,
                                            float* out) {
  for (int step = 0; step < kSteps; ++step) {
    const Codes c = load_codes(codes + step * kCodeLanes);
    unroll<kParts>([&](auto part) MINICPM_BODY {
      const int first = step * kCodeLanes + decltype(part)::value * kLanes;
      const Vec code = widen<kSigned>(c, decltype(part)::value) - set1(offset);
      store(out + first, fma(code, set1(d[first / kGroup]), set1(m[first / kGroup])));
    });
  }
}

/// 256 weights as f32.
template <class L>
void expand_block(const uint8_t* block, float* out) {
  alignas(64) uint8_t codes[kBlockK];
  alignas(64) float d[16], m[16] = {};
  store_block_codes<L, false>(block, codes);
  L::scales(block, d, m);
  expand_codes<L::kGroup, L::kSigned>(codes, d, m, static_cast<float>(L::kOffset), out);
}

// The number formats of a KV cache: how rows of it are written, and how attention reads them. Included by
// isa_<isa>.cc after elementwise.inl, inside namespace minicpm::cpu::<isa>.

struct RowsF32 {
  MINICPM_INLINE int64_t bytes(int64_t n) { return 4 * n; }
  template <typename Part>
  MINICPM_INLINE Vec read(const char* row, int64_t i, Part part) {
    return load(reinterpret_cast<const float*>(row) + i, part);
  }
  template <typename Part>
  MINICPM_INLINE void write(char* row, int64_t i, Vec x, Part part) {
    store(reinterpret_cast<float*>(row) + i, x, part);
  }
};

struct RowsF16 {
  MINICPM_INLINE int64_t bytes(int64_t n) { return 2 * n; }
  template <typename Part>
  MINICPM_INLINE Vec read(const char* row, int64_t i, Part part) {
    return load_f16(reinterpret_cast<const uint16_t*>(row) + i, part);
  }
  template <typename Part>
  MINICPM_INLINE void write(char* row, int64_t i, Vec x, Part part) {
    store_f16(reinterpret_cast<uint16_t*>(row) + i, x, part);
  }
};

struct RowsBf16 {
  MINICPM_INLINE int64_t bytes(int64_t n) { return 2 * n; }
  template <typename Part>
  MINICPM_INLINE Vec read(const char* row, int64_t i, Part part) {
    return load_bf16(reinterpret_cast<const uint16_t*>(row) + i, part);
  }
  template <typename Part>
  MINICPM_INLINE void write(char* row, int64_t i, Vec x, Part part) {
    store_bf16(reinterpret_cast<uint16_t*>(row) + i, x, part);
  }
};

/// Blocks of 32 values: a scale in f16 and 32 codes of 8 bits. Vectors are never wider, so all of them are whole.
struct RowsQ8_0 {
  static constexpr int kBlock = 32, kBlockBytes = 34;

  MINICPM_INLINE int64_t bytes(int64_t n) { return n / kBlock * kBlockBytes; }
  template <typename Part>
  MINICPM_INLINE Vec read(const char* row, int64_t i, Part) {
    const char* block = row + (i >> 5) * kBlockBytes;
    return load_i8(block + 2 + (i & 31)) * set1_f16(block);
  }
};

template <typename Rows>
static void read_rows(float* out, const void* in, int64_t n) {
  const char* rows = static_cast<const char*>(in);
  for_lanes(n, [=](int64_t i, auto part) { store(out + i, Rows::read(rows, i, part), part); });
}

template <typename Rows>
static void write_rows(void* out, const float* in, int64_t n) {
  char* rows = static_cast<char*>(out);
  for_lanes(n, [=](int64_t i, auto part) { Rows::write(rows, i, load(in + i, part), part); });
}

static void write_rows_q8_0(void* out, const float* in, int64_t n) {
  constexpr int kBlock = RowsQ8_0::kBlock;
  constexpr float kLargestF16 = 65504.0f;
  char* block = static_cast<char*>(out);
  for (int64_t i = 0; i < n; i += kBlock, block += RowsQ8_0::kBlockBytes) {
    Vec largest = zero();
    for (int j = 0; j < kBlock; j += kLanes)
      largest = max(abs(load(in + i + j)), largest);
    uint16_t scale[kLanes];
    store_f16(scale, min(set1(max_of(largest) / 127.0f), set1(kLargestF16)));
    float rounded[kLanes];
    store(rounded, set1_f16(scale));
    const Vec to_code = set1(rounded[0] > 0.0f ? 1.0f / rounded[0] : 0.0f);
    float codes[kBlock];
    for (int j = 0; j < kBlock; j += kLanes)
      store(codes + j, round(min(max(load(in + i + j) * to_code, set1(-127.0f)), set1(127.0f))));
    __builtin_memcpy(block, scale, 2);
    for (int j = 0; j < kBlock; ++j)
      block[2 + j] = static_cast<char>(static_cast<int8_t>(codes[j]));
  }
}

// The kernels of one instruction set as a table. Included last.

int64_t f32_row_bytes(int64_t) {
  return 0;
}
int64_t f32_tile_row_bytes(int64_t k) {
  return round_up(k, kDenseUnroll) * 4;
}

void f32_tile_of(const float* x, int64_t x_stride, int64_t k, int64_t rows, int64_t tile, void* out) {
  interleave(k, rows, tile, static_cast<float*>(out),
             [&](int64_t row, int64_t word, int64_t) MINICPM_BODY { return x + row * x_stride + word; });
}

#define MINICPM_BLOCK_FORMAT(Loader) \
  { kInputQ8, gemv_q8<Loader>, gemm_q8<Loader>, gemv_block_f32<Loader>, gemm_dense<BlockSource<Loader>, MultiplyF32> }
#define MINICPM_PLAIN_FORMAT(E)                                                                                 \
  {                                                                                                             \
    kInputF32, gemv_dense<E, MultiplyF32>, gemm_dense<PlainSource<E>, MultiplyF32>, gemv_dense<E, MultiplyF32>, \
        gemm_dense<PlainSource<E>, MultiplyF32>, nullptr, gemm_q8<QuantizedPlain<E>>                            \
  }

constexpr int64_t kScratchBytes =
    static_cast<int64_t>(sizeof(Q8Panel) > sizeof(DensePanel) ? sizeof(Q8Panel) : sizeof(DensePanel));

#define MINICPM_LINEAR_TABLE                                                                       \
  {                                                                                                \
    .panel_cols = kDenseCols, .scratch_bytes = kScratchBytes,                                      \
    .inputs =                                                                                      \
        {                                                                                          \
            {nullptr, f32_tile_of, f32_row_bytes, f32_tile_row_bytes, kDenseRows, kDenseGemvRows}, \
            {},                                                                                    \
            {q8_row, q8_tile_of, q8_row_bytes, q8_tile_row_bytes, kQ8Rows, kQ8GemvRows},           \
        },                                                                                         \
    .f32 = MINICPM_PLAIN_FORMAT(PlainF32), .f16 = MINICPM_PLAIN_FORMAT(PlainF16),                  \
    .bf16 = MINICPM_PLAIN_FORMAT(PlainBF16), .q4_0 = MINICPM_BLOCK_FORMAT(LoadQ4_0),               \
    .q4_1 = MINICPM_BLOCK_FORMAT(LoadQ4_1), .q5_0 = MINICPM_BLOCK_FORMAT(LoadQ5_0),                \
    .q5_1 = MINICPM_BLOCK_FORMAT(LoadQ5_1), .q8_0 = MINICPM_BLOCK_FORMAT(LoadQ8_0),                \
    .q2_k = MINICPM_BLOCK_FORMAT(LoadQ2_K), .q3_k = MINICPM_BLOCK_FORMAT(LoadQ3_K),                \
    .q4_k = MINICPM_BLOCK_FORMAT(LoadQ4_K), .q5_k = MINICPM_BLOCK_FORMAT(LoadQ5_K),                \
    .q6_k = MINICPM_BLOCK_FORMAT(LoadQ6_K), .iq4_nl = MINICPM_BLOCK_FORMAT(LoadIQ4_NL),            \
    .iq4_xs = MINICPM_BLOCK_FORMAT(LoadIQ4_XS),                                                    \
  }

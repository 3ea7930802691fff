// Pieces of the loaders with AVX2 and F16C instructions, for all x86 instruction sets from there on. Included after
// loaders_common.inl.

MINICPM_INLINE __m128i load_16(const void* p) {
  return _mm_loadu_si128(static_cast<const __m128i*>(p));
}
MINICPM_INLINE __m256i load_32(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
MINICPM_INLINE __m256i two_of_16(const void* first, const void* second) {
  return _mm256_inserti128_si256(_mm256_castsi128_si256(load_16(first)), load_16(second), 1);
}
template <int kStride>
MINICPM_INLINE void eight_f16(const uint8_t* p, float* d) {
  __m128i h = _mm_loadu_si16(p);
  h = _mm_insert_epi16(h, static_cast<short>(load_u32(p + kStride)), 1);
  h = _mm_insert_epi16(h, static_cast<short>(load_u32(p + 2 * kStride)), 2);
  h = _mm_insert_epi16(h, static_cast<short>(load_u32(p + 3 * kStride)), 3);
  h = _mm_insert_epi16(h, static_cast<short>(load_u32(p + 4 * kStride)), 4);
  h = _mm_insert_epi16(h, static_cast<short>(load_u32(p + 5 * kStride)), 5);
  h = _mm_insert_epi16(h, static_cast<short>(load_u32(p + 6 * kStride)), 6);
  h = _mm_insert_epi16(h, static_cast<short>(load_u32(p + 7 * kStride)), 7);
  _mm256_store_ps(d, _mm256_cvtph_ps(h));
}
template <int kStride>
MINICPM_INLINE void eight_f16_pairs(const uint8_t* p, float* d, float* m) {
  __m128i low = _mm_cvtsi32_si128(static_cast<int>(load_u32(p)));
  low = _mm_insert_epi32(low, static_cast<int>(load_u32(p + kStride)), 1);
  low = _mm_insert_epi32(low, static_cast<int>(load_u32(p + 2 * kStride)), 2);
  low = _mm_insert_epi32(low, static_cast<int>(load_u32(p + 3 * kStride)), 3);
  __m128i high = _mm_cvtsi32_si128(static_cast<int>(load_u32(p + 4 * kStride)));
  high = _mm_insert_epi32(high, static_cast<int>(load_u32(p + 5 * kStride)), 1);
  high = _mm_insert_epi32(high, static_cast<int>(load_u32(p + 6 * kStride)), 2);
  high = _mm_insert_epi32(high, static_cast<int>(load_u32(p + 7 * kStride)), 3);
  const __m128i mask = _mm_set1_epi32(0xffff);
  const __m128i first = _mm_packus_epi32(_mm_and_si128(low, mask), _mm_and_si128(high, mask));
  const __m128i second = _mm_packus_epi32(_mm_srli_epi32(low, 16), _mm_srli_epi32(high, 16));
  _mm256_store_ps(d, _mm256_cvtph_ps(first));
  _mm256_store_ps(m, _mm256_cvtph_ps(second));
}
MINICPM_INLINE float one_f16(uint16_t bits) {
  return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits)));
}
/// Eight bytes times a factor.
MINICPM_INLINE void scaled_bytes(float* out, uint64_t bytes, float factor) {
  const __m256 values = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<long long>(bytes))));
  _mm256_store_ps(out, _mm256_mul_ps(values, _mm256_set1_ps(factor)));
}
MINICPM_INLINE void k_scales(const uint8_t* packed, uint16_t d, uint16_t dmin, float* scales, float* mins) {
  const Bytes bytes = six_bit_scales(packed);
  scaled_bytes(scales, bytes.low, one_f16(d));
  scaled_bytes(mins, bytes.high, -one_f16(dmin));
}
/// The scales of IQ4_XS.
MINICPM_INLINE void iq4_xs_scales(const uint8_t* low, uint16_t high, uint16_t factor, float* d) {
  const __m256i nibble_shifts = _mm256_set_epi32(28, 24, 20, 16, 12, 8, 4, 0);
  const __m256i top_shifts = _mm256_set_epi32(14, 12, 10, 8, 6, 4, 2, 0);
  const __m256i nibbles = _mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(load_u32(low))), nibble_shifts);
  const __m256i tops = _mm256_srlv_epi32(_mm256_set1_epi32(high), top_shifts);
  const __m256i scale = _mm256_or_si256(_mm256_and_si256(nibbles, _mm256_set1_epi32(15)),
                                        _mm256_slli_epi32(_mm256_and_si256(tops, _mm256_set1_epi32(3)), 4));
  _mm256_store_ps(d, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(scale, _mm256_set1_epi32(32))),
                                   _mm256_set1_ps(one_f16(factor))));
}

// The parts of the loaders that need no special instructions. A loader unpacks one block format; it sees 256 weights at
// a time, one super-block or eight small blocks in a row, and offers
//   kBytes      bytes of 256 weights
//   kSmall      they are eight blocks of 32, so k may be any multiple of 32
//   kGroup      weights that share a scale: 32 or 16
//   kSigned     codes are int8; otherwise they are uint8 below 64
//   kOffset     weight = d * (code - kOffset), a power of two or zero
//   kMin        weight = d * code + m
//   codes<J>()  code vector J of the 256, in order
//   scales()    d (and m) of the 8 or 16 groups, into arrays aligned to 64
//   panel_scales()  the same of kSumLanes rows at once: group g of row c to d[g * stride + c]
// Included by loaders_<isa>.h inside namespace minicpm::cpu::<isa>.

MINICPM_INLINE uint32_t load_u32(const void* p) {
  uint32_t x;
  __builtin_memcpy(&x, p, sizeof(x));
  return x;
}
MINICPM_INLINE uint64_t load_u64(const void* p) {
  uint64_t x;
  __builtin_memcpy(&x, p, sizeof(x));
  return x;
}
template <class Block>
MINICPM_INLINE const Block& as(const uint8_t* p) {
  return *reinterpret_cast<const Block*>(p);
}

/// Eight or sixteen small numbers, a byte each.
struct Bytes {
  uint64_t low, high;
};
/// The six-bit scales (low) and minima (high) of Q4_K and Q5_K.
MINICPM_INLINE Bytes six_bit_scales(const uint8_t* packed) {
  const uint32_t a = load_u32(packed), b = load_u32(packed + 4), c = load_u32(packed + 8);
  const uint32_t scales = (c & 0x0f0f0f0fu) | (a >> 2 & 0x30303030u);
  const uint32_t mins = (c >> 4 & 0x0f0f0f0fu) | (b >> 2 & 0x30303030u);
  return {(a & 0x3f3f3f3fu) | static_cast<uint64_t>(scales) << 32, (b & 0x3f3f3f3fu) | static_cast<uint64_t>(mins)
                                                                                           << 32};
}
/// The sixteen six-bit scales of Q3_K.
MINICPM_INLINE Bytes q3_scales(const uint8_t* packed) {
  const uint64_t nibbles = load_u64(packed);
  const uint32_t top = load_u32(packed + 8);  // two bits each of scales 0..3, 4..7, 8..11 and 12..15
  const uint64_t low_top = (top & 0x03030303u) | static_cast<uint64_t>(top >> 2 & 0x03030303u) << 32;
  const uint64_t high_top = (top >> 4 & 0x03030303u) | static_cast<uint64_t>(top >> 6 & 0x03030303u) << 32;
  return {(nibbles & 0x0f0f0f0f0f0f0f0fu) | low_top << 4, (nibbles >> 4 & 0x0f0f0f0f0f0f0f0fu) | high_top << 4};
}

/// A copy of kIq4Values: the address of an inline variable must not be taken here, or the objects would share a symbol.
alignas(16) static constexpr int8_t kIq4Codes[16] = {kIq4Values[0],  kIq4Values[1],  kIq4Values[2],  kIq4Values[3],
                                                     kIq4Values[4],  kIq4Values[5],  kIq4Values[6],  kIq4Values[7],
                                                     kIq4Values[8],  kIq4Values[9],  kIq4Values[10], kIq4Values[11],
                                                     kIq4Values[12], kIq4Values[13], kIq4Values[14], kIq4Values[15]};

/// f16 numbers at the start of eight blocks, as floats; the ISA defines both.
template <int kStride>
MINICPM_INLINE void eight_f16(const uint8_t* p, float* d);
/// Pairs of f16 numbers at the start of eight blocks: the first of each pair into d, the second into m.
template <int kStride>
MINICPM_INLINE void eight_f16_pairs(const uint8_t* p, float* d, float* m);

/// Eight blocks of 32.
template <class BlockType, int kOffsetValue>
struct SmallLoader {
  using Block = BlockType;
  static constexpr int kBlock = sizeof(Block);
  static constexpr int kBytes = 8 * kBlock;
  static constexpr bool kSmall = true;
  static constexpr int kGroup = 32;
  static constexpr bool kSigned = false;
  static constexpr int kOffset = kOffsetValue;
  static constexpr bool kMin = kOffsetValue == 0;

  MINICPM_INLINE const Block& block(const uint8_t* p, int i) { return as<Block>(p + i * kBlock); }

  MINICPM_INLINE void scales(const uint8_t* p, float* d, float* m) {
    if constexpr (kMin) {
      eight_f16_pairs<kBlock>(p, d, m);
    } else {
      eight_f16<kBlock>(p, d);
    }
  }
  MINICPM_INLINE void panel_scales(const uint8_t* const (&blocks)[kSumLanes], float* d, float* m, int64_t stride) {
    alignas(64) uint16_t bits[2][8][kSumLanes];
    for (int c = 0; c < kSumLanes; ++c) {
      for (int i = 0; i < 8; ++i) {
        bits[0][i][c] = block(blocks[c], i).d;
        if constexpr (kMin) bits[1][i][c] = block(blocks[c], i).m;
      }
    }
    for (int i = 0; i < 8; ++i) {
      for (int c = 0; c < kSumLanes; c += kLanes) {
        store(d + i * stride + c, load_f16(bits[0][i] + c));
        if constexpr (kMin) store(m + i * stride + c, load_f16(bits[1][i] + c));
      }
    }
  }
};
/// The same with int8 codes.
template <class Block>
struct SignedSmallLoader : SmallLoader<Block, 1> {
  static constexpr bool kSigned = true;
  static constexpr int kOffset = 0;
};

/// One super-block.
template <class Loader, class BlockType, int kGroupSize, bool kHasMin>
struct SuperLoader {
  using Block = BlockType;
  static constexpr int kBytes = sizeof(Block);
  static constexpr bool kSmall = false;
  static constexpr int kGroup = kGroupSize;
  static constexpr bool kSigned = false;
  static constexpr int kOffset = 0;
  static constexpr bool kMin = kHasMin;

  MINICPM_INLINE void panel_scales(const uint8_t* const (&blocks)[kSumLanes], float* d, float* m, int64_t stride) {
    alignas(64) float rows[2][kSumLanes][16];
    for (int c = 0; c < kSumLanes; ++c)
      Loader::scales(blocks[c], rows[0][c], rows[1][c]);
    transpose_scales<kBlockK / kGroup>(rows[0], d, stride);
    if constexpr (kMin) transpose_scales<kBlockK / kGroup>(rows[1], m, stride);
  }
};

// How the block formats unpack, in portable code. A loader sees 256 weights at a time, one super-block or eight small
// blocks in a row: decode() writes their codes in order and, for every 16 of them, d and m of weight = d * code + m.
#pragma once

#include <stdint.h>

#include "quant/blocks.h"

namespace minicpm::cpu::scalar {

/// 256 decoded weights.
struct Decoded {
  int8_t codes[256];
  float d[16];
  float m[16];
};

MINICPM_INLINE float f16(uint16_t bits) {
  return load_f16(&bits).v;
}
template <class Block>
MINICPM_INLINE const Block& as(const uint8_t* p) {
  return *reinterpret_cast<const Block*>(p);
}
MINICPM_INLINE void set_scale(Decoded& w, int group_of_32, float d, float m) {
  w.d[2 * group_of_32] = w.d[2 * group_of_32 + 1] = d;
  w.m[2 * group_of_32] = w.m[2 * group_of_32 + 1] = m;
}
/// 32 nibbles of 16 bytes, low ones first.
MINICPM_INLINE void nibbles(const uint8_t* qs, int offset, int8_t* codes) {
  for (int j = 0; j < 16; ++j) {
    codes[j] = static_cast<int8_t>((qs[j] & 15) - offset);
    codes[j + 16] = static_cast<int8_t>((qs[j] >> 4) - offset);
  }
}
/// A copy of kIq4Values: the address of an inline variable must not be taken here, or the objects would share a symbol.
alignas(16) static constexpr int8_t kIq4Codes[16] = {kIq4Values[0],  kIq4Values[1],  kIq4Values[2],  kIq4Values[3],
                                                     kIq4Values[4],  kIq4Values[5],  kIq4Values[6],  kIq4Values[7],
                                                     kIq4Values[8],  kIq4Values[9],  kIq4Values[10], kIq4Values[11],
                                                     kIq4Values[12], kIq4Values[13], kIq4Values[14], kIq4Values[15]};
MINICPM_INLINE void iq4_codes(const uint8_t* qs, int8_t* codes) {
  for (int j = 0; j < 16; ++j) {
    codes[j] = kIq4Codes[qs[j] & 15];
    codes[j + 16] = kIq4Codes[qs[j] >> 4];
  }
}
MINICPM_INLINE void fifth_bits(const uint8_t* qh, int8_t* codes) {
  for (int j = 0; j < 32; ++j)
    codes[j] = static_cast<int8_t>(codes[j] + ((qh[j / 8] >> (j % 8) & 1) << 4));
}
/// Two-bit codes of Q2_K and Q3_K.
MINICPM_INLINE void pairs_of_bits(const uint8_t* qs, int8_t* codes) {
  for (int i = 0; i < 256; ++i)
    codes[i] = static_cast<int8_t>(qs[32 * (i / 128) + i % 32] >> (2 * (i % 128 / 32)) & 3);
}
/// Scales, minima and low nibbles of Q4_K and Q5_K.
template <class Block>
MINICPM_INLINE void k_scales_and_nibbles(const Block& b, Decoded& w) {
  const float d = f16(b.d), dmin = f16(b.dmin);
  for (int s = 0; s < 8; ++s) {
    const uint8_t* p = b.scales;
    const int scale = s < 4 ? p[s] & 63 : (p[s + 4] & 15) | p[s - 4] >> 6 << 4;
    const int min = s < 4 ? p[s + 4] & 63 : p[s + 4] >> 4 | p[s] >> 6 << 4;
    set_scale(w, s, d * static_cast<float>(scale), -dmin * static_cast<float>(min));
    for (int j = 0; j < 32; ++j)
      w.codes[32 * s + j] = static_cast<int8_t>(b.qs[32 * (s / 2) + j] >> (4 * (s % 2)) & 15);
  }
}

// ---- eight blocks of 32

template <class Block>
struct SmallLoader {
  static constexpr int kBytes = 8 * sizeof(Block);
  static constexpr bool kSmall = true;
};

struct LoadQ4_0 : SmallLoader<BlockQ4_0> {
  static void decode(const uint8_t* p, Decoded& w) {
    for (int s = 0; s < 8; ++s) {
      const auto& b = as<BlockQ4_0>(p + s * sizeof(BlockQ4_0));
      set_scale(w, s, f16(b.d), 0.0f);
      nibbles(b.qs, 8, w.codes + 32 * s);
    }
  }
};
struct LoadQ4_1 : SmallLoader<BlockQ4_1> {
  static void decode(const uint8_t* p, Decoded& w) {
    for (int s = 0; s < 8; ++s) {
      const auto& b = as<BlockQ4_1>(p + s * sizeof(BlockQ4_1));
      set_scale(w, s, f16(b.d), f16(b.m));
      nibbles(b.qs, 0, w.codes + 32 * s);
    }
  }
};
struct LoadQ5_0 : SmallLoader<BlockQ5_0> {
  static void decode(const uint8_t* p, Decoded& w) {
    for (int s = 0; s < 8; ++s) {
      const auto& b = as<BlockQ5_0>(p + s * sizeof(BlockQ5_0));
      set_scale(w, s, f16(b.d), 0.0f);
      nibbles(b.qs, 16, w.codes + 32 * s);
      fifth_bits(b.qh, w.codes + 32 * s);
    }
  }
};
struct LoadQ5_1 : SmallLoader<BlockQ5_1> {
  static void decode(const uint8_t* p, Decoded& w) {
    for (int s = 0; s < 8; ++s) {
      const auto& b = as<BlockQ5_1>(p + s * sizeof(BlockQ5_1));
      set_scale(w, s, f16(b.d), f16(b.m));
      nibbles(b.qs, 0, w.codes + 32 * s);
      fifth_bits(b.qh, w.codes + 32 * s);
    }
  }
};
struct LoadQ8_0 : SmallLoader<BlockQ8_0> {
  static void decode(const uint8_t* p, Decoded& w) {
    for (int s = 0; s < 8; ++s) {
      const auto& b = as<BlockQ8_0>(p + s * sizeof(BlockQ8_0));
      set_scale(w, s, f16(b.d), 0.0f);
      __builtin_memcpy(w.codes + 32 * s, b.qs, 32);
    }
  }
};
struct LoadIQ4_NL : SmallLoader<BlockIQ4_NL> {
  static void decode(const uint8_t* p, Decoded& w) {
    for (int s = 0; s < 8; ++s) {
      const auto& b = as<BlockIQ4_NL>(p + s * sizeof(BlockIQ4_NL));
      set_scale(w, s, f16(b.d), 0.0f);
      iq4_codes(b.qs, w.codes + 32 * s);
    }
  }
};

// ---- super-blocks of 256

template <class Block>
struct SuperLoader {
  static constexpr int kBytes = sizeof(Block);
  static constexpr bool kSmall = false;
};

struct LoadQ2_K : SuperLoader<BlockQ2_K> {
  static void decode(const uint8_t* p, Decoded& w) {
    const auto& b = as<BlockQ2_K>(p);
    const float d = f16(b.d), dmin = f16(b.dmin);
    for (int s = 0; s < 16; ++s) {
      w.d[s] = d * static_cast<float>(b.scales[s] & 15);
      w.m[s] = -dmin * static_cast<float>(b.scales[s] >> 4);
    }
    pairs_of_bits(b.qs, w.codes);
  }
};
struct LoadQ3_K : SuperLoader<BlockQ3_K> {
  static void decode(const uint8_t* p, Decoded& w) {
    const auto& b = as<BlockQ3_K>(p);
    const float d = f16(b.d);
    for (int s = 0; s < 16; ++s) {
      const int low = b.scales[s % 8] >> (4 * (s / 8)) & 15;
      const int high = b.scales[8 + s % 4] >> (2 * (s / 4)) & 3;
      w.d[s] = d * static_cast<float>((low | high << 4) - 32);
      w.m[s] = 0.0f;
    }
    pairs_of_bits(b.qs, w.codes);
    for (int i = 0; i < 256; ++i)
      w.codes[i] = static_cast<int8_t>(w.codes[i] + ((b.hmask[i % 32] >> (i / 32) & 1) << 2) - 4);
  }
};
struct LoadQ4_K : SuperLoader<BlockQ4_K> {
  static void decode(const uint8_t* p, Decoded& w) { k_scales_and_nibbles(as<BlockQ4_K>(p), w); }
};
struct LoadQ5_K : SuperLoader<BlockQ5_K> {
  static void decode(const uint8_t* p, Decoded& w) {
    const auto& b = as<BlockQ5_K>(p);
    k_scales_and_nibbles(b, w);
    for (int i = 0; i < 256; ++i)
      w.codes[i] = static_cast<int8_t>(w.codes[i] + ((b.qh[i % 32] >> (i / 32) & 1) << 4));
  }
};
struct LoadQ6_K : SuperLoader<BlockQ6_K> {
  static void decode(const uint8_t* p, Decoded& w) {
    const auto& b = as<BlockQ6_K>(p);
    const float d = f16(b.d);
    for (int s = 0; s < 16; ++s) {
      w.d[s] = d * static_cast<float>(b.scales[s]);
      w.m[s] = 0.0f;
    }
    for (int i = 0; i < 256; ++i) {
      const int half = i / 128, e = i % 128;
      const int low = b.ql[64 * half + e % 64] >> (4 * (e / 64)) & 15;
      const int high = b.qh[32 * half + e % 32] >> (2 * (e / 32)) & 3;
      w.codes[i] = static_cast<int8_t>((low | high << 4) - 32);
    }
  }
};
struct LoadIQ4_XS : SuperLoader<BlockIQ4_XS> {
  static void decode(const uint8_t* p, Decoded& w) {
    const auto& b = as<BlockIQ4_XS>(p);
    const float d = f16(b.d);
    for (int s = 0; s < 8; ++s) {
      const int low = b.scales_l[s / 2] >> (4 * (s % 2)) & 15;
      const int high = b.scales_h >> (2 * s) & 3;
      set_scale(w, s, d * static_cast<float>((low | high << 4) - 32), 0.0f);
      iq4_codes(b.qs + 16 * s, w.codes + 32 * s);
    }
  }
};

}  // namespace minicpm::cpu::scalar

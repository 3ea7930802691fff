#include "backend/cpu/kernels/repeated_byte.h"

namespace minicpm::cpu {

#define MINICPM_ROW(b)                                                                          \
  0x01010101u * (b), 0x01010101u * ((b) + 1), 0x01010101u * ((b) + 2), 0x01010101u * ((b) + 3), \
      0x01010101u * ((b) + 4), 0x01010101u * ((b) + 5), 0x01010101u * ((b) + 6), 0x01010101u * ((b) + 7)
#define MINICPM_ROWS(b) MINICPM_ROW(b), MINICPM_ROW((b) + 8), MINICPM_ROW((b) + 16), MINICPM_ROW((b) + 24)
const uint32_t kRepeatedByte[256] = {MINICPM_ROWS(0u),   MINICPM_ROWS(32u),  MINICPM_ROWS(64u),  MINICPM_ROWS(96u),
                                     MINICPM_ROWS(128u), MINICPM_ROWS(160u), MINICPM_ROWS(192u), MINICPM_ROWS(224u)};
#undef MINICPM_ROWS
#undef MINICPM_ROW

}  // namespace minicpm::cpu

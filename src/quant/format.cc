#include "quant/format.h"

#include <array>

#include "base/error.h"
#include "quant/iq4.h"
#include "quant/k_quants.h"
#include "quant/legacy.h"
#include "quant/plain.h"

namespace minicpm {
namespace {

constexpr std::array kTraits = {
    FormatTraits{DType::kF32,    quant::dequantize_f32,    quant::quantize_f32   },
    FormatTraits{DType::kF16,    quant::dequantize_f16,    quant::quantize_f16   },
    FormatTraits{DType::kBF16,   quant::dequantize_bf16,   quant::quantize_bf16  },
    FormatTraits{DType::kF64,    quant::dequantize_f64,    quant::quantize_f64   },
    FormatTraits{DType::kQ4_0,   quant::dequantize_q4_0,   quant::quantize_q4_0  },
    FormatTraits{DType::kQ4_1,   quant::dequantize_q4_1,   quant::quantize_q4_1  },
    FormatTraits{DType::kQ5_0,   quant::dequantize_q5_0,   quant::quantize_q5_0  },
    FormatTraits{DType::kQ5_1,   quant::dequantize_q5_1,   quant::quantize_q5_1  },
    FormatTraits{DType::kQ8_0,   quant::dequantize_q8_0,   quant::quantize_q8_0  },
    FormatTraits{DType::kQ2_K,   quant::dequantize_q2_k,   quant::quantize_q2_k  },
    FormatTraits{DType::kQ3_K,   quant::dequantize_q3_k,   quant::quantize_q3_k  },
    FormatTraits{DType::kQ4_K,   quant::dequantize_q4_k,   quant::quantize_q4_k  },
    FormatTraits{DType::kQ5_K,   quant::dequantize_q5_k,   quant::quantize_q5_k  },
    FormatTraits{DType::kQ6_K,   quant::dequantize_q6_k,   quant::quantize_q6_k  },
    FormatTraits{DType::kIQ4_NL, quant::dequantize_iq4_nl, quant::quantize_iq4_nl},
    FormatTraits{DType::kIQ4_XS, quant::dequantize_iq4_xs, quant::quantize_iq4_xs},
};

}  // namespace

const FormatTraits* format_traits(DType dtype) {
  for (const FormatTraits& traits : kTraits) {
    if (traits.dtype == dtype) return &traits;
  }
  return nullptr;
}

void dequantize_row(DType dtype, const void* blocks, float* out, int64_t n) {
  const FormatTraits* traits = format_traits(dtype);
  MINICPM_CHECK(traits != nullptr && n % info(dtype).block_elements == 0);
  traits->dequantize(blocks, out, n);
}

void quantize_row(DType dtype, const float* in, void* blocks, int64_t n) {
  const FormatTraits* traits = format_traits(dtype);
  MINICPM_CHECK(traits != nullptr && traits->quantize != nullptr && n % info(dtype).block_elements == 0);
  traits->quantize(in, blocks, n);
}

}  // namespace minicpm

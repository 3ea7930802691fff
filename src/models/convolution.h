// Convolutions over time, and the block that the speech decoder's and the vocoder's networks are made of.
#pragma once

#include "ops/ops.h"

namespace minicpm {

/// x [n, in] -> [(n + 2 padding - kernel) / stride + 1, out]; w [out, in, kernel], zeros beyond both ends.
Tensor conv1d(Context& ctx, Tensor x, const Weight& w, Tensor bias, int64_t stride, int64_t padding);

/// ConvNeXt over time.
struct ConvNextWeights {
  Tensor depthwise, depthwise_bias;  // [dim, 1, kernel], [dim]
  Tensor norm, norm_bias;            // [dim]
  Weight expand, contract;           // [inner, dim], [dim, inner]
  Tensor expand_bias, contract_bias;
  Tensor scale;  // [dim]
};

/// x [n, dim] += scale * contract(gelu(expand(layer_norm(depthwise(x))))). The convolution keeps the length; its taps
/// are `dilation` rows apart.
void convnext_(Context& ctx, const ConvNextWeights& w, Tensor x, int64_t dilation);

}  // namespace minicpm

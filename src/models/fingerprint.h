// What tells models apart whose answers differ, wherever their files lie.
#pragma once

#include "base/siphash.h"
#include "io/weight_source.h"
#include "models/lora.h"
#include "models/model_config.h"

namespace minicpm {

/// Of the configuration, of names, types and shapes of all tensors with samples of their bytes, and of all of the
/// adapter. Reads 2 KiB of each tensor. `projector` and `lora` may be null.
Digest128 fingerprint(const ModelConfig& config, const WeightSource& weights, const WeightSource* projector,
                      const Lora* lora);

}  // namespace minicpm

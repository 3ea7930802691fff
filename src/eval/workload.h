// What a language model has to read and to compute at least: the other half of a speed's limit.
#pragma once

#include <cstdint>

#include "models/decoder.h"

namespace minicpm {

struct DecodeRun {
  int64_t tokens = 0;     // written by each sequence, one a step
  int64_t depth = 0;      // tokens before the first
  int64_t sequences = 1;  // in one step
};

/// Bytes that the steps read from memory: every matrix once a step, and all keys and values of each sequence.
double decode_bytes(const Decoder& decoder, DType kv_type, const DecodeRun& run);

/// Operations of reading `tokens` behind `depth` others, of which the last one's logits are wanted: products with the
/// weights, and attention of each token to itself and all before. A multiplication and an addition are two.
double prefill_operations(const Decoder& decoder, int64_t tokens, int64_t depth);

enum class Arithmetic { kInt8, kBf16, kF32 };

/// In which most of a model's products are computed: of a weight in `dtype`, unless all is exact (f32).
Arithmetic arithmetic_of(DType dtype, Precision precision);

}  // namespace minicpm

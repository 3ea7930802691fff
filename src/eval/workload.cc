#include "eval/workload.h"

#include "engine/kv_cache.h"

namespace minicpm {
namespace {

/// Calls fn(weight) for the matrices that every token goes through.
template <typename Fn>
void for_layer_matrices(const Decoder& decoder, Fn&& fn) {
  for (const DecoderLayerWeights& layer : decoder.weights().layers) {
    for (const Weight* weight : {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down})
      fn(*weight);
  }
}

const Weight& output_of(const Decoder& decoder) {
  const DecoderWeights& weights = decoder.weights();
  return weights.output.defined() ? weights.output : weights.embed;
}

/// Sum of 1 + depth, 2 + depth, ..., tokens + depth: what the tokens look at.
double positions_seen(int64_t tokens, int64_t depth) {
  return static_cast<double>(tokens) * (static_cast<double>(depth) + static_cast<double>(tokens + 1) / 2);
}

}  // namespace

double decode_bytes(const Decoder& decoder, DType kv_type, const DecodeRun& run) {
  double matrices = static_cast<double>(output_of(decoder).bytes());
  for_layer_matrices(decoder, [&](const Weight& weight) { matrices += static_cast<double>(weight.bytes()); });
  const double kv_of_token =
      static_cast<double>(KvCache::bytes_for(decoder.config(), kv_type, kBlockTokens)) / kBlockTokens;
  return matrices * static_cast<double>(run.tokens) +
         kv_of_token * static_cast<double>(run.sequences) * positions_seen(run.tokens, run.depth);
}

double prefill_operations(const Decoder& decoder, int64_t tokens, int64_t depth) {
  double elements = 0;
  for_layer_matrices(decoder,
                     [&](const Weight& weight) { elements += static_cast<double>(weight.rows() * weight.cols()); });
  const DecoderConfig& config = decoder.config();
  const Weight& output = output_of(decoder);
  // Each pair of tokens costs a product of queries and keys and one of weights and values.
  const double attention = 2.0 * static_cast<double>(config.num_layers * config.q_dim) * positions_seen(tokens, depth);
  return 2.0 *
         (elements * static_cast<double>(tokens) + static_cast<double>(output.rows() * output.cols()) + attention);
}

Arithmetic arithmetic_of(DType dtype, Precision precision) {
  if (precision == Precision::kExact) return Arithmetic::kF32;
  if (info(dtype).is_quantised) return Arithmetic::kInt8;
  return dtype == DType::kBF16 ? Arithmetic::kBf16 : Arithmetic::kF32;
}

}  // namespace minicpm

#include "eval/machine_limits.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "eval/peak_loops.h"
#include "eval/workload.h"

namespace minicpm {
namespace {

TEST(MachineLimits, AreMeasured) {
  const MachineLimits limits = measure_limits({.threads = 2, .bytes = 1 << 20, .seconds = 0.001});
  EXPECT_EQ(limits.threads, 2);
  EXPECT_GT(limits.read_one, 0);
  EXPECT_GT(limits.read_all, 0);
  for (const ArithmeticPeak& peak : {limits.int8, limits.bf16, limits.f32})
    EXPECT_EQ(peak.per_second > 0, !peak.instruction.empty());
#if defined(__aarch64__)
  EXPECT_GT(limits.f32.per_second, 0);
#endif
  EXPECT_GE(measure_limits({.bytes = 1 << 20, .seconds = 0}).threads, 1);
  EXPECT_THROW(measure_limits({.bytes = 4096}), Error);
}

TEST(MachineLimits, EveryLoopThatIsSupportedRuns) {
  for (const auto& loops : {int8_loops(), bf16_loops(), f32_loops()}) {
    for (const PeakLoop& loop : loops) {
      if (loop.is_supported()) loop.run(3);
      EXPECT_GT(loop.operations, 0);
    }
  }
}

/// Matrices of the shapes that the configuration says, at no address that is ever read.
Decoder decoder_of(DType dtype, bool tied) {
  DecoderConfig config;
  config.vocab_size = 1000;
  config.hidden_size = 64;
  config.num_layers = 3;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 32;
  config.intermediate_size = 96;
  config.max_positions = 100;
  config.tied_embeddings = tied;
  config.finish("test");
  static std::byte nothing;
  const auto matrix = [&](int64_t rows, int64_t cols) {
    Weight weight;
    weight.data = &nothing;
    weight.dtype = dtype;
    weight.rank = 2;
    weight.dims[0] = rows;
    weight.dims[1] = cols;
    return weight;
  };
  DecoderWeights weights;
  weights.embed = matrix(1000, 64);
  if (!tied) weights.output = matrix(1000, 64);
  weights.layers.resize(3);
  for (DecoderLayerWeights& layer : weights.layers) {
    layer.q = matrix(128, 64);
    layer.k = layer.v = matrix(64, 64);
    layer.o = matrix(64, 128);
    layer.gate = layer.up = matrix(96, 64);
    layer.down = matrix(64, 96);
  }
  return Decoder(config, std::move(weights));
}

constexpr double kLayers = 3.0 * (2 * 128 * 64 + 2 * 64 * 64 + 3 * 96 * 64), kOutput = 1000 * 64;

TEST(Workload, DecodingReadsWeightsOnceAStepAndAllKeysAndValues) {
  constexpr double kKvOfToken = 2 * 3 * 64 * 2;  // keys and values, layers, kv_dim, bytes of f16
  for (const bool tied : {false, true}) {
    const Decoder decoder = decoder_of(DType::kBF16, tied);
    const double matrices = 2 * (kLayers + kOutput);  // the embedding is looked up, or is the output
    EXPECT_EQ(decode_bytes(decoder, DType::kF16, {.tokens = 1}), matrices + kKvOfToken);
    EXPECT_EQ(decode_bytes(decoder, DType::kF16, {.tokens = 2, .depth = 10}), 2 * matrices + (11 + 12) * kKvOfToken);
    EXPECT_EQ(decode_bytes(decoder, DType::kF32, {.tokens = 1, .depth = 10, .sequences = 3}),
              matrices + 3 * 11 * 2 * kKvOfToken);
  }
  EXPECT_EQ(decode_bytes(decoder_of(DType::kQ8_0, true), DType::kF16, {.tokens = 1}),
            (kLayers + kOutput) * 34 / 32 + kKvOfToken);
}

TEST(Workload, PromptsAreProductsAndAttention) {
  const Decoder decoder = decoder_of(DType::kQ8_0, false);
  const double pair = 4.0 * 3 * 128;  // two products of q_dim in each layer
  EXPECT_EQ(prefill_operations(decoder, 1, 0), 2 * (kLayers + kOutput) + pair);
  EXPECT_EQ(prefill_operations(decoder, 3, 5), 2 * (3 * kLayers + kOutput) + (6 + 7 + 8) * pair);
}

TEST(Workload, ArithmeticFollowsTheFormat) {
  EXPECT_EQ(arithmetic_of(DType::kQ4_K, Precision::kFast), Arithmetic::kInt8);
  EXPECT_EQ(arithmetic_of(DType::kQ4_K, Precision::kExact), Arithmetic::kF32);
  EXPECT_EQ(arithmetic_of(DType::kBF16, Precision::kFast), Arithmetic::kBf16);
  EXPECT_EQ(arithmetic_of(DType::kF16, Precision::kFast), Arithmetic::kF32);
}

}  // namespace
}  // namespace minicpm

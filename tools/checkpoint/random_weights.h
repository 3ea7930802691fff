// Reproducible random weights, made tensor by tensor while a file is written.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/half.h"
#include "base/thread_pool.h"
#include "io/tensor_to_write.h"
#include "models/model_config.h"
#include "quant/blocks.h"
#include "quant/format.h"

namespace minicpm {

/// The splitmix64 generator: any start value gives a good stream, so every chunk of every tensor can have its own.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  /// Nearly normal with variance 1: the sum of four uniform 16-bit numbers. Integer arithmetic makes it the same
  /// everywhere.
  float normal() {
    constexpr float kMean = 2.0f * 65535.0f;
    constexpr float kInverseStd = 1.0f / 37837.226f;  // 65536 * sqrt(4 / 12)
    const uint64_t bits = next();
    const auto sum = (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48);
    return (static_cast<float>(sum) - kMean) * kInverseStd;
  }

 private:
  uint64_t state_;
};

inline uint64_t hash_text(std::string_view text, uint64_t seed) {
  uint64_t hash = seed ^ 0xcbf29ce484222325u;  // FNV-1a
  for (unsigned char c : text)
    hash = (hash ^ c) * 0x100000001b3u;
  return Random(hash).next();
}

/// Mean and standard deviation of one tensor's values.
struct Spread {
  float mean, std;
};

inline Spread spread_of(const TensorSpec& spec, const ModelConfig& config) {
  const std::string_view name = spec.gguf.empty() ? spec.hf : spec.gguf;
  const auto inputs = static_cast<float>(spec.numel() / std::max<int64_t>(1, spec.shape[0]));
  if (spec.shape.size() == 1) return name.ends_with("bias") ? Spread{0.0f, 0.02f} : Spread{1.0f, 0.1f};
  if (name.ends_with("position_embd.weight")) return {0.0f, 0.2f};
  if (name == "token_embd.weight") {
    // Tied to the output: small, so that the input token's own logit does not drown the rest.
    return {0.0f, (config.decoder.tied_embeddings ? 0.3f : 1.0f) / config.decoder.embedding_scale};
  }
  // Logits far enough apart that rounding does not change the greedy choice.
  if (name == "output.weight") return {0.0f, 4.0f / std::sqrt(inputs)};
  if (name.ends_with("query")) return {0.0f, 0.5f};
  return {0.0f, 1.0f / std::sqrt(inputs)};
}

/// Where a block format keeps its scale, so that random codes can be given a spread.
struct ScalePlace {
  DType dtype;
  size_t d_offset;
  size_t m_offset;  // of the second f16, or kNone
  float m_factor;   // second f16 = m_factor * d: centres the values
  bool signed_d;    // a negative scale is legal and occurs
};
inline constexpr size_t kNone = SIZE_MAX;

inline constexpr ScalePlace kScalePlaces[] = {
    {DType::kQ4_0, offsetof(BlockQ4_0, d), kNone, 0.0f, true},
    {DType::kQ4_1, offsetof(BlockQ4_1, d), offsetof(BlockQ4_1, m), -7.5f, false},
    {DType::kQ5_0, offsetof(BlockQ5_0, d), kNone, 0.0f, true},
    {DType::kQ5_1, offsetof(BlockQ5_1, d), offsetof(BlockQ5_1, m), -15.5f, false},
    {DType::kQ8_0, offsetof(BlockQ8_0, d), kNone, 0.0f, false},
    {DType::kQ2_K, offsetof(BlockQ2_K, d), offsetof(BlockQ2_K, dmin), 1.5f, false},
    {DType::kQ3_K, offsetof(BlockQ3_K, d), kNone, 0.0f, true},
    {DType::kQ4_K, offsetof(BlockQ4_K, d), offsetof(BlockQ4_K, dmin), 7.5f, false},
    {DType::kQ5_K, offsetof(BlockQ5_K, d), offsetof(BlockQ5_K, dmin), 15.5f, false},
    {DType::kQ6_K, offsetof(BlockQ6_K, d), kNone, 0.0f, true},
    {DType::kIQ4_NL, offsetof(BlockIQ4_NL, d), kNone, 0.0f, true},
    {DType::kIQ4_XS, offsetof(BlockIQ4_XS, d), kNone, 0.0f, true},
};

inline const ScalePlace& scale_place(DType dtype) {
  return *std::ranges::find(kScalePlaces, dtype, &ScalePlace::dtype);
}

/// Blocks of random bits whose scales are around `d`.
inline void fill_blocks(DType dtype, float d, uint64_t seed, std::span<std::byte> out) {
  Random random(seed);
  const ScalePlace& place = scale_place(dtype);
  const auto block_bytes = static_cast<size_t>(info(dtype).block_bytes);
  size_t i = 0;
  for (; i + 8 <= out.size(); i += 8) {
    const uint64_t bits = random.next();
    std::memcpy(out.data() + i, &bits, 8);
  }
  const uint64_t last = random.next();
  std::memcpy(out.data() + i, &last, out.size() - i);
  for (size_t block = 0; block < out.size(); block += block_bytes) {
    float scale = d * std::max(0.25f, 1.0f + 0.15f * random.normal());
    if (place.signed_d && (random.next() & 1) != 0) scale = -scale;
    const uint16_t d_bits = f32_to_f16(scale), m_bits = f32_to_f16(scale * place.m_factor);
    std::memcpy(out.data() + block + place.d_offset, &d_bits, sizeof(d_bits));
    if (place.m_offset != kNone) std::memcpy(out.data() + block + place.m_offset, &m_bits, sizeof(m_bits));
  }
}

/// Standard deviation of the values that fill_blocks makes for d = 1.
inline float unit_spread(DType dtype) {
  constexpr int64_t kSample = 1 << 18;
  std::vector<std::byte> blocks(static_cast<size_t>(row_bytes(dtype, kSample)));
  fill_blocks(dtype, 1.0f, 1, blocks);
  std::vector<float> values(kSample);
  dequantize_row(dtype, blocks.data(), values.data(), kSample);
  double sum = 0.0;
  for (float value : values)
    sum += static_cast<double>(value) * value;
  return static_cast<float>(std::sqrt(sum / kSample));
}

/// How the random numbers of a file are made.
struct RandomWeights {
  const ModelConfig& config;
  ThreadPool& pool;
  uint64_t seed;
  bool random_codes;  // block formats: random codes instead of quantised normals
};

/// Some rows of a tensor.
inline void fill_rows(DType dtype, Spread spread, bool random_codes, uint64_t seed, int64_t rows, int64_t cols,
                      std::vector<std::byte>& out) {
  out.resize(static_cast<size_t>(rows * row_bytes(dtype, cols)));
  if (random_codes && info(dtype).is_quantised) {
    static const std::map<DType, float> kUnits = [] {
      std::map<DType, float> units;
      for (const ScalePlace& place : kScalePlaces)
        units[place.dtype] = unit_spread(place.dtype);
      return units;
    }();
    return fill_blocks(dtype, spread.std / kUnits.at(dtype), seed, out);
  }
  Random random(seed);
  std::vector<float> row(static_cast<size_t>(cols));
  for (int64_t r = 0; r < rows; ++r) {
    for (float& value : row)
      value = spread.mean + spread.std * random.normal();
    quantize_row(dtype, row.data(), out.data() + r * row_bytes(dtype, cols), cols);
  }
}

/// The tensor as GGUF files hold it; its bytes are made while it is written, by all threads of the pool. `weights` must
/// stay valid until then.
inline TensorToWrite random_tensor(const TensorSpec& spec, DType dtype, const RandomWeights& weights) {
  constexpr int64_t kChunkElements = 1 << 18;  // fixed: the chunks decide the values
  TensorToWrite tensor{spec.gguf, dtype, spec.shape, {}};
  tensor.produce = [spec, dtype, &weights](const ByteSink& sink) {
    const Spread spread = spread_of(spec, weights.config);
    const uint64_t tensor_seed = hash_text(spec.gguf.empty() ? spec.hf : spec.gguf, weights.seed);
    const int64_t cols = spec.shape.back(), rows = spec.numel() / cols;
    const int64_t chunk_rows = std::max<int64_t>(1, kChunkElements / cols);
    const int64_t chunks = (rows + chunk_rows - 1) / chunk_rows;
    const int64_t batch = 4 * weights.pool.num_threads();
    std::vector<std::vector<std::byte>> parts(static_cast<size_t>(std::min(batch, chunks)));
    for (int64_t first = 0; first < chunks; first += batch) {
      const int64_t count = std::min(batch, chunks - first);
      weights.pool.run(count, [&](int64_t i, int) {
        const int64_t chunk = first + i;
        const uint64_t chunk_seed = Random(tensor_seed + static_cast<uint64_t>(chunk)).next();
        fill_rows(dtype, spread, weights.random_codes, chunk_seed, std::min(chunk_rows, rows - chunk * chunk_rows),
                  cols, parts[static_cast<size_t>(i)]);
      });
      for (int64_t i = 0; i < count; ++i)
        sink(parts[static_cast<size_t>(i)]);
    }
  };
  return tensor;
}

// ---- the same values as safetensors files hold them ----------------------------------------------------------------

/// Elements of `rows` x `cols` in the order of the transpose.
inline std::vector<std::byte> transposed(const std::vector<std::byte>& in, int64_t rows, int64_t cols, size_t bytes) {
  std::vector<std::byte> out(in.size());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c)
      std::memcpy(out.data() + static_cast<size_t>(c * rows + r) * bytes,
                  in.data() + static_cast<size_t>(r * cols + c) * bytes, bytes);
  }
  return out;
}

/// GGUF files of some architectures rotate neighbouring rows of q and k, safetensors rows half a head apart.
inline std::vector<std::byte> neighbours_to_halves(const std::vector<std::byte>& in, int64_t rows, int64_t head_dim) {
  std::vector<std::byte> out(in.size());
  const size_t row_size = in.size() / static_cast<size_t>(rows);
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t head = r / head_dim, i = r % head_dim;
    const int64_t to = head * head_dim + i % 2 * (head_dim / 2) + i / 2;
    std::memcpy(out.data() + static_cast<size_t>(to) * row_size, in.data() + static_cast<size_t>(r) * row_size,
                row_size);
  }
  return out;
}

/// The stored tensor that the rows in `parts` share: one, or the three thirds of a stacked projection.
inline TensorToWrite random_hf_tensor(std::vector<TensorSpec> parts, DType dtype, const RandomWeights& weights) {
  TensorToWrite tensor{parts[0].hf, dtype, parts[0].hf_shape(), {}};
  tensor.produce = [parts = std::move(parts), dtype, &weights](const ByteSink& sink) {
    const std::string_view arch = weights.config.version->gguf_arch;
    for (const TensorSpec& spec : parts) {
      const bool rotated = spec.gguf.ends_with("attn_q.weight") || spec.gguf.ends_with("attn_k.weight");
      const bool neighbours = rotated && spec.gguf.starts_with("blk.") && (arch == "llama" || arch == "minicpm");
      const TensorToWrite source = random_tensor(spec, dtype, weights);
      if (spec.layout != Layout::kTransposed && !neighbours) {
        source.produce(sink);
        continue;
      }
      std::vector<std::byte> bytes;
      source.produce([&](std::span<const std::byte> part) { bytes.insert(bytes.end(), part.begin(), part.end()); });
      sink(neighbours ? neighbours_to_halves(bytes, spec.shape[0], weights.config.decoder.head_dim)
                      : transposed(bytes, spec.shape[0], spec.shape[1], static_cast<size_t>(info(dtype).block_bytes)));
    }
  };
  return tensor;
}

}  // namespace minicpm

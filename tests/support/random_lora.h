// Random adapters, and what they stand for: the weights with the adapter added, by plain loops in double.
#pragma once

#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "io/memory_source.h"
#include "models/lora.h"
#include "quant/format.h"

namespace minicpm::testing {

/// Every linear layer that can be adapted: the language model, the tower and the resampler.
inline constexpr const char* kAllLinear =
    R"((llm\.)?(.*\.(q_proj|k_proj|v_proj|o_proj|out_proj|gate_proj|up_proj|down_proj|fc1|fc2|kv_proj)|lm_head))";

struct RandomLora {
  LoraAdapter adapter;
  std::vector<std::unique_ptr<std::byte[]>> memory;
};

inline Weight random_matrix(RandomLora& lora, std::mt19937_64& random, std::vector<int64_t> shape, float spread,
                            float middle, DType type) {
  std::normal_distribution<float> normal(middle, spread);
  Weight view;
  view.dtype = type;
  view.rank = static_cast<int>(shape.size());
  std::ranges::copy(shape, view.dims);
  lora.memory.push_back(std::make_unique<std::byte[]>(static_cast<size_t>(view.bytes())));
  std::vector<float> row(static_cast<size_t>(view.cols()));
  for (int64_t r = 0; r < view.rows(); ++r) {
    for (float& value : row)
      value = normal(random);
    quantize_row(type, row.data(), lora.memory.back().get() + r * row_bytes(type, view.cols()), view.cols());
  }
  view.data = lora.memory.back().get();
  return view;
}

/// An adapter with what `lora_config` asks for; the products are about half as large as the weights.
inline RandomLora random_lora(const ModelConfig& config, LoraConfig lora_config, uint64_t seed,
                              DType type = DType::kF32) {
  RandomLora lora;
  lora.adapter.config = std::move(lora_config);
  const LoraSelection selection(lora.adapter.config);
  std::mt19937_64 random(seed);
  std::set<std::string> seen;
  for (const PartSpec& part : tensor_specs(config)) {
    const TensorSpec& spec = part.spec;
    if (!seen.insert(spec.hf).second) continue;
    if (spec.presence == Presence::kOptional && spec.hf.ends_with(".bias")) continue;
    const bool matrix = spec.role == Role::kLinear && spec.layout == Layout::kSame && spec.shape.size() == 2;
    const std::string module = spec.hf.substr(0, spec.hf.rfind('.'));
    const auto inputs = static_cast<float>(spec.shape.back());
    if (matrix && selection.adapts(module)) {
      const int64_t r = lora.adapter.config.r;
      const Weight a = random_matrix(lora, random, {r, spec.shape[1]}, 1.0f / std::sqrt(inputs), 0.0f, type);
      const float spread = 0.5f / std::sqrt(static_cast<float>(r)) / lora.adapter.config.scale();
      const Weight b = random_matrix(lora, random, {spec.shape[0], r}, spread, 0.0f, type);
      lora.adapter.layers.push_back({module, a, b});
    } else if (selection.saves_whole(spec.hf)) {
      const bool norm = spec.role == Role::kVector && spec.hf.ends_with(".weight");
      const float spread = spec.role == Role::kLinear ? 1.0f / std::sqrt(inputs) : 0.3f;
      lora.adapter.whole.push_back(
          {spec.hf, random_matrix(lora, random, spec.hf_shape(), spread, norm ? 1.0f : 0.0f, type)});
    }
  }
  return lora;
}

inline std::vector<float> values_of(const Weight& view) {
  std::vector<float> values(static_cast<size_t>(view.rows() * view.cols()));
  for (int64_t r = 0; r < view.rows(); ++r)
    dequantize_row(view.dtype, view.row(r), values.data() + r * view.cols(), view.cols());
  return values;
}

/// W + scale * B A and whole tensors, in f32, under the base's names (those of Hugging Face).
inline std::unique_ptr<MemorySource> merged_weights(const WeightSource& base, const LoraAdapter& adapter) {
  auto merged = std::make_unique<MemorySource>("merged");
  for (const StoredTensor& stored : base.tensors()) {
    std::vector<float> values = values_of(stored.view);
    for (const LoraLayer& layer : adapter.layers) {
      if (layer.module + ".weight" != stored.name) continue;
      const std::vector<float> a = values_of(layer.a), b = values_of(layer.b);
      const int64_t r = layer.a.rows(), in = layer.a.cols();
      for (int64_t row = 0; row < layer.b.rows(); ++row) {
        for (int64_t col = 0; col < in; ++col) {
          double sum = 0;
          for (int64_t k = 0; k < r; ++k)
            sum += static_cast<double>(b[row * r + k]) * a[k * in + col];
          values[row * in + col] += static_cast<float>(adapter.config.scale() * sum);
        }
      }
    }
    for (const WholeTensor& whole : adapter.whole) {
      if (whole.name == stored.name) values = values_of(whole.view);
    }
    merged->add(stored.name, values, {stored.view.shape().begin(), stored.view.shape().end()});
  }
  return merged;
}

}  // namespace minicpm::testing

// Small models with random weights, in memory, for tests of loading and running.
#pragma once

#include <cmath>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "io/memory_source.h"
#include "models/loaded_model.h"

namespace minicpm::testing {

/// MiniCPM-V 4.5's structure at a size that runs in milliseconds.
inline ModelConfig tiny_config() {
  ModelConfig config;
  config.version = version_by_key("v45");
  config.source = "tiny";
  DecoderConfig& d = config.decoder;
  d.vocab_size = 300;
  d.hidden_size = 128;
  d.num_layers = 2;
  d.num_heads = 4;
  d.num_kv_heads = 2;
  d.head_dim = 32;
  d.intermediate_size = 96;
  d.max_positions = 4096;
  d.rope_theta = 1e6f;
  d.finish("tiny");
  VisionConfig v;
  v.hidden_size = 48;
  v.num_layers = 2;
  v.num_heads = 4;
  v.intermediate_size = 80;
  v.finish("tiny");
  ResamplerConfig r;
  r.query_num = 16;
  r.embed_dim = d.hidden_size;
  r.vision_dim = v.hidden_size;
  r.finish("tiny");
  config.vision = v;
  config.resampler = r;
  config.slices.scale_resolution = 112;
  return config;
}

/// A text-only Qwen3 of the same size.
inline ModelConfig tiny_text_config() {
  ModelConfig config = tiny_config();
  config.version = version_by_key("qwen3");
  config.vision.reset();
  config.resampler.reset();
  return config;
}

/// Tensors for every row of the tables; matrices have unit gain, norms are near one. Optional biases stay absent.
inline std::unique_ptr<MemorySource> random_weights(const ModelConfig& config, uint64_t seed,
                                                    DType matrix_type = DType::kF32) {
  auto source = std::make_unique<MemorySource>("random");
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  for (const PartSpec& part : tensor_specs(config)) {
    const TensorSpec& spec = part.spec;
    const bool bias = spec.hf.ends_with("_proj.bias") && spec.presence == Presence::kOptional;
    if (bias || source->find(spec.hf) != nullptr) continue;
    const std::vector<int64_t> shape = spec.hf_shape();
    int64_t count = 1;
    for (int64_t size : shape)
      count *= size;
    const bool norm = spec.role == Role::kVector && spec.hf.ends_with(".weight");
    const float spread = spec.role == Role::kLinear ? 1.0f / std::sqrt(static_cast<float>(count / shape[0])) : 0.3f;
    std::vector<float> values(count);
    for (float& value : values)
      value = (norm ? 1.0f : 0.0f) + spread * normal(random);
    const bool matrix = spec.role == Role::kLinear && spec.layout == Layout::kSame;
    source->add(spec.hf, values, shape, matrix ? matrix_type : DType::kF32);
  }
  return source;
}

inline std::unique_ptr<LoadedModel> random_model(const ModelConfig& config, uint64_t seed,
                                                 DType matrix_type = DType::kF32) {
  return LoadedModel::load_networks(config, random_weights(config, seed, matrix_type), nullptr);
}

}  // namespace minicpm::testing

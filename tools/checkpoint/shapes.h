// Sizes of generated checkpoints: those of the published models, and small ones for tests.
#pragma once

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string>
#include <string_view>

#include "base/error.h"
#include "models/model_config.h"
#include "models/versions.h"

namespace minicpm {

struct DecoderShape {
  std::string_view key;
  int64_t hidden, layers, heads, kv_heads, head_dim, intermediate, vocab, positions;
  float theta, eps;
  bool tied;
};

/// Published language models by version key, then sizes that any version can take.
inline constexpr DecoderShape kDecoderShapes[] = {
    {"v45", 4096, 36, 32, 8, 128, 12288, 151748, 40960, 1e6f, 1e-6f, false},
    {"v40", 2560, 32, 32, 2, 128, 10240, 73448, 32768, 1e4f, 1e-6f, false},
    {"v26", 3584, 28, 28, 4, 128, 18944, 151666, 32768, 1e6f, 1e-6f, false},
    {"o26", 3584, 28, 28, 4, 128, 18944, 151700, 32768, 1e6f, 1e-6f, false},
    {"v25", 4096, 32, 32, 8, 128, 14336, 128256, 8192, 5e5f, 1e-5f, false},
    {"v20", 2304, 40, 36, 36, 64, 5760, 122753, 4096, 1e4f, 1e-5f, false},
    {"qwen3", 4096, 36, 32, 8, 128, 12288, 151936, 40960, 1e6f, 1e-6f, false},
    {"qwen2", 3584, 28, 28, 4, 128, 18944, 152064, 32768, 1e6f, 1e-6f, false},
    {"llama", 4096, 32, 32, 8, 128, 14336, 128256, 8192, 5e5f, 1e-5f, false},
    {"minicpm", 2304, 40, 36, 36, 64, 5760, 122753, 4096, 1e4f, 1e-5f, false},
    {"tiny", 256, 2, 4, 2, 0, 512, 512, 8192, 1e6f, 1e-6f, false},
    {"small", 512, 6, 8, 4, 0, 1536, 2048, 16384, 1e6f, 1e-6f, false},
    {"qwen3-0.6b", 1024, 28, 16, 8, 128, 3072, 151936, 40960, 1e6f, 1e-6f, true},
    {"qwen3-8b", 4096, 36, 32, 8, 128, 12288, 151936, 40960, 1e6f, 1e-6f, false},
};

struct VisionShape {
  std::string_view key;  // size, or "full" for all that are not listed
  int64_t hidden, layers, heads, intermediate;
};

inline constexpr VisionShape kVisionShapes[] = {
    {"tiny", 64, 2, 4, 160},
    {"small", 256, 4, 4, 1024},
    {"full", 1152, 27, 16, 4304},
};

struct AudioShape {
  std::string_view key;  // size, or "full" for all that are not listed
  int64_t hidden, layers, heads, intermediate;
};

inline constexpr AudioShape kAudioShapes[] = {
    {"tiny", 64, 2, 4, 256},
    {"small", 256, 4, 4, 1024},
    {"full", 1024, 24, 16, 4096},
};

inline const DecoderShape* decoder_shape(std::string_view key) {
  const auto* row = std::ranges::find(kDecoderShapes, key, &DecoderShape::key);
  return row == std::end(kDecoderShapes) ? nullptr : row;
}

/// `layers`: number of decoder layers, or 0 for the size's own.
inline DecoderConfig make_decoder(const VersionRow& version, std::string_view size, int64_t layers) {
  const bool published = size == "full" || size == "tower";
  const DecoderShape* shape = decoder_shape(published ? version.key : size);
  if (shape == nullptr) {
    fail(ErrorCode::kInvalidRequest, "--size {}: not known for version {}", size, version.key);
  }
  DecoderConfig config;
  config.hidden_size = shape->hidden;
  config.num_layers = shape->layers;
  config.num_heads = shape->heads;
  config.num_kv_heads = shape->kv_heads;
  config.head_dim = shape->head_dim;
  config.intermediate_size = shape->intermediate;
  config.vocab_size = shape->vocab;
  config.max_positions = shape->positions;
  config.rope_theta = shape->theta;
  config.rms_norm_eps = shape->eps;
  config.tied_embeddings = shape->tied;
  // As in Qwen3, whose heads together are wider than the hidden state.
  if (config.head_dim == 0 && version.gguf_arch == "qwen3") config.head_dim = 128;
  if (size == "tower") {
    config.num_layers = 1;
    config.num_heads = config.num_kv_heads = 2;
    config.intermediate_size = 256;
    config.vocab_size = 512;
  }
  if (layers > 0) config.num_layers = layers;
  if (version.gguf_arch == "minicpm") {
    config.embedding_scale = 12.0f;
    config.residual_scale = 1.4f / std::sqrt(static_cast<float>(config.num_layers));
    config.logit_divisor = static_cast<float>(config.hidden_size) / 256.0f;
  }
  config.finish("make_checkpoint");
  return config;
}

inline void add_vision(const VersionRow& version, std::string_view size, ModelConfig& config) {
  const auto* shape = std::ranges::find(kVisionShapes, size, &VisionShape::key);
  if (shape == std::end(kVisionShapes)) shape = std::ranges::find(kVisionShapes, "full", &VisionShape::key);
  VisionConfig vision;
  vision.hidden_size = shape->hidden;
  vision.num_layers = shape->layers;
  vision.num_heads = shape->heads;
  vision.intermediate_size = shape->intermediate;
  vision.layer_norm_eps = 1e-6f;
  vision.finish("make_checkpoint");
  ResamplerConfig resampler;
  resampler.query_num = version.key == "v25" ? 96 : 64;
  resampler.embed_dim = config.decoder.hidden_size;
  resampler.vision_dim = vision.hidden_size;
  resampler.finish("make_checkpoint");
  config.vision = vision;
  config.resampler = resampler;
}

inline void add_audio(std::string_view size, ModelConfig& config) {
  const auto* shape = std::ranges::find(kAudioShapes, size, &AudioShape::key);
  if (shape == std::end(kAudioShapes)) shape = std::ranges::find(kAudioShapes, "full", &AudioShape::key);
  AudioConfig audio;
  audio.hidden_size = shape->hidden;
  audio.num_layers = shape->layers;
  audio.num_heads = shape->heads;
  audio.intermediate_size = shape->intermediate;
  audio.output_size = config.decoder.hidden_size;
  audio.finish("make_checkpoint");
  config.audio = audio;
}

inline ModelConfig make_config(const std::string& version_key, const std::string& size, int64_t layers) {
  const VersionRow* version = version_by_key(version_key);
  if (version == nullptr) {
    std::string known;
    for (const VersionRow& row : versions())
      known += fmt::format(" {}", row.key);
    fail(ErrorCode::kInvalidRequest, "--version {}: not known; there are{}", version_key, known);
  }
  ModelConfig config;
  config.version = version;
  config.source = "make_checkpoint";
  config.decoder = make_decoder(*version, size, layers);
  if (version->vision) add_vision(*version, size, config);
  if (version->sound) add_audio(size, config);
  return config;
}

/// Optional rows that this architecture has.
inline bool is_present(const TensorSpec& spec, const ModelConfig& config) {
  if (spec.presence == Presence::kRequired) return true;
  const std::string_view arch = config.version->gguf_arch, name = spec.gguf;
  if (name.ends_with("_norm.weight")) return arch == "qwen3";
  if (name.ends_with(".bias")) return arch == "qwen2";
  return name == "output.weight" && !config.decoder.tied_embeddings;
}

}  // namespace minicpm

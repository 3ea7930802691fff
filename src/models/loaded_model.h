// A model in memory: configuration, networks and tokenizer, with the files they view.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file_map.h"
#include "base/siphash.h"
#include "io/weight_source.h"
#include "models/decoder.h"
#include "models/lora.h"
#include "models/model_config.h"
#include "models/resampler.h"
#include "models/siglip.h"
#include "models/tensor_loader.h"
#include "models/whisper.h"
#include "text/tokenizer.h"

namespace minicpm {

class LoadedModel {
 public:
  /// A Hugging Face folder or a GGUF file (pair), with its tokenizer. `lora`, if any, is applied without changing the
  /// weights. Throws Error not_found, io, bad_file, unsupported, out_of_memory.
  static std::unique_ptr<LoadedModel> load(const ModelFiles& files, std::unique_ptr<Lora> lora = nullptr,
                                           FileAccess access = FileAccess::kMap);

  /// The networks alone, from parts that lie in different places (reference cases, tests). `projector` is null for
  /// safetensors and for text-only GGUF files.
  static std::unique_ptr<LoadedModel> load_networks(ModelConfig config, std::unique_ptr<WeightSource> weights,
                                                    std::unique_ptr<WeightSource> projector,
                                                    std::unique_ptr<Lora> lora = nullptr);

  const ModelConfig& config() const { return config_; }
  const VersionRow& version() const { return *config_.version; }
  const Decoder& decoder() const { return *decoder_; }
  bool has_vision() const { return tower_.has_value(); }
  bool has_audio() const { return audio_.has_value(); }
  const Tokenizer* tokenizer() const { return tokenizer_.get(); }
  const std::vector<int32_t>& stop_ids() const { return stop_ids_; }
  int64_t converted_bytes() const { return store_.bytes(); }
  /// Tells models and adapters apart whose answers differ; see models/fingerprint.h.
  Digest128 fingerprint() const;

  /// Query rows of all groups: tower over all slices (in parts, to bound memory), then the resampler.
  /// slices: in the order of the groups. Returns [groups * query_num, hidden]. Requires has_vision().
  Tensor encode(Context& ctx, std::span<const Patches* const> slices, std::span<const ResamplerGroup> groups) const;

  const SiglipTower& tower() const { return *tower_; }
  const Resampler& resampler() const { return *resampler_; }
  const AudioEncoder& audio() const { return *audio_; }

 private:
  explicit LoadedModel(ModelConfig config) : config_(std::move(config)) {}
  void build();
  void find_stop_ids();

  ModelConfig config_;
  std::unique_ptr<WeightSource> weights_;  // kept open
  std::unique_ptr<WeightSource> projector_;
  std::unique_ptr<Lora> lora_;
  ConvertedStore store_;
  std::optional<Decoder> decoder_;
  std::optional<SiglipTower> tower_;
  std::optional<Resampler> resampler_;
  std::optional<AudioEncoder> audio_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::vector<int32_t> stop_ids_;
};

}  // namespace minicpm

#include "models/loaded_model.h"

#include <algorithm>

#include "io/gguf_vocabulary.h"
#include "io/safetensors.h"
#include "models/description.h"
#include "models/fingerprint.h"
#include "text/tokenizer_loader.h"

namespace minicpm {
namespace {

/// Patches per pass through the tower: enough rows for full-speed products, at 4304 floats each about 70 MB.
constexpr int64_t kTowerRows = 4096;

std::string layer_prefix(std::string_view base, std::string_view folder, int64_t index) {
  return fmt::format("{}{}.{}.", base, folder, index);
}

DecoderWeights load_decoder(TensorLoader& loader, const ModelConfig& config) {
  const std::string_view hf = config.version->llm_prefix;
  DecoderWeights weights;
  loader.load(decoder_tensors(), config.decoder, hf, "", weights);
  weights.layers.resize(config.decoder.num_layers);
  for (int64_t i = 0; i < config.decoder.num_layers; ++i) {
    loader.load(decoder_layer_tensors(), config.decoder, layer_prefix(hf, "model.layers", i),
                layer_prefix("", "blk", i), weights.layers[i]);
  }
  return weights;
}

VisionWeights load_vision(TensorLoader& loader, const VisionConfig& config) {
  VisionWeights weights;
  loader.load(vision_tensors(), config, kVisionPrefixHf, kVisionPrefixGguf, weights);
  weights.layers.resize(config.num_layers);
  for (int64_t i = 0; i < config.num_layers; ++i) {
    loader.load(vision_layer_tensors(), config, layer_prefix(kVisionPrefixHf, "encoder.layers", i),
                layer_prefix(kVisionPrefixGguf, "blk", i), weights.layers[i]);
  }
  return weights;
}

AudioEncoder load_audio(TensorLoader& loader, const AudioConfig& config) {
  AudioWeights weights;
  loader.load(audio_tensors(), config, kAudioPrefix, kAudioPrefixGguf, weights);
  weights.layers.resize(config.num_layers);
  for (int64_t i = 0; i < config.num_layers; ++i) {
    loader.load(audio_layer_tensors(), config, layer_prefix(kAudioPrefix, "layers", i),
                layer_prefix(kAudioPrefixGguf, "blk", i), weights.layers[i]);
  }
  AudioProjectorWeights projector;
  loader.load(audio_projector_tensors(), config, kAudioProjectorPrefix, kAudioProjectorPrefixGguf, projector);
  return {config, std::move(weights), std::move(projector)};
}

}  // namespace

Digest128 LoadedModel::fingerprint() const {
  return minicpm::fingerprint(config_, *weights_, projector_.get(), lora_.get());
}

void LoadedModel::build() {
  if (lora_ != nullptr) lora_->bind(config_);
  TensorLoader language(*weights_, config_.gguf, store_, lora_.get());
  DecoderWeights decoder_weights = load_decoder(language, config_);
  if (!decoder_weights.output.defined() && !config_.decoder.tied_embeddings) {
    fail(ErrorCode::kBadFile, "{}: tensor {}lm_head.weight is missing", weights_->path(), config_.version->llm_prefix);
  }
  if (config_.decoder.tied_embeddings) decoder_weights.output = {};

  std::optional<TensorLoader> own;
  if (projector_ != nullptr) own.emplace(*projector_, config_.gguf, store_, lora_.get());
  TensorLoader& loader = own ? *own : language;
  if (config_.has_audio()) audio_.emplace(load_audio(loader, *config_.audio));
  if (config_.has_vision()) {
    loader.set_exchange_ffn(config_.gguf && !config_.legacy_ffn);
    VisionWeights vision_weights = load_vision(loader, *config_.vision);
    ResamplerWeights resampler_weights;
    loader.load(resampler_tensors(), *config_.resampler, kResamplerPrefix, kResamplerPrefix, resampler_weights);
    tower_.emplace(*config_.vision, std::move(vision_weights));
    resampler_.emplace(*config_.resampler, std::move(resampler_weights));
  }
  if (own) own->check_no_extra(version().other_parts);
  language.check_no_extra(version().other_parts);
  decoder_.emplace(config_.decoder, std::move(decoder_weights));
}

std::unique_ptr<LoadedModel> LoadedModel::load_networks(ModelConfig config, std::unique_ptr<WeightSource> weights,
                                                        std::unique_ptr<WeightSource> projector,
                                                        std::unique_ptr<Lora> lora) {
  std::unique_ptr<LoadedModel> model(new LoadedModel(std::move(config)));
  model->weights_ = std::move(weights);
  model->projector_ = std::move(projector);
  model->lora_ = std::move(lora);
  model->build();
  return model;
}

std::unique_ptr<LoadedModel> LoadedModel::load(const ModelFiles& files, std::unique_ptr<Lora> lora, FileAccess access) {
  std::unique_ptr<LoadedModel> model;
  std::unique_ptr<Tokenizer> tokenizer;
  if (files.kind == ModelFiles::Kind::kHuggingFace) {
    ModelDescription description = read_description(files);
    tokenizer = std::move(description.tokenizer);
    model = load_networks(std::move(description.config), open_safetensors_folder(files.folder, access), nullptr,
                          std::move(lora));
  } else {
    auto language = GgufFile::open(files.gguf, access);
    std::unique_ptr<GgufFile> projector;
    if (!files.mmproj.empty()) projector = GgufFile::open(files.mmproj, access);
    ModelConfig config = read_gguf_config(*language, projector.get());
    tokenizer = make_tokenizer(read_vocabulary(*language));
    model = load_networks(std::move(config), std::move(language), std::move(projector), std::move(lora));
  }
  check_vocabulary(model->config_, *tokenizer);
  model->tokenizer_ = std::move(tokenizer);
  model->find_stop_ids();
  return model;
}

void LoadedModel::find_stop_ids() {
  std::string_view names = version().stop_tokens;
  while (!names.empty()) {
    const size_t end = std::min(names.find(' '), names.size());
    if (const auto id = tokenizer_->token_id(names.substr(0, end))) stop_ids_.push_back(*id);
    names.remove_prefix(std::min(end + 1, names.size()));
  }
  if (const auto eos = tokenizer_->eos_id()) {
    if (std::ranges::find(stop_ids_, *eos) == stop_ids_.end()) stop_ids_.push_back(*eos);
  }
}

Tensor LoadedModel::encode(Context& ctx, std::span<const Patches* const> slices,
                           std::span<const ResamplerGroup> groups) const {
  const int64_t query_num = config_.resampler->query_num;
  Tensor rows =
      ctx.arena.tensor(DType::kF32, {static_cast<int64_t>(groups.size()) * query_num, config_.resampler->embed_dim});
  size_t slice = 0;
  for (size_t first = 0; first < groups.size();) {
    // As many whole groups as fit; a group larger than the limit goes alone.
    size_t last = first, num_slices = 0;
    int64_t patches = 0;
    while (last < groups.size()) {
      int64_t size = 0;
      for (const PatchGrid& grid : groups[last].slices)
        size += int64_t{grid.h} * grid.w;
      if (last > first && patches + size > kTowerRows) break;
      patches += size;
      num_slices += groups[last].slices.size();
      ++last;
    }
    ArenaScope scratch(ctx.arena);
    const Tensor features = tower_->forward(ctx, slices.subspan(slice, num_slices));
    const Tensor encoded = resampler_->forward(ctx, features, groups.subspan(first, last - first));
    const Tensor part = rows.slice(static_cast<int64_t>(first) * query_num, static_cast<int64_t>(last) * query_num);
    std::copy_n(encoded.f32(), encoded.numel(), part.f32());
    slice += num_slices;
    first = last;
  }
  return rows;
}

}  // namespace minicpm

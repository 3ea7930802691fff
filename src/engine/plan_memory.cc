// What a model will need, from headers alone.
#include <algorithm>
#include <initializer_list>

#include "engine/chat.h"
#include "engine/kv_cache.h"
#include "io/gguf.h"
#include "io/safetensors.h"
#include "io/tensor_table.h"
#include "models/description.h"
#include "models/lora.h"
#include "models/model_config.h"
#include "models/speech_files.h"

namespace minicpm {
namespace {

constexpr int64_t kMiB = 1 << 20;

/// Sizes of the tensors that the tables ask for, by where they will live.
void add_weights(const ModelConfig& config, const WeightSource& language, const WeightSource* projector,
                 MemoryPlan& plan) {
  for (const PartSpec& part : tensor_specs(config)) {
    const bool in_projector = config.gguf && part.part == ModelPart::kProjector;
    const WeightSource& source = in_projector && projector != nullptr ? *projector : language;
    const TensorSpec& spec = part.spec;
    const StoredTensor* stored = source.find(config.gguf ? spec.gguf : spec.hf);
    if (stored == nullptr) continue;
    const bool converted = spec.role == Role::kVector || spec.role == Role::kTable;
    if (converted) {
      plan.converted_bytes += spec.numel() * static_cast<int64_t>(sizeof(float));
    } else if (!config.gguf && spec.layout == Layout::kTransposed) {
      plan.converted_bytes += row_bytes(stored->view.dtype, spec.numel());
    } else {
      plan.weights_bytes += row_bytes(stored->view.dtype, spec.numel());
    }
  }
}

/// Files that are read into memory lie there whole, with the tensors that are converted and those that nobody asks for.
void count_what_is_read(std::initializer_list<const WeightSource*> sources, FileAccess access, MemoryPlan& plan) {
  plan.weights_mapped = access == FileAccess::kMap;
  if (plan.weights_mapped) return;
  plan.weights_bytes = 0;
  for (const WeightSource* source : sources) {
    if (source == nullptr) continue;
    for (const StoredTensor& tensor : source->tensors())
      plan.weights_bytes += stored_bytes(tensor.view);
  }
}

/// Weights of what speaks; 0 where the model does not.
int64_t speech_bytes(const ModelConfig& config, const ModelFiles& files) {
  if (!config.version->sound || !has_speech_files(files)) return 0;
  const SpeechSources speech = open_speech(files);
  int64_t bytes = 0;
  for (const StoredTensor& tensor : speech.weights->tensors()) {
    if (tensor.name.starts_with(kSpeechPrefix) || tensor.name.starts_with(kVocoderPrefixGguf))
      bytes += stored_bytes(tensor.view);
  }
  if (speech.vocoder == nullptr) return bytes;
  for (const StoredTensor& tensor : speech.vocoder->tensors())
    bytes += stored_bytes(tensor.view);
  return bytes;
}

/// Peak of the activations: one chunk through one layer of the language model, or one part of the tower, in f32.
int64_t activation_bytes(const ModelConfig& config, const EngineOptions& options) {
  const DecoderConfig& d = config.decoder;
  const int64_t chunk = options.prefill_chunk;
  // x, h, q, k, v, the attention's result and projection, gate and up, down.
  int64_t per_row = 4 * d.hidden_size + 2 * d.q_dim + 2 * d.kv_dim + 2 * d.intermediate_size;
  int64_t peak = (chunk * per_row + d.vocab_size * 2) * 4;
  if (config.has_vision()) {
    const VisionConfig& v = *config.vision;
    constexpr int64_t kTowerRows = 4096;
    const int64_t slice = static_cast<int64_t>(config.slices.scale_resolution) / v.patch_size;
    const int64_t rows = std::min(kTowerRows, (config.slices.max_slice_nums + 1) * slice * slice);
    per_row = std::max(6 * v.hidden_size + v.intermediate_size, v.hidden_size + 5 * d.hidden_size);
    peak = std::max(peak, rows * per_row * 4);
  }
  if (config.has_audio()) {
    const AudioConfig& a = *config.audio;
    per_row = 6 * a.hidden_size + a.intermediate_size + 2 * 3 * a.hidden_size;
    peak = std::max(peak, a.max_positions * (per_row + 2 * a.output_size) * 4);
  }
  return peak + 4 * kMiB;
}

}  // namespace

MemoryPlan plan_memory(const ModelSpec& spec, const EngineOptions& options) {
  const ModelFiles files = find_model_files(spec.model, spec.mmproj);
  MemoryPlan plan;
  ModelConfig config;
  if (files.kind == ModelFiles::Kind::kHuggingFace) {
    config = read_config(files);
    const auto weights = open_safetensors_folder(files.folder);
    add_weights(config, *weights, nullptr, plan);
    count_what_is_read({weights.get()}, choose_file_access(files.folder, options.weight_access), plan);
  } else {
    const auto language = GgufFile::open(files.gguf);
    std::unique_ptr<GgufFile> projector;
    if (!files.mmproj.empty()) projector = GgufFile::open(files.mmproj);
    config = read_gguf_config(*language, projector.get());
    add_weights(config, *language, projector.get(), plan);
    count_what_is_read({language.get(), projector.get()}, choose_file_access(files.gguf, options.weight_access), plan);
  }
  plan.speech_bytes = speech_bytes(config, files);
  if (!spec.lora.empty()) {
    const auto lora = Lora::open(spec.lora, spec.lora_scale);
    lora->bind(config);
    plan.weights_bytes += lora->bytes();
  }
  plan.context_tokens = options.context_tokens > 0 ? options.context_tokens
                                                   : std::min(options.default_context, config.decoder.max_positions);
  plan.kv_bytes =
      KvCache::bytes_for(config.decoder, options.kv_type, std::max(plan.context_tokens, options.cache_tokens));
  plan.activations_bytes = activation_bytes(config, options);
  if (!options.drafts.model.empty()) {
    EngineOptions draft = options;
    draft.drafts = {};
    draft.cache_tokens = 0;
    draft.context_tokens = plan.context_tokens;
    plan.draft_bytes = plan_memory({options.drafts.model, ""}, draft).total_bytes();
  }
  return plan;
}

}  // namespace minicpm

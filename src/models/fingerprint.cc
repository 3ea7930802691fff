#include "models/fingerprint.h"

#include <string_view>

namespace minicpm {
namespace {

constexpr SipKey kKey = {0x66696e6765727072, 0x696e74206d6f6465};  // nobody gains from a collision but its maker
constexpr size_t kSamples = 8, kSampleBytes = 256;                 // of each tensor

void add_text(SipHash& hash, std::string_view text) {
  hash.add_list(std::span(text));
}

std::span<const std::byte> bytes_of(const Weight& weight) {
  return {static_cast<const std::byte*>(weight.data), static_cast<size_t>(weight.bytes())};
}

void add_form(SipHash& hash, std::string_view tensor, const Weight& weight) {
  add_text(hash, tensor);
  add_text(hash, name(weight.dtype));
  hash.add_list(weight.shape());
}

/// Training changes weights everywhere, so that a few bytes from everywhere tell it.
void add_samples(SipHash& hash, const WeightSource& source) {
  for (const StoredTensor& tensor : source.tensors()) {
    add_form(hash, tensor.name, tensor.view);
    const auto bytes = bytes_of(tensor.view);
    if (bytes.size() <= kSamples * kSampleBytes) {
      hash.add_list(bytes);
      continue;
    }
    for (size_t i = 0; i < kSamples; ++i)
      hash.add(bytes.subspan((bytes.size() - kSampleBytes) / (kSamples - 1) * i, kSampleBytes));
  }
}

void add_adapter(SipHash& hash, const Lora& lora) {
  const float scale = lora.scale();
  hash.add_list(std::span(&scale, 1));
  for (const LoraLayer& layer : lora.adapter().layers) {
    for (const Weight& weight : {layer.a, layer.b}) {
      add_form(hash, layer.module, weight);
      hash.add_list(bytes_of(weight));
    }
  }
  for (const WholeTensor& tensor : lora.adapter().whole) {
    add_form(hash, tensor.name, tensor.view);
    hash.add_list(bytes_of(tensor.view));
  }
}

void add_decoder(SipHash& hash, const DecoderConfig& config) {
  const int64_t sizes[] = {config.vocab_size,        config.hidden_size,        config.num_layers,
                           config.num_heads,         config.num_kv_heads,       config.head_dim,
                           config.intermediate_size, config.rope_switch_length, static_cast<int64_t>(config.rope_style),
                           config.tied_embeddings};
  const float numbers[] = {config.rms_norm_eps,   config.rope_theta,    config.embedding_scale,
                           config.residual_scale, config.logit_divisor, config.rope_attention_factor};
  hash.add_list(std::span<const int64_t>(sizes));
  hash.add_list(std::span<const float>(numbers));
  hash.add_list(std::span(config.rope_factors));
  hash.add_list(std::span(config.rope_long_factors));
}

}  // namespace

Digest128 fingerprint(const ModelConfig& config, const WeightSource& weights, const WeightSource* projector,
                      const Lora* lora) {
  SipHash hash(kKey);
  add_text(hash, config.version->key);
  add_decoder(hash, config.decoder);
  add_samples(hash, weights);
  if (projector != nullptr) add_samples(hash, *projector);
  if (lora != nullptr) add_adapter(hash, *lora);
  return hash.finish();
}

}  // namespace minicpm

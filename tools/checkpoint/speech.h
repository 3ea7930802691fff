// A small random speech decoder with its codec, vocoder and tokenizer, in the layout of MiniCPM-o 2.6's folder.
#pragma once

#include <cmath>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/file_map.h"
#include "base/json.h"
#include "checkpoint/random_weights.h"
#include "io/safetensors.h"

namespace minicpm {

/// Words of its tokenizer; the ids of the first ones are those of tts_config.
inline constexpr std::string_view kSpeechWords[] = {"[PAD]",     "[UNK]", "[Stts]", "[Ptts]",  "[Etts]",
                                                    "[spk_emb]", "hello", "good",   "morning", "##s",
                                                    ".",         ",",     "你",     "好"};
inline constexpr int64_t kSpeechHidden = 32, kSpeechInner = 48, kSpeechLayers = 2, kSpeechHeads = 2, kSpeechCodes = 626;

inline Json speech_config_json(int64_t llm_dim) {
  return {{"model_type", "conditional_chattts"},
          {"llm_dim", llm_dim},
          {"hidden_size", kSpeechHidden},
          {"intermediate_size", kSpeechInner},
          {"num_attention_heads", kSpeechHeads},
          {"num_hidden_layers", kSpeechLayers},
          {"max_position_embeddings", 4096},
          {"num_audio_tokens", kSpeechCodes},
          {"num_text_tokens", std::size(kSpeechWords)},
          {"num_vq", 4},
          {"spk_emb_token_id", 5},
          {"audio_bos_token_id", 3},
          {"text_eos_token_id", 4},
          {"streaming_text_reserved_len", 60}};
}

/// Normal with variance 1 / inputs; norms and scales near 1, biases near 0.
inline TensorToWrite random_plain(std::string name, std::vector<int64_t> shape, uint64_t seed) {
  TensorToWrite tensor{name, DType::kF32, shape, {}};
  tensor.produce = [name, shape, seed](const ByteSink& sink) {
    int64_t count = 1;
    for (const int64_t size : shape)
      count *= size;
    const bool vector = shape.size() == 1 || count == shape[0] || name.ends_with("coef");
    const float mean = vector && !name.ends_with("bias") ? 1.0f : 0.0f;
    const float spread = vector ? 0.05f : 1.0f / std::sqrt(static_cast<float>(count / shape[0]));
    Random random(hash_text(name, seed));
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values)
      value = mean + spread * random.normal();
    sink(std::as_bytes(std::span(values)));
  };
  return tensor;
}

inline void add_convnext(std::vector<TensorToWrite>& tensors, const std::string& prefix, int64_t dim, int64_t inner,
                         const std::string& scale, uint64_t seed) {
  const std::pair<std::string, std::vector<int64_t>> parts[] = {{"dwconv.weight", {dim, 1, 7}},
                                                                {"dwconv.bias", {dim}},
                                                                {"norm.weight", {dim}},
                                                                {"norm.bias", {dim}},
                                                                {"pwconv1.weight", {inner, dim}},
                                                                {"pwconv1.bias", {inner}},
                                                                {"pwconv2.weight", {dim, inner}},
                                                                {"pwconv2.bias", {dim}},
                                                                {scale, {dim}}};
  for (const auto& [name, shape] : parts)
    tensors.push_back(random_plain(prefix + name, shape, seed));
}

/// What stands under "tts." in the model's safetensors.
inline std::vector<TensorToWrite> speech_tensors(int64_t llm_dim, uint64_t seed) {
  constexpr int64_t kHalf = 12, kMid = 10, kDim = 16, kOut = 14, kMel = 100;
  std::vector<TensorToWrite> tensors;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    tensors.push_back(random_plain("tts." + name, std::move(shape), seed));
  };
  const int64_t h = kSpeechHidden;
  add("projector.linear1.weight", {h, llm_dim});
  add("projector.linear1.bias", {h});
  add("projector.linear2.weight", {h, h});
  add("projector.linear2.bias", {h});
  add("emb_text.weight", {static_cast<int64_t>(std::size(kSpeechWords)), h});
  for (int q = 0; q < 4; ++q) {
    add(fmt::format("emb_code.{}.weight", q), {kSpeechCodes, h});
    add(fmt::format("head_code.{}.parametrizations.weight.original0", q), {kSpeechCodes, 1});
    add(fmt::format("head_code.{}.parametrizations.weight.original1", q), {kSpeechCodes, h});
  }
  for (int64_t i = 0; i < kSpeechLayers; ++i) {
    const std::string layer = fmt::format("model.layers.{}.", i);
    for (const char* name : {"q_proj", "k_proj", "v_proj", "o_proj"})
      add(layer + "self_attn." + name + ".weight", {h, h});
    add(layer + "mlp.gate_proj.weight", {kSpeechInner, h});
    add(layer + "mlp.up_proj.weight", {kSpeechInner, h});
    add(layer + "mlp.down_proj.weight", {h, kSpeechInner});
    add(layer + "input_layernorm.weight", {h});
    add(layer + "post_attention_layernorm.weight", {h});
  }
  add("model.norm.weight", {h});
  for (int g = 0; g < 2; ++g) {
    add(fmt::format("dvae.vq_layer.quantizer.rvqs.{}.project_out.weight", g), {kHalf, 4});
    add(fmt::format("dvae.vq_layer.quantizer.rvqs.{}.project_out.bias", g), {kHalf});
  }
  add("dvae.decoder.conv_in.0.weight", {kMid, kHalf, 3});
  add("dvae.decoder.conv_in.0.bias", {kMid});
  add("dvae.decoder.conv_in.2.weight", {kDim, kMid, 3});
  add("dvae.decoder.conv_in.2.bias", {kDim});
  add_convnext(tensors, "tts.dvae.decoder.decoder_block.0.", kDim, 2 * kDim, "coef", seed);
  add("dvae.decoder.conv_out.weight", {kOut, kDim, 1});
  add("dvae.out_conv.weight", {kMel, kOut, 3});
  add("dvae.coef", {1, kMel, 1});
  return tensors;
}

/// assets/vocos.safetensors and assets/chattts_tokenizer/tokenizer.json.
inline void write_speech_assets(const std::filesystem::path& folder, uint64_t seed) {
  constexpr int64_t kDim = 16, kMel = 100, kSpectrum = 1026;
  std::filesystem::create_directories(folder / "assets/chattts_tokenizer");
  std::vector<TensorToWrite> tensors;
  const std::pair<std::string, std::vector<int64_t>> parts[] = {{"backbone.embed.weight", {kDim, kMel, 7}},
                                                                {"backbone.embed.bias", {kDim}},
                                                                {"backbone.norm.weight", {kDim}},
                                                                {"backbone.norm.bias", {kDim}},
                                                                {"backbone.final_layer_norm.weight", {kDim}},
                                                                {"backbone.final_layer_norm.bias", {kDim}},
                                                                {"head.out.weight", {kSpectrum, kDim}},
                                                                {"head.out.bias", {kSpectrum}}};
  for (const auto& [name, shape] : parts)
    tensors.push_back(random_plain(name, shape, seed));
  add_convnext(tensors, "backbone.convnext.0.", kDim, 2 * kDim, "gamma", seed);
  write_safetensors(folder / "assets/vocos.safetensors", std::move(tensors));
  Json vocab;
  for (size_t i = 0; i < std::size(kSpeechWords); ++i)
    vocab[std::string(kSpeechWords[i])] = i;
  const Json words = {{"added_tokens", Json::array()},
                      {"normalizer", {{"type", "BertNormalizer"}, {"lowercase", true}}},
                      {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
                      {"model", {{"type", "WordPiece"}, {"unk_token", "[UNK]"}, {"vocab", vocab}}}};
  write_file_atomically(folder / "assets/chattts_tokenizer/tokenizer.json", words.dump());
}

}  // namespace minicpm

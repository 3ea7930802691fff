// A random speech decoder with its codec, vocoder and tokenizer, in the layout of MiniCPM-o 2.6's folder.
#pragma once

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/file_map.h"
#include "base/json.h"
#include "checkpoint/random_weights.h"
#include "io/safetensors.h"
#include "models/model_config.h"

namespace minicpm {

struct SpeechShape {
  std::string_view key;                          // size, or "full" for all that are not listed
  int64_t hidden, inner, layers, heads;          // of the transformer
  int64_t words, reserved_text;                  // tokens of the tokenizer, places for text
  int64_t start, bos, end, speaker;              // ids of [Stts], [Ptts], [Etts], [spk_emb]
  int64_t group, mid, dim, blocks, block_inner;  // of the codec
  int64_t out;                                   // of its decoder
  bool encoder;                                  // whether it has one, and the unused table of the published file
  int64_t vocos_dim, vocos_inner, vocos_blocks;
};

inline constexpr SpeechShape kSpeechShapes[] = {
    {"tiny", 32, 48, 2, 2, 14, 60, 2, 3, 4, 5, 12, 10, 16, 1, 32, 14, false, 16, 32, 1},
    {"small", 256, 768, 4, 4, 100, 300, 2, 3, 4, 5, 64, 64, 128, 4, 256, 128, false, 192, 576, 4},
    {"full", 768, 3072, 20, 12,   21178, 300,  21131, 21132, 21133, 21143,
     512,    128, 256,  12, 1024, 512,   true, 512,   1536,  8},
};
inline constexpr int64_t kSpeechCodes = 626, kSpeechMel = 100, kSpeechSpectrum = 1026, kUnusedWords = 32000;

inline const SpeechShape& speech_shape(std::string_view size) {
  const auto* shape = std::ranges::find(kSpeechShapes, size, &SpeechShape::key);
  return shape != std::end(kSpeechShapes) ? *shape : *std::ranges::find(kSpeechShapes, "full", &SpeechShape::key);
}

/// Words of the tokenizer by id: the special ones, a few of a small text, single letters, and fillers.
inline std::vector<std::string> speech_words(const SpeechShape& shape) {
  std::vector<std::string> words(static_cast<size_t>(shape.words));
  words[0] = "[PAD]";
  words[1] = "[UNK]";
  const std::pair<int64_t, std::string_view> special[] = {
      {shape.start, "[Stts]"}, {shape.bos, "[Ptts]"}, {shape.end, "[Etts]"}, {shape.speaker, "[spk_emb]"}};
  for (const auto& [id, text] : special)
    words[static_cast<size_t>(id)] = text;
  std::vector<std::string> more = {"hello", "good", "morning", "##s", ".", ",", "你", "好"};
  for (char c = 'a'; c <= 'z'; ++c) {
    more.emplace_back(1, c);
    if (c != 's') more.push_back(std::string("##") + c);
  }
  size_t next = 0;
  for (size_t id = 0; id < words.size(); ++id) {
    if (words[id].empty()) words[id] = next < more.size() ? more[next++] : fmt::format("[filler{}]", id);
  }
  return words;
}

inline std::string speech_tokenizer_json(const SpeechShape& shape) {
  std::string vocab = "{";  // as text: a document of so many keys is slow to build
  const std::vector<std::string> words = speech_words(shape);
  for (size_t id = 0; id < words.size(); ++id)
    fmt::format_to(std::back_inserter(vocab), "{}{}:{}", id == 0 ? "" : ",", Json(words[id]).dump(), id);
  const Json head = {{"added_tokens", Json::array()},
                     {"normalizer", {{"type", "BertNormalizer"}, {"lowercase", true}}},
                     {"pre_tokenizer", {{"type", "BertPreTokenizer"}}}};
  std::string text = head.dump();
  text.pop_back();
  return text + R"(,"model":{"type":"WordPiece","unk_token":"[UNK]","vocab":)" + vocab + "}}}";
}

inline SpeechConfig speech_config(const SpeechShape& shape, int64_t llm_dim) {
  SpeechConfig config;
  config.llm_dim = llm_dim;
  config.hidden_size = shape.hidden;
  config.num_layers = shape.layers;
  config.num_heads = shape.heads;
  config.intermediate_size = shape.inner;
  config.num_text_tokens = shape.words;
  config.num_audio_tokens = kSpeechCodes;
  config.speaker_id = shape.speaker;
  config.audio_start_id = shape.bos;
  config.text_end_id = shape.end;
  config.reserved_text = shape.reserved_text;
  config.finish("make_checkpoint");
  return config;
}

inline Json speech_config_json(const SpeechConfig& config) {
  Json json = {{"model_type", "conditional_chattts"}};
  for (const ParamRow<SpeechConfig>& row : speech_params())
    json[std::string(row.hf)] = config.*row.integer;
  return json;
}

/// Normal with variance 1 / inputs; norms and scales near 1, biases near 0.
inline TensorToWrite random_plain(std::string name, std::vector<int64_t> shape, uint64_t seed, DType dtype) {
  TensorToWrite tensor{name, dtype, shape, {}};
  tensor.produce = [name, shape, seed, dtype](const ByteSink& sink) {
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
    const int64_t cols = shape.back(), bytes = row_bytes(dtype, cols);
    std::vector<std::byte> out(static_cast<size_t>(count / cols * bytes));
    for (int64_t r = 0; r < count / cols; ++r)
      quantize_row(dtype, values.data() + r * cols, out.data() + r * bytes, cols);
    sink(out);
  };
  return tensor;
}

using NamedShape = std::pair<std::string, std::vector<int64_t>>;

inline void add_convnext(std::vector<NamedShape>& tensors, const std::string& prefix, int64_t blocks, int64_t dim,
                         int64_t inner, const std::string& scale) {
  for (int64_t i = 0; i < blocks; ++i) {
    const std::string block = fmt::format("{}{}.", prefix, i);
    const NamedShape parts[] = {{"dwconv.weight", {dim, 1, 7}},
                                {"dwconv.bias", {dim}},
                                {"norm.weight", {dim}},
                                {"norm.bias", {dim}},
                                {"pwconv1.weight", {inner, dim}},
                                {"pwconv1.bias", {inner}},
                                {"pwconv2.weight", {dim, inner}},
                                {"pwconv2.bias", {dim}},
                                {scale, {dim}}};
    for (const auto& [name, shape] : parts)
      tensors.emplace_back(block + name, shape);
  }
}

inline void add_codec(const SpeechShape& s, std::vector<NamedShape>& tensors) {
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    tensors.emplace_back("dvae." + name, std::move(shape));
  };
  for (int g = 0; g < 2; ++g) {
    const std::string group = fmt::format("vq_layer.quantizer.rvqs.{}.", g);
    add(group + "project_out.weight", {s.group, 4});
    add(group + "project_out.bias", {s.group});
    if (!s.encoder) continue;
    add(group + "project_in.weight", {4, s.group});
    add(group + "project_in.bias", {4});
  }
  const auto add_stack = [&](const std::string& prefix, int64_t in, int64_t out) {
    add(prefix + "conv_in.0.weight", {s.mid, in, 3});
    add(prefix + "conv_in.0.bias", {s.mid});
    add(prefix + "conv_in.2.weight", {s.dim, s.mid, 3});
    add(prefix + "conv_in.2.bias", {s.dim});
    add_convnext(tensors, "dvae." + prefix + "decoder_block.", s.blocks, s.dim, s.block_inner, "coef");
    add(prefix + "conv_out.weight", {out, s.dim, 1});
  };
  add_stack("decoder.", s.group, s.out);
  add("out_conv.weight", {kSpeechMel, s.out, 3});
  add("coef", {1, kSpeechMel, 1});
  if (!s.encoder) return;
  add("downsample_conv.0.weight", {s.out, kSpeechMel, 3});
  add("downsample_conv.0.bias", {s.out});
  add("downsample_conv.2.weight", {s.out, s.out, 4});
  add("downsample_conv.2.bias", {s.out});
  add_stack("encoder.", s.out, 2 * s.group);
}

/// What stands under "tts." in the model's safetensors.
inline std::vector<NamedShape> speech_tensors(const SpeechShape& s, int64_t llm_dim) {
  std::vector<NamedShape> tensors = {{"projector.linear1.weight", {s.hidden, llm_dim}},
                                     {"projector.linear1.bias", {s.hidden}},
                                     {"projector.linear2.weight", {s.hidden, s.hidden}},
                                     {"projector.linear2.bias", {s.hidden}},
                                     {"emb_text.weight", {s.words, s.hidden}}};
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    tensors.emplace_back(name, std::move(shape));
  };
  for (int q = 0; q < 4; ++q) {
    add(fmt::format("emb_code.{}.weight", q), {kSpeechCodes, s.hidden});
    add(fmt::format("head_code.{}.parametrizations.weight.original0", q), {kSpeechCodes, 1});
    add(fmt::format("head_code.{}.parametrizations.weight.original1", q), {kSpeechCodes, s.hidden});
  }
  if (s.encoder) add("model.embed_tokens.weight", {kUnusedWords, s.hidden});
  for (int64_t i = 0; i < s.layers; ++i) {
    const std::string layer = fmt::format("model.layers.{}.", i);
    for (const char* name : {"q_proj", "k_proj", "v_proj", "o_proj"})
      add(layer + "self_attn." + name + ".weight", {s.hidden, s.hidden});
    add(layer + "mlp.gate_proj.weight", {s.inner, s.hidden});
    add(layer + "mlp.up_proj.weight", {s.inner, s.hidden});
    add(layer + "mlp.down_proj.weight", {s.hidden, s.inner});
    add(layer + "input_layernorm.weight", {s.hidden});
    add(layer + "post_attention_layernorm.weight", {s.hidden});
  }
  add("model.norm.weight", {s.hidden});
  add_codec(s, tensors);
  return tensors;
}

inline std::vector<NamedShape> vocoder_tensors(const SpeechShape& s) {
  std::vector<NamedShape> tensors = {{"backbone.embed.weight", {s.vocos_dim, kSpeechMel, 7}},
                                     {"backbone.embed.bias", {s.vocos_dim}},
                                     {"backbone.norm.weight", {s.vocos_dim}},
                                     {"backbone.norm.bias", {s.vocos_dim}},
                                     {"backbone.final_layer_norm.weight", {s.vocos_dim}},
                                     {"backbone.final_layer_norm.bias", {s.vocos_dim}},
                                     {"head.out.weight", {kSpeechSpectrum, s.vocos_dim}},
                                     {"head.out.bias", {kSpeechSpectrum}}};
  add_convnext(tensors, "backbone.convnext.", s.vocos_blocks, s.vocos_dim, s.vocos_inner, "gamma");
  return tensors;
}

/// assets/vocos.safetensors and assets/chattts_tokenizer/tokenizer.json.
inline void write_speech_assets(const SpeechShape& shape, const std::filesystem::path& folder, uint64_t seed) {
  std::filesystem::create_directories(folder / "assets/chattts_tokenizer");
  std::vector<TensorToWrite> tensors;
  for (const auto& [name, dims] : vocoder_tensors(shape))
    tensors.push_back(random_plain(name, dims, seed, DType::kF32));
  write_safetensors(folder / "assets/vocos.safetensors", std::move(tensors));
  write_file_atomically(folder / "assets/chattts_tokenizer/tokenizer.json", speech_tokenizer_json(shape));
}

}  // namespace minicpm

// The language models of the family: pre-norm transformer decoders with grouped-query attention and rotary positions.
// Qwen3 normalises q and k per head, Qwen2 adds biases to q, k and v, Llama has neither, MiniCPM scales its embeddings,
// residual branches and logits. Those are rows and numbers here, not branches of the layer.
#pragma once

#include <span>
#include <vector>

#include "models/tables.h"
#include "ops/ops.h"

namespace minicpm {

struct DecoderConfig {
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;  // 0 in a file means hidden_size / num_heads
  int64_t intermediate_size = 0;
  int64_t max_positions = 0;
  float rms_norm_eps = 1e-6f;
  float rope_theta = 10000.0f;
  bool tied_embeddings = false;

  // MiniCPM-2.4B (V 1.0, V 2.0); neutral elsewhere.
  float embedding_scale = 1.0f;  // on token embeddings, not on image rows
  float residual_scale = 1.0f;   // on each branch before it is added
  float logit_divisor = 1.0f;    // hidden state is divided by it before the output matrix

  // How positions are stored and scaled.
  RopeStyle rope_style = RopeStyle::kHalves;
  std::vector<float> rope_factors;       // frequency i is divided by rope_factors[i]; empty: all 1
  std::vector<float> rope_long_factors;  // longrope: used instead once a call reaches past rope_switch_length
  int64_t rope_switch_length = 0;
  float rope_attention_factor = 1.0f;  // on cos and sin

  // Derived by finish().
  int64_t q_dim = 0;   // num_heads * head_dim
  int64_t kv_dim = 0;  // num_kv_heads * head_dim

  /// Fills the derived sizes and checks that they fit together. Throws Error bad_file naming `source`.
  void finish(std::string_view source);
};

struct DecoderLayerWeights {
  Tensor attn_norm;  // [hidden]
  Weight q, k, v;    // [q_dim, hidden], [kv_dim, hidden], [kv_dim, hidden]
  Tensor q_bias, k_bias, v_bias;
  Tensor q_norm, k_norm;  // [head_dim]
  Weight o;               // [hidden, q_dim]
  Tensor ffn_norm;        // [hidden]
  Weight gate, up;        // [intermediate, hidden]
  Weight down;            // [hidden, intermediate]
};

struct DecoderWeights {
  Weight embed;   // [vocab, hidden]
  Tensor norm;    // [hidden]
  Weight output;  // [vocab, hidden]; undefined when tied to embed
  std::vector<DecoderLayerWeights> layers;
};

std::span<const ParamRow<DecoderConfig>> decoder_params();
std::span<const TensorRow<DecoderConfig, DecoderWeights>> decoder_tensors();
std::span<const TensorRow<DecoderConfig, DecoderLayerWeights>> decoder_layer_tensors();

class Decoder {
 public:
  Decoder(DecoderConfig config, DecoderWeights weights);

  /// Token embeddings [ids, hidden], scaled as the version demands. Image rows are put over them afterwards.
  Tensor embed(Context& ctx, std::span<const int32_t> ids) const;

  /// x [rows, hidden] (changed) through all layers; `kv` has one view per layer. Returns logits [batch.logit_rows,
  /// vocab]. `hidden`, if not null, gets those rows after the last norm [batch.logit_rows, hidden].
  Tensor forward(Context& ctx, Tensor x, std::span<const KvLayer> kv, const Batch& batch,
                 Tensor* hidden = nullptr) const;

  const DecoderConfig& config() const { return config_; }
  const DecoderWeights& weights() const { return weights_; }

 private:
  void layer(Context& ctx, int64_t index, Tensor x, const KvLayer& kv, const Batch& batch,
             const ops::Pair& cos_sin) const;
  ops::Pair rope_table(Context& ctx, const Batch& batch) const;

  DecoderConfig config_;
  DecoderWeights weights_;
  std::vector<float> inv_freq_;       // [head_dim / 2]
  std::vector<float> inv_freq_long_;  // the same with the long factors; empty without longrope
};

}  // namespace minicpm

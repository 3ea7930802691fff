// MiniCPM-V and MiniCPM-o in torch, for training: the tower, the resampler, the sound encoder and the language model
// over packed batches. The second definition of what models/ computes, held against it by tests.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "models/model_config.h"
#include "train/torch/batch.h"
#include "train/torch/functions.h"
#include "train/torch/parameters.h"

namespace minicpm::train {

struct ModelOptions {
  at::ScalarType compute = at::kFloat;  // type of products and branches; the residual stream keeps the parameters' type
  bool gradient_checkpointing = false;  // layers are computed again on the way back instead of kept
  double lora_scale = 1.0;
  double lora_dropout = 0.0;  // on the input of A while training
};

class TorchModel {
 public:
  /// Views the parameters, which must outlive the model. Throws Error internal when one is missing, unsupported for
  /// versions whose tower or rotary scaling has no torch form.
  TorchModel(const ModelConfig& config, const Parameters& parameters, const ModelOptions& options);

  /// [patches, hidden] in the compute type. Requires pictures.
  Tensor tower(const Batch& batch) const;
  /// Features of tower() -> [groups * query_num, embed] in the compute type.
  Tensor resample(const Batch& batch, const Tensor& features) const;
  /// Sound encoder, projection and pooling: the rows of all sounds [rows, hidden] in the compute type. Requires sounds.
  Tensor hear(const Batch& batch) const;
  /// Last hidden states before the final norm, [sequences * length, hidden]; image_rows from resample() and sound_rows
  /// from hear(), or undefined.
  Tensor decode(const Batch& batch, const Tensor& image_rows, const Tensor& sound_rows = {}) const;
  /// Hidden states of some rows -> [rows, vocab].
  Tensor logits(const Tensor& hidden, const Tensor& rows) const;

  void set_training(bool training) { training_ = training; }

 private:
  struct Linear {
    Tensor w, bias, a, b;
  };
  struct VisionLayer {
    Tensor norm1, norm1_bias, norm2, norm2_bias;
    Linear q, k, v, out, fc1, fc2;
  };
  struct SoundEncoder {
    Tensor conv1, conv1_bias, conv2, conv2_bias, position, norm, norm_bias;
    std::vector<VisionLayer> layers;  // of the same parts as the tower's
    Linear linear1, linear2;
  };
  struct DecoderLayer {
    Tensor attn_norm, q_norm, k_norm, ffn_norm;
    Linear q, k, v, o, gate, up, down;
  };
  Linear find_linear(const Parameters& parameters, const std::string& module) const;
  void find_tower(const Parameters& parameters);
  void find_resampler(const Parameters& parameters);
  void find_sound(const Parameters& parameters);
  void find_decoder(const Parameters& parameters);

  Tensor apply(const Linear& layer, const Tensor& x) const;
  /// The layer, computed again on the way back where that is asked for.
  Tensor run_layer(const Tensor& x, const std::function<Tensor(const Tensor&)>& layer) const;
  Tensor sound_layer(const VisionLayer& w, Tensor x, const std::vector<Run>& runs) const;
  Tensor vision_layer(const VisionLayer& w, Tensor x, const std::vector<Run>& runs) const;
  Tensor decoder_layer(const DecoderLayer& w, Tensor x, const Tensor& cos, const Tensor& sin,
                       const std::vector<Run>& runs, const Tensor& hidden) const;

  ModelConfig config_;
  ModelOptions options_;
  bool training_ = false;

  Tensor patch_, patch_bias_, position_, post_norm_, post_norm_bias_;
  std::vector<VisionLayer> vision_layers_;
  Tensor query_, in_proj_, in_proj_bias_, proj_;
  Tensor ln_q_, ln_q_bias_, ln_kv_, ln_kv_bias_, ln_post_, ln_post_bias_;
  Linear kv_proj_, out_proj_;
  SoundEncoder sound_;
  Tensor embed_, norm_, output_;
  std::vector<DecoderLayer> decoder_layers_;
};

}  // namespace minicpm::train

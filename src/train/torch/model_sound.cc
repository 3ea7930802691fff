// Whisper's encoder and the projection into the language model, for training.
#include <cmath>

#include "base/error.h"
#include "train/torch/model.h"

namespace minicpm::train {
namespace {

constexpr double kLayerNormEps = 1e-5;

/// A convolution over three neighbours as a matrix for rows that hold them one after another.
Tensor window_matrix(const Tensor& weight) {
  return weight.permute({0, 2, 1}).reshape({weight.size(0), weight.size(1) * weight.size(2)});
}

Tensor split_heads(const Tensor& x, int64_t head_dim) {
  return x.view({x.size(0), x.size(1) / head_dim, head_dim});
}

}  // namespace

void TorchModel::find_sound(const Parameters& parameters) {
  const auto at = [&](const std::string& name) { return parameters.at(std::string(kAudioPrefix) + name); };
  SoundEncoder& s = sound_;
  s.conv1 = at("conv1.weight"), s.conv1_bias = at("conv1.bias");
  s.conv2 = at("conv2.weight"), s.conv2_bias = at("conv2.bias");
  s.position = at("embed_positions.weight");
  s.norm = at("layer_norm.weight"), s.norm_bias = at("layer_norm.bias");
  for (int64_t i = 0; i < config_.audio->num_layers; ++i) {
    const std::string layer = fmt::format("layers.{}.", i), full = std::string(kAudioPrefix) + layer;
    s.layers.push_back(
        {at(layer + "self_attn_layer_norm.weight"), at(layer + "self_attn_layer_norm.bias"),
         at(layer + "final_layer_norm.weight"), at(layer + "final_layer_norm.bias"),
         find_linear(parameters, full + "self_attn.q_proj"), find_linear(parameters, full + "self_attn.k_proj"),
         find_linear(parameters, full + "self_attn.v_proj"), find_linear(parameters, full + "self_attn.out_proj"),
         find_linear(parameters, full + "fc1"), find_linear(parameters, full + "fc2")});
  }
  s.linear1 = find_linear(parameters, std::string(kAudioProjectorPrefix) + "linear1");
  s.linear2 = find_linear(parameters, std::string(kAudioProjectorPrefix) + "linear2");
}

Tensor TorchModel::sound_layer(const VisionLayer& w, Tensor x, const std::vector<Run>& runs) const {
  const AudioConfig& c = *config_.audio;
  const double scale = 1.0 / std::sqrt(static_cast<double>(c.head_dim));

  // x += out(attention(q(h), k(h), v(h))), h = layer_norm(x)
  Tensor h = fn::layer_norm(x, w.norm1, w.norm1_bias, kLayerNormEps, options_.compute);
  const Tensor a = fn::attention(split_heads(apply(w.q, h), c.head_dim), split_heads(apply(w.k, h), c.head_dim),
                                 split_heads(apply(w.v, h), c.head_dim), runs, scale, c.chunk_frames());
  x = fn::add(x, apply(w.out, a.reshape({x.size(0), c.hidden_size})));

  // x += fc2(gelu(fc1(h))), h = layer_norm(x)
  h = fn::layer_norm(x, w.norm2, w.norm2_bias, kLayerNormEps, options_.compute);
  return fn::add(x, apply(w.fc2, fn::gelu_erf(apply(w.fc1, h))));
}

Tensor TorchModel::hear(const Batch& batch) const {
  const AudioConfig& c = *config_.audio;
  const SoundBatch& sound = batch.sound;

  // x = gelu(conv2(gelu(conv1(mel)))) + positions
  const Tensor first =
      fn::gelu_erf(fn::linear(sound.windows.to(options_.compute), window_matrix(sound_.conv1), sound_.conv1_bias));
  const Tensor pairs = (first * sound.inside.to(options_.compute)).view({-1, 2 * c.hidden_size});
  const int64_t windows = pairs.size(0) - 1;
  const Tensor neighbours =
      at::cat({pairs.narrow(0, 0, windows), pairs.narrow(0, 1, windows).narrow(1, 0, c.hidden_size)}, 1);
  const Tensor second = fn::gelu_erf(
      fn::linear(fn::select_rows(neighbours, sound.frames), window_matrix(sound_.conv2), sound_.conv2_bias));
  Tensor x = fn::add(at::embedding(sound_.position, sound.positions), second);

  for (const VisionLayer& w : sound_.layers)
    x = run_layer(x, [this, &w, runs = sound.runs](const Tensor& in) { return sound_layer(w, in, runs); });
  const Tensor kept =
      fn::layer_norm(fn::select_rows(x, sound.kept), sound_.norm, sound_.norm_bias, kLayerNormEps, options_.compute);

  // linear2(relu(linear1(kept))), the mean of each step
  const Tensor rows = apply(sound_.linear2, at::relu(apply(sound_.linear1, kept)));
  return rows.view({-1, c.pool_step, c.output_size}).mean(1);
}

}  // namespace minicpm::train

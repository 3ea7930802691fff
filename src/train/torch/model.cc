#include "train/torch/model.h"

#include <cmath>
#include <functional>

#include "base/error.h"

namespace minicpm::train {
namespace {

constexpr int64_t kResamplerHeadDim = 128;

/// Runs a layer without keeping its inner tensors and once more on the way back. Gradients of parameters are added to
/// their leaves by the inner pass. Dropout draws the same numbers in both runs.
struct CheckpointFunction : torch::autograd::Function<CheckpointFunction> {
  using Layer = std::function<Tensor(const Tensor&)>;

  struct Holder : torch::CustomClassHolder {
    Layer layer;
  };

  static Tensor forward(torch::autograd::AutogradContext* ctx, const Tensor& x, const Layer& layer) {
    auto generator = at::detail::getDefaultCPUGenerator();
    auto holder = c10::make_intrusive<Holder>();
    holder->layer = layer;
    ctx->saved_data["layer"] = c10::IValue::make_capsule(holder);
    ctx->save_for_backward({x, generator.get_state()});
    return layer(x);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    auto generator = at::detail::getDefaultCPUGenerator();
    const Tensor now = generator.get_state();
    generator.set_state(saved[1]);
    const auto capsule = ctx->saved_data["layer"].toCapsule();
    const Layer& layer = static_cast<const Holder*>(capsule.get())->layer;
    Tensor x = saved[0].detach().requires_grad_(true);
    {
      at::AutoGradMode enabled(true);
      torch::autograd::backward({layer(x)}, {grads[0]});
    }
    generator.set_state(now);
    return {x.grad(), Tensor()};
  }
};

Tensor split_heads(const Tensor& x, int64_t head_dim) {
  return x.view({x.size(0), x.size(1) / head_dim, head_dim});
}
Tensor merge_heads(const Tensor& x) {
  return x.view({x.size(0), x.size(1) * x.size(2)});
}

}  // namespace

TorchModel::TorchModel(const ModelConfig& config, const Parameters& parameters, const ModelOptions& options)
    : config_(config), options_(options) {
  if (!config.decoder.rope_long_factors.empty()) {
    fail(ErrorCode::kUnsupported, "{}: training does not know rotary positions with long factors", config.source);
  }
  find_decoder(parameters);
  if (config.has_audio()) find_sound(parameters);
  if (!config.has_vision()) return;
  find_tower(parameters);
  find_resampler(parameters);
}

TorchModel::Linear TorchModel::find_linear(const Parameters& parameters, const std::string& module) const {
  return {parameters.at(module + ".weight"), parameters.find(module + ".bias"), parameters.find(module + ".lora_A"),
          parameters.find(module + ".lora_B")};
}

void TorchModel::find_tower(const Parameters& parameters) {
  patch_ = parameters.at("vpm.embeddings.patch_embedding.weight");
  patch_bias_ = parameters.at("vpm.embeddings.patch_embedding.bias");
  position_ = parameters.at("vpm.embeddings.position_embedding.weight");
  post_norm_ = parameters.at("vpm.post_layernorm.weight");
  post_norm_bias_ = parameters.at("vpm.post_layernorm.bias");
  for (int64_t i = 0; i < config_.vision->num_layers; ++i) {
    const std::string layer = fmt::format("vpm.encoder.layers.{}.", i), attn = layer + "self_attn.";
    vision_layers_.push_back({parameters.at(layer + "layer_norm1.weight"), parameters.at(layer + "layer_norm1.bias"),
                              parameters.at(layer + "layer_norm2.weight"), parameters.at(layer + "layer_norm2.bias"),
                              find_linear(parameters, attn + "q_proj"), find_linear(parameters, attn + "k_proj"),
                              find_linear(parameters, attn + "v_proj"), find_linear(parameters, attn + "out_proj"),
                              find_linear(parameters, layer + "mlp.fc1"), find_linear(parameters, layer + "mlp.fc2")});
  }
}

void TorchModel::find_resampler(const Parameters& parameters) {
  const auto at = [&](const char* name) { return parameters.at(std::string("resampler.") + name); };
  query_ = at("query");
  in_proj_ = at("attn.in_proj_weight");
  in_proj_bias_ = at("attn.in_proj_bias");
  proj_ = at("proj");
  ln_q_ = at("ln_q.weight"), ln_q_bias_ = at("ln_q.bias");
  ln_kv_ = at("ln_kv.weight"), ln_kv_bias_ = at("ln_kv.bias");
  ln_post_ = at("ln_post.weight"), ln_post_bias_ = at("ln_post.bias");
  kv_proj_ = find_linear(parameters, "resampler.kv_proj");
  out_proj_ = find_linear(parameters, "resampler.attn.out_proj");
}

void TorchModel::find_decoder(const Parameters& parameters) {
  const std::string prefix(config_.version->llm_prefix);
  embed_ = parameters.at(prefix + "model.embed_tokens.weight");
  norm_ = parameters.at(prefix + "model.norm.weight");
  output_ = config_.decoder.tied_embeddings ? embed_ : parameters.at(prefix + "lm_head.weight");
  for (int64_t i = 0; i < config_.decoder.num_layers; ++i) {
    const std::string layer = fmt::format("{}model.layers.{}.", prefix, i), attn = layer + "self_attn.";
    decoder_layers_.push_back(
        {parameters.at(layer + "input_layernorm.weight"), parameters.find(attn + "q_norm.weight"),
         parameters.find(attn + "k_norm.weight"), parameters.at(layer + "post_attention_layernorm.weight"),
         find_linear(parameters, attn + "q_proj"), find_linear(parameters, attn + "k_proj"),
         find_linear(parameters, attn + "v_proj"), find_linear(parameters, attn + "o_proj"),
         find_linear(parameters, layer + "mlp.gate_proj"), find_linear(parameters, layer + "mlp.up_proj"),
         find_linear(parameters, layer + "mlp.down_proj")});
  }
}

Tensor TorchModel::apply(const Linear& layer, const Tensor& x) const {
  const Tensor y = fn::linear(x, layer.w, layer.bias);
  if (!layer.a.defined()) return y;
  const Tensor kept = training_ && options_.lora_dropout > 0 ? at::dropout(x, options_.lora_dropout, true) : x;
  return y + options_.lora_scale * fn::linear(fn::linear(kept, layer.a), layer.b);
}

Tensor TorchModel::run_layer(const Tensor& x, const std::function<Tensor(const Tensor&)>& layer) const {
  return options_.gradient_checkpointing && x.requires_grad() ? CheckpointFunction::apply(x, layer) : layer(x);
}

Tensor TorchModel::vision_layer(const VisionLayer& w, Tensor x, const std::vector<Run>& runs) const {
  const VisionConfig& c = *config_.vision;
  const double scale = 1.0 / std::sqrt(static_cast<double>(c.head_dim));

  // x += out(attention(q(h), k(h), v(h))), h = layer_norm(x)
  Tensor h = fn::layer_norm(x, w.norm1, w.norm1_bias, c.layer_norm_eps, options_.compute);
  const Tensor a = fn::attention(split_heads(apply(w.q, h), c.head_dim), split_heads(apply(w.k, h), c.head_dim),
                                 split_heads(apply(w.v, h), c.head_dim), runs, scale, false);
  x = fn::add(x, apply(w.out, merge_heads(a)));

  // x += fc2(gelu(fc1(h))), h = layer_norm(x)
  h = fn::layer_norm(x, w.norm2, w.norm2_bias, c.layer_norm_eps, options_.compute);
  return fn::add(x, apply(w.fc2, fn::gelu(apply(w.fc1, h))));
}

Tensor TorchModel::tower(const Batch& batch) const {
  const VisionConfig& c = *config_.vision;
  const Tensor patches =
      fn::linear(batch.pixels.to(options_.compute), patch_.view({c.hidden_size, c.patch_dim}), patch_bias_);
  Tensor x = fn::add(at::embedding(position_, batch.position_ids), patches);
  for (const VisionLayer& w : vision_layers_)
    x = run_layer(x, [this, &w, runs = batch.tower_runs](const Tensor& in) { return vision_layer(w, in, runs); });
  return fn::layer_norm(x, post_norm_, post_norm_bias_, c.layer_norm_eps, options_.compute);
}

Tensor TorchModel::resample(const Batch& batch, const Tensor& features) const {
  const ResamplerConfig& c = *config_.resampler;
  const int64_t dim = c.embed_dim;
  const Tensor rows = batch.key_rows.defined() ? features.index_select(0, batch.key_rows) : features;
  const auto w = in_proj_.split(dim), b = in_proj_bias_.split(dim);  // q, k, v

  // k = ln_kv(kv_proj(features)) + positions, v = ln_kv(kv_proj(features)), q = ln_q(query)
  const Tensor x = fn::layer_norm(apply(kv_proj_, rows), ln_kv_, ln_kv_bias_, c.layer_norm_eps, options_.compute);
  const Tensor v = fn::linear(x, w[2], b[2]);
  const Tensor k = fn::linear(x + batch.key_positions.to(options_.compute), w[1], b[1]);
  const Tensor q =
      fn::linear(fn::layer_norm(query_, ln_q_, ln_q_bias_, c.layer_norm_eps, options_.compute), w[0], b[0]);

  // The same queries attend once per group, over the patches of all its slices.
  const Tensor all_q =
      q.unsqueeze(0).expand({batch.groups, c.query_num, dim}).reshape({batch.groups * c.query_num, dim});
  const Tensor a = fn::attention(split_heads(all_q, kResamplerHeadDim), split_heads(k, kResamplerHeadDim),
                                 split_heads(v, kResamplerHeadDim), batch.resampler_runs,
                                 1.0 / std::sqrt(static_cast<double>(kResamplerHeadDim)), false);

  // y = ln_post(out_proj(a)) @ proj
  const Tensor o =
      fn::layer_norm(apply(out_proj_, merge_heads(a)), ln_post_, ln_post_bias_, c.layer_norm_eps, options_.compute);
  return fn::linear(o, proj_.t());
}

Tensor TorchModel::decoder_layer(const DecoderLayer& w, Tensor x, const Tensor& cos, const Tensor& sin,
                                 const std::vector<Run>& runs, const Tensor& hidden) const {
  const DecoderConfig& c = config_.decoder;
  const double scale = 1.0 / std::sqrt(static_cast<double>(c.head_dim));
  const auto branch = [&](const Tensor& y) { return c.residual_scale == 1.0f ? y : y * c.residual_scale; };

  // x += o(attention(rope(norm(q(h))), rope(norm(k(h))), v(h))), h = rms_norm(x)
  Tensor h = fn::rms_norm(x, w.attn_norm, c.rms_norm_eps, options_.compute);
  Tensor q = split_heads(apply(w.q, h), c.head_dim), k = split_heads(apply(w.k, h), c.head_dim);
  if (w.q_norm.defined()) {  // Qwen3 normalises each head before the rotation
    q = fn::rms_norm(q, w.q_norm, c.rms_norm_eps, options_.compute);
    k = fn::rms_norm(k, w.k_norm, c.rms_norm_eps, options_.compute);
  }
  const Tensor a = fn::attention(fn::rope(q, cos, sin), fn::rope(k, cos, sin), split_heads(apply(w.v, h), c.head_dim),
                                 runs, scale, true, hidden);
  x = fn::add(x, branch(apply(w.o, merge_heads(a))));

  // x += down(silu(gate(h)) * up(h)), h = rms_norm(x)
  h = fn::rms_norm(x, w.ffn_norm, c.rms_norm_eps, options_.compute);
  return fn::add(x, branch(apply(w.down, fn::silu_mul(apply(w.gate, h), apply(w.up, h)))));
}

Tensor TorchModel::decode(const Batch& batch, const Tensor& image_rows, const Tensor& sound_rows) const {
  const DecoderConfig& c = config_.decoder;
  Tensor x = at::embedding(embed_, batch.ids);
  if (c.embedding_scale != 1.0f) x = x * c.embedding_scale;
  if (image_rows.defined()) x = x.index_copy(0, batch.image_rows, image_rows.to(x.scalar_type()));
  if (sound_rows.defined()) {
    const Tensor heard = fn::select_rows(sound_rows, batch.sound.heard);
    x = x.index_copy(0, batch.sound.places, heard.to(x.scalar_type()));
  }

  // Angles in f32 as the engine computes them.
  const Tensor powers =
      at::pow(c.rope_theta, at::arange(c.head_dim / 2, at::kFloat) * 2.0 / static_cast<double>(c.head_dim));
  Tensor rates = powers.reciprocal();
  if (!c.rope_factors.empty()) rates = rates / at::tensor(c.rope_factors);
  const Tensor angles = at::arange(batch.length, at::kFloat).unsqueeze(1) * rates;
  const auto at_positions = [&](const Tensor& table) {
    return (table * c.rope_attention_factor).to(embed_.device()).index_select(0, batch.positions);
  };
  const Tensor cos = at_positions(angles.cos()), sin = at_positions(angles.sin());
  const std::vector<Run> runs{{batch.sequences, 0, batch.length, 0, batch.length}};
  for (const DecoderLayer& w : decoder_layers_) {
    x = run_layer(x, [this, &w, cos, sin, runs, hidden = batch.hidden](const Tensor& in) {
      return decoder_layer(w, in, cos, sin, runs, hidden);
    });
  }
  return x;
}

Tensor TorchModel::logits(const Tensor& hidden, const Tensor& rows) const {
  const DecoderConfig& c = config_.decoder;
  Tensor h = fn::rms_norm(hidden.index_select(0, rows), norm_, c.rms_norm_eps, options_.compute);
  if (c.logit_divisor != 1.0f) h = h / c.logit_divisor;
  return fn::linear(h, output_);
}

}  // namespace minicpm::train

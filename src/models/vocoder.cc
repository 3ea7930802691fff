#include "models/vocoder.h"

#include <algorithm>
#include <cmath>

#include "media/istft.h"
#include "models/tensor_loader.h"

namespace minicpm {
namespace {

using D = DvaeConfig;
using V = VocosConfig;
using N = ConvNextWeights;

// clang-format off
constexpr TensorRow<D, DvaeWeights> kDvaeTensors[] = {
    {&DvaeWeights::conv_in0,      "decoder.conv_in.0.weight", "", {&D::mid, &D::group_dim, &D::kernel3}},
    {&DvaeWeights::conv_in0_bias, "decoder.conv_in.0.bias",   "", {&D::mid}},
    {&DvaeWeights::conv_in2,      "decoder.conv_in.2.weight", "", {&D::dim, &D::mid, &D::kernel3}},
    {&DvaeWeights::conv_in2_bias, "decoder.conv_in.2.bias",   "", {&D::dim}},
    {&DvaeWeights::conv_out,      "decoder.conv_out.weight",  "", {&D::out, &D::dim, &D::one}},
    {&DvaeWeights::out_conv,      "out_conv.weight",          "", {&D::mel_bins, &D::out, &D::kernel3}},
    {&DvaeWeights::coef,          "coef",                     "", {&D::one, &D::mel_bins, &D::one}, Role::kTable},
};
constexpr TensorRow<D, DvaeWeights> kDvaeEncoderTensors[] = {
    {&DvaeWeights::down0,        "downsample_conv.0.weight", "", {&D::out, &D::mel_bins, &D::kernel3}},
    {&DvaeWeights::down0_bias,   "downsample_conv.0.bias",   "", {&D::out}},
    {&DvaeWeights::down2,        "downsample_conv.2.weight", "", {&D::out, &D::out, &D::kernel4}},
    {&DvaeWeights::down2_bias,   "downsample_conv.2.bias",   "", {&D::out}},
    {&DvaeWeights::enc_in0,      "encoder.conv_in.0.weight", "", {&D::mid, &D::out, &D::kernel3}},
    {&DvaeWeights::enc_in0_bias, "encoder.conv_in.0.bias",   "", {&D::mid}},
    {&DvaeWeights::enc_in2,      "encoder.conv_in.2.weight", "", {&D::dim, &D::mid, &D::kernel3}},
    {&DvaeWeights::enc_in2_bias, "encoder.conv_in.2.bias",   "", {&D::dim}},
    {&DvaeWeights::enc_out,      "encoder.conv_out.weight",  "", {&D::encoder_out, &D::dim, &D::one}},
};
constexpr TensorRow<D, DvaeWeights::Group> kDvaeGroupEncoderTensors[] = {
    {&DvaeWeights::Group::in,      "project_in.weight", "", {&D::levels, &D::group_dim}},
    {&DvaeWeights::Group::in_bias, "project_in.bias",   "", {&D::levels}},
};
constexpr TensorRow<D, DvaeWeights::Group> kDvaeGroupTensors[] = {
    {&DvaeWeights::Group::out,      "project_out.weight", "", {&D::group_dim, &D::levels}, Role::kTable},
    {&DvaeWeights::Group::out_bias, "project_out.bias",   "", {&D::group_dim}},
};
constexpr TensorRow<D, N> kDvaeLayerTensors[] = {
    {&N::depthwise,      "dwconv.weight",  "", {&D::dim, &D::one, &D::kernel7}, Role::kTable},
    {&N::depthwise_bias, "dwconv.bias",    "", {&D::dim}},
    {&N::norm,           "norm.weight",    "", {&D::dim}},
    {&N::norm_bias,      "norm.bias",      "", {&D::dim}},
    {&N::expand,         "pwconv1.weight", "", {&D::inner, &D::dim}},
    {&N::expand_bias,    "pwconv1.bias",   "", {&D::inner}},
    {&N::contract,       "pwconv2.weight", "", {&D::dim, &D::inner}},
    {&N::contract_bias,  "pwconv2.bias",   "", {&D::dim}},
    {&N::scale,          "coef",           "", {&D::dim}},
};

constexpr TensorRow<V, VocosWeights> kVocosTensors[] = {
    {&VocosWeights::embed,           "backbone.embed.weight",            "", {&V::dim, &V::mel_bins, &V::kernel}},
    {&VocosWeights::embed_bias,      "backbone.embed.bias",              "", {&V::dim}},
    {&VocosWeights::norm,            "backbone.norm.weight",             "", {&V::dim}},
    {&VocosWeights::norm_bias,       "backbone.norm.bias",               "", {&V::dim}},
    {&VocosWeights::final_norm,      "backbone.final_layer_norm.weight", "", {&V::dim}},
    {&VocosWeights::final_norm_bias, "backbone.final_layer_norm.bias",   "", {&V::dim}},
    {&VocosWeights::head,            "head.out.weight",                  "", {&V::spectrum, &V::dim}},
    {&VocosWeights::head_bias,       "head.out.bias",                    "", {&V::spectrum}},
};
constexpr TensorRow<V, N> kVocosLayerTensors[] = {
    {&N::depthwise,      "dwconv.weight",  "", {&V::dim, &V::one, &V::kernel}, Role::kTable},
    {&N::depthwise_bias, "dwconv.bias",    "", {&V::dim}},
    {&N::norm,           "norm.weight",    "", {&V::dim}},
    {&N::norm_bias,      "norm.bias",      "", {&V::dim}},
    {&N::expand,         "pwconv1.weight", "", {&V::inner, &V::dim}},
    {&N::expand_bias,    "pwconv1.bias",   "", {&V::inner}},
    {&N::contract,       "pwconv2.weight", "", {&V::dim, &V::inner}},
    {&N::contract_bias,  "pwconv2.bias",   "", {&V::dim}},
    {&N::scale,          "gamma",          "", {&V::dim}},
};
// clang-format on

constexpr std::string_view kDvaePrefix = "tts.dvae.";
constexpr int64_t kLargestSize = 1 << 16;
constexpr float kNormEps = 1e-6f;

/// Size `dim` of a tensor that decides a configuration.
int64_t size_of(const WeightSource& source, const std::string& name, int dim) {
  const StoredTensor* tensor = source.find(name);
  if (tensor == nullptr) fail(ErrorCode::kBadFile, "{}: tensor {} is missing", source.path(), name);
  if (tensor->view.rank <= dim || tensor->view.dims[dim] < 1 || tensor->view.dims[dim] > kLargestSize) {
    fail(ErrorCode::kBadFile, "{}: tensor {} has shape {}", source.path(), name, shape_string(tensor->view.shape()));
  }
  return tensor->view.dims[dim];
}

int64_t count_layers(const WeightSource& source, const std::string& prefix) {
  int64_t count = 0;
  while (source.find(fmt::format("{}{}.norm.weight", prefix, count)) != nullptr)
    ++count;
  return count;
}

/// What the two residual steps of a group stand for: base-5 digits of the codes, scaled to -1..1, the second step a
/// quarter of the first. (The pinned version of the quantiser scales so; newer ones differ.)
std::array<float, 4> group_values(int32_t first, int32_t second) {
  std::array<float, 4> values;
  for (float& value : values) {
    value = static_cast<float>(first % 5 - 2) / 2 + static_cast<float>(second % 5 - 2) / 2 * 0.25f;
    first /= 5, second /= 5;
  }
  return values;
}

/// The reverse: each value is squeezed into -1..1 and rounded to a quarter of the range, then what is left of it, four
/// times as large, once more.
std::pair<int32_t, int32_t> group_codes(std::span<const float> z) {
  constexpr float kHalf = 2 * (1 + 1e-3f);  // levels / 2, slightly more
  int32_t codes[2] = {}, place = 1;
  for (const float value : z) {
    float rest = value;
    for (int step = 0; step < 2; ++step) {
      const float scale = step == 0 ? 1.0f : 0.25f;
      const auto digit = static_cast<int32_t>(std::nearbyint(std::tanh(rest / scale) * kHalf));
      codes[step] += (digit + 2) * place;
      rest -= static_cast<float>(digit) / 2 * scale;
    }
    place *= 5;
  }
  return {codes[0], codes[1]};
}

}  // namespace

Dvae::Dvae(const WeightSource& source, ConvertedStore& store) {
  const std::string prefix(kDvaePrefix), blocks = prefix + "decoder.decoder_block.";
  config_.group_dim = size_of(source, prefix + "vq_layer.quantizer.rvqs.0.project_out.weight", 0);
  config_.mid = size_of(source, prefix + "decoder.conv_in.0.weight", 0);
  config_.dim = size_of(source, prefix + "decoder.conv_in.2.weight", 0);
  config_.inner = size_of(source, blocks + "0.pwconv1.weight", 0);
  config_.out = size_of(source, prefix + "decoder.conv_out.weight", 0);
  config_.mel_bins = size_of(source, prefix + "out_conv.weight", 0);
  config_.num_layers = count_layers(source, blocks);
  TensorLoader loader(source, false, store);
  loader.load<D, DvaeWeights>(kDvaeTensors, config_, prefix, "", weights_);
  for (int g = 0; g < 2; ++g) {
    loader.load<D, DvaeWeights::Group>(kDvaeGroupTensors, config_,
                                       fmt::format("{}vq_layer.quantizer.rvqs.{}.", prefix, g), "", weights_.groups[g]);
  }
  weights_.layers.resize(static_cast<size_t>(config_.num_layers));
  for (int64_t i = 0; i < config_.num_layers; ++i)
    loader.load<D, N>(kDvaeLayerTensors, config_, fmt::format("{}{}.", blocks, i), "", weights_.layers[i]);
  if (source.find(prefix + "encoder.conv_out.weight") == nullptr) return;
  const std::string encoder = prefix + "encoder.decoder_block.";
  config_.encoder_out = 2 * config_.group_dim;
  config_.encoder_layers = count_layers(source, encoder);
  loader.load<D, DvaeWeights>(kDvaeEncoderTensors, config_, prefix, "", weights_);
  for (int g = 0; g < 2; ++g) {
    loader.load<D, DvaeWeights::Group>(kDvaeGroupEncoderTensors, config_,
                                       fmt::format("{}vq_layer.quantizer.rvqs.{}.", prefix, g), "", weights_.groups[g]);
  }
  weights_.encoder_layers.resize(static_cast<size_t>(config_.encoder_layers));
  for (int64_t i = 0; i < config_.encoder_layers; ++i)
    loader.load<D, N>(kDvaeLayerTensors, config_, fmt::format("{}{}.", encoder, i), "", weights_.encoder_layers[i]);
}

std::vector<CodeFrame> Dvae::encode(Context& ctx, Tensor mel) const {
  if (config_.encoder_out == 0) fail(ErrorCode::kUnsupported, "this checkpoint holds no encoder of speech codes");
  ArenaScope scratch(ctx.arena);
  Tensor x = ctx.arena.tensor(DType::kF32, {mel.dim(0), config_.mel_bins});
  for (int64_t t = 0; t < mel.dim(0); ++t) {
    for (int64_t b = 0; b < config_.mel_bins; ++b)
      x.f32_row(t)[b] = mel.f32_row(t)[b] / weights_.coef.f32()[b];
  }
  x = conv1d(ctx, x, weights_.down0, weights_.down0_bias, 1, 1);
  ops::gelu_(ctx, x, Gelu::kErf);
  x = conv1d(ctx, x, weights_.down2, weights_.down2_bias, 2, 1);
  ops::gelu_(ctx, x, Gelu::kErf);
  x = conv1d(ctx, x, weights_.enc_in0, weights_.enc_in0_bias, 1, 1);
  ops::gelu_(ctx, x, Gelu::kErf);
  x = conv1d(ctx, x, weights_.enc_in2, weights_.enc_in2_bias, 1, 1);
  for (const ConvNextWeights& layer : weights_.encoder_layers)
    convnext_(ctx, layer, x, 2);
  x = conv1d(ctx, x, weights_.enc_out, {}, 1, 0);
  std::vector<CodeFrame> codes(static_cast<size_t>(x.dim(0)));
  for (int g = 0; g < 2; ++g) {
    Tensor half = ctx.arena.tensor(DType::kF32, {x.dim(0), config_.group_dim});
    for (int64_t t = 0; t < x.dim(0); ++t)
      std::copy_n(x.f32_row(t) + g * config_.group_dim, config_.group_dim, half.f32_row(t));
    const Tensor z = ops::linear(ctx, half, weights_.groups[g].in, weights_.groups[g].in_bias);
    for (int64_t t = 0; t < x.dim(0); ++t) {
      const auto [first, second] = group_codes(std::span(z.f32_row(t), 4));
      codes[t][2 * g] = first;
      codes[t][2 * g + 1] = second;
    }
  }
  return codes;
}

Tensor Dvae::features(Context& ctx, std::span<const CodeFrame> codes) const {
  const int64_t n = static_cast<int64_t>(codes.size()), dim = config_.group_dim;
  Tensor x = ctx.arena.tensor(DType::kF32, {n, 2 * dim});
  for (int64_t t = 0; t < n; ++t) {
    for (int64_t g = 0; g < 2; ++g) {
      const auto values = group_values(codes[t][2 * g], codes[t][2 * g + 1]);
      const DvaeWeights::Group& group = weights_.groups[g];
      for (int64_t c = 0; c < dim; ++c) {
        const float* row = group.out.f32() + c * config_.levels;
        float sum = group.out_bias.f32()[c];
        for (int64_t i = 0; i < config_.levels; ++i)
          sum += row[i] * values[i];
        x.f32_row(t)[g * dim + c] = sum;
      }
    }
  }
  return x;
}

Tensor Dvae::decode(Context& ctx, std::span<const CodeFrame> codes) const {
  // The groups follow each other in time: twice as many rows of one group each.
  const Tensor grouped = features(ctx, codes);
  const Tensor pairs = grouped.reshape({2 * grouped.dim(0), config_.group_dim});
  Tensor x = conv1d(ctx, pairs, weights_.conv_in0, weights_.conv_in0_bias, 1, 1);
  ops::gelu_(ctx, x, Gelu::kErf);
  x = conv1d(ctx, x, weights_.conv_in2, weights_.conv_in2_bias, 1, 1);
  for (const ConvNextWeights& layer : weights_.layers)
    convnext_(ctx, layer, x, 2);
  x = conv1d(ctx, x, weights_.conv_out, {}, 1, 0);
  x = conv1d(ctx, x, weights_.out_conv, {}, 1, 1);
  for (int64_t t = 0; t < x.dim(0); ++t) {
    for (int64_t b = 0; b < config_.mel_bins; ++b)
      x.f32_row(t)[b] *= weights_.coef.f32()[b];
  }
  return x;
}

Vocos::Vocos(const WeightSource& source, ConvertedStore& store, std::string_view prefix) {
  const std::string head = fmt::format("{}head.out.weight", prefix),
                    embed = fmt::format("{}backbone.embed.weight", prefix),
                    layers = fmt::format("{}backbone.convnext.", prefix);
  config_.mel_bins = size_of(source, embed, 1);
  config_.dim = size_of(source, embed, 0);
  config_.inner = size_of(source, layers + "0.pwconv1.weight", 0);
  config_.spectrum = size_of(source, head, 0);
  config_.num_layers = count_layers(source, layers);
  if (config_.n_fft() < 4 || config_.n_fft() % 4 != 0) {
    fail(ErrorCode::kBadFile, "{}: tensor {} has {} rows, expected n_fft + 2", source.path(), head, config_.spectrum);
  }
  TensorLoader loader(source, false, store);
  loader.load<V, VocosWeights>(kVocosTensors, config_, prefix, "", weights_);
  weights_.layers.resize(static_cast<size_t>(config_.num_layers));
  for (int64_t i = 0; i < config_.num_layers; ++i)
    loader.load<V, N>(kVocosLayerTensors, config_, fmt::format("{}{}.", layers, i), "", weights_.layers[i]);
}

std::vector<float> Vocos::decode(Context& ctx, Tensor mel) const {
  constexpr float kLargestMagnitude = 100;
  ArenaScope scratch(ctx.arena);
  Tensor x = conv1d(ctx, mel, weights_.embed, weights_.embed_bias, 1, config_.kernel / 2);
  x = ops::layer_norm(ctx, x, weights_.norm, weights_.norm_bias, kNormEps);
  for (const ConvNextWeights& layer : weights_.layers)
    convnext_(ctx, layer, x, 1);
  x = ops::layer_norm(ctx, x, weights_.final_norm, weights_.final_norm_bias, kNormEps);
  ctx.trace("vocos.backbone", x);
  // Logarithms of the magnitudes, then phases.
  const Tensor head = ops::linear(ctx, x, weights_.head, weights_.head_bias);
  const int64_t frames = head.dim(0), bins = config_.spectrum / 2;
  std::vector<float> real(static_cast<size_t>(frames * bins)), imaginary(real.size());
  for (int64_t t = 0; t < frames; ++t) {
    const float* row = head.f32_row(t);
    for (int64_t i = 0; i < bins; ++i) {
      const float magnitude = std::min(std::exp(row[i]), kLargestMagnitude);
      real[t * bins + i] = magnitude * std::cos(row[bins + i]);
      imaginary[t * bins + i] = magnitude * std::sin(row[bins + i]);
    }
  }
  return istft_same(real, imaginary, config_.n_fft(), config_.hop());
}

}  // namespace minicpm

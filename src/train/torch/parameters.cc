#include "train/torch/parameters.h"

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/half.h"

namespace minicpm::train {
namespace {

bool ends_with(const std::string& text, std::string_view end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}
bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

/// The tensors as stored: a stacked one is listed once, optional ones only where the version has them.
std::vector<std::pair<std::string, std::vector<int64_t>>> stored_tensors(const ModelConfig& config) {
  std::vector<std::pair<std::string, std::vector<int64_t>>> result;
  for (const PartSpec& part : tensor_specs(config)) {
    const bool seen = part.spec.layout == Layout::kSecondThird || part.spec.layout == Layout::kLastThird;
    if (!seen) result.emplace_back(part.spec.hf, part.spec.hf_shape());
  }
  return result;
}

/// Optional tensors that a new model gets: per-head norms of Qwen3, biases of Qwen2, and an output matrix of its own.
bool wanted(const ModelConfig& config, const std::string& name) {
  const auto arch = config.version->gguf_arch;
  if (ends_with(name, "lm_head.weight")) return !config.decoder.tied_embeddings;
  if (ends_with(name, "self_attn.q_norm.weight") || ends_with(name, "self_attn.k_norm.weight")) return arch == "qwen3";
  const bool decoder_bias = contains(name, "model.layers.") && ends_with(name, "_proj.bias");
  return !decoder_bias || arch == "qwen2";
}

/// Sines of the column in the first half of the channels and of the row in the second, at rising frequencies.
Tensor sine_positions(int64_t side, int64_t width) {
  const int64_t n = width / 4;
  const Tensor rates = at::pow(100.0, -at::arange(n, at::kDouble) / static_cast<double>(n));
  const Tensor angles = at::arange(side, at::kDouble).unsqueeze(1) * rates;
  const Tensor line = at::cat({angles.sin(), angles.cos()}, 1);  // [side, width / 2]
  const Tensor columns = line.unsqueeze(0).expand({side, side, 2 * n}),
               rows = line.unsqueeze(1).expand({side, side, 2 * n});
  return at::constant_pad_nd(at::cat({columns, rows}, 2).reshape({side * side, 4 * n}), {0, width - 4 * n});
}

/// Whisper's: sines in the first half of the channels and cosines in the second, from one frame to 10000.
Tensor time_positions(int64_t frames, int64_t width) {
  const int64_t n = width / 2;
  const Tensor rates = at::pow(10000.0, -at::arange(n, at::kDouble) / static_cast<double>(std::max<int64_t>(1, n - 1)));
  const Tensor angles = at::arange(frames, at::kDouble).unsqueeze(1) * rates;
  return at::constant_pad_nd(at::cat({angles.sin(), angles.cos()}, 1), {0, width - 2 * n});
}

Tensor random_tensor(const ModelConfig& config, const std::string& name, const std::vector<int64_t>& shape,
                     at::Generator generator) {
  if (ends_with(name, "position_embedding.weight")) return 0.3 * sine_positions(config.vision->grid_size, shape[1]);
  if (ends_with(name, "embed_positions.weight")) return 0.3 * time_positions(shape[0], shape[1]);
  if (shape.size() == 1) return ends_with(name, "bias") ? at::zeros(shape, at::kDouble) : at::ones(shape, at::kDouble);
  int64_t inputs = 1;
  for (size_t i = 1; i < shape.size(); ++i)
    inputs *= shape[i];
  double deviation = 1.0 / std::sqrt(static_cast<double>(inputs));
  if (contains(name, "embed_tokens") || ends_with(name, "lm_head.weight") || name == "resampler.query") {
    deviation = 0.02;
  } else if (config.has_audio() && name.starts_with(kAudioPrefix)) {
    const bool ends_branch = ends_with(name, "self_attn.out_proj.weight") || ends_with(name, "fc2.weight");
    if (ends_branch) deviation /= std::sqrt(2.0 * static_cast<double>(config.audio->num_layers));
  } else if (ends_with(name, "self_attn.out_proj.weight") || ends_with(name, "mlp.fc2.weight")) {
    deviation /= std::sqrt(2.0 * static_cast<double>(config.vision->num_layers));
  } else if (ends_with(name, "self_attn.o_proj.weight") || ends_with(name, "mlp.down_proj.weight")) {
    deviation /= std::sqrt(2.0 * static_cast<double>(config.decoder.num_layers));
  } else if (name == "resampler.proj" || name == std::string(kAudioProjectorPrefix) + "linear2.weight") {
    deviation *= 0.2;  // rows of media enter the language model at the size of token embeddings, not far above it
  }
  return at::randn(shape, generator, at::kDouble) * deviation;
}

}  // namespace

Tensor to_torch(const Weight& view, std::vector<int64_t> shape, at::ScalarType type) {
  at::ScalarType stored = at::kFloat;
  switch (view.dtype) {
    case DType::kF32:
      stored = at::kFloat;
      break;
    case DType::kF16:
      stored = at::kHalf;
      break;
    case DType::kBF16:
      stored = at::kBFloat16;
      break;
    case DType::kF64:
      stored = at::kDouble;
      break;
    default:
      fail(ErrorCode::kUnsupported, "training reads F32, F16 and BF16 weights, found {}", name(view.dtype));
  }
  // from_blob takes a pointer to mutable data, which is only read here: the copy follows at once.
  return at::from_blob(const_cast<void*>(view.data), shape, at::TensorOptions(stored)).to(type, false, true);
}

Parameters Parameters::random(const ModelConfig& config, uint64_t seed, at::ScalarType type) {
  Parameters result;
  at::Generator generator = at::detail::createCPUGenerator(seed);
  for (const auto& [name, shape] : stored_tensors(config)) {
    if (wanted(config, name)) result.add(name, random_tensor(config, name, shape, generator).to(type));
  }
  return result;
}

Parameters Parameters::load(const ModelConfig& config, const WeightSource& source, at::ScalarType type) {
  Parameters result;
  for (const PartSpec& part : tensor_specs(config)) {
    if (result.index_.contains(part.spec.hf)) continue;  // thirds of a stacked tensor
    const StoredTensor* stored = source.find(part.spec.hf);
    if (stored == nullptr) {
      if (part.spec.presence == Presence::kOptional) continue;
      fail(ErrorCode::kBadFile, "{}: tensor {} is missing", source.path(), part.spec.hf);
    }
    const std::vector<int64_t> shape = part.spec.hf_shape();
    if (!std::equal(shape.begin(), shape.end(), stored->view.shape().begin(), stored->view.shape().end())) {
      fail(ErrorCode::kBadFile, "{}: {}: expected {}, found {}", source.path(), part.spec.hf, shape_string(shape),
           shape_string(stored->view.shape()));
    }
    result.add(part.spec.hf, to_torch(stored->view, shape, type));
  }
  return result;
}

Tensor Parameters::find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? Tensor() : all_[found->second].second;
}

const Tensor& Parameters::at(const std::string& name) const {
  const auto found = index_.find(name);
  if (found == index_.end()) fail(ErrorCode::kInternal, "the model has no parameter {}", name);
  return all_[found->second].second;
}

void Parameters::add(std::string name, Tensor value) {
  MINICPM_CHECK(!index_.contains(name));
  index_.emplace(name, all_.size());
  all_.emplace_back(std::move(name), std::move(value));
}

int64_t Parameters::count() const {
  int64_t total = 0;
  for (const auto& [name, value] : all_)
    total += value.numel();
  return total;
}

void Parameters::to(at::Device device) {
  for (auto& [name, value] : all_)
    value = value.to(device);
}

void Parameters::add_lora(const LoraConfig& config, uint64_t seed) {
  const LoraSelection selection(config);
  at::Generator generator = at::detail::createCPUGenerator(seed);
  std::vector<std::pair<std::string, Tensor>> added;
  for (const auto& [name, value] : all_) {
    if (value.dim() != 2 || !ends_with(name, ".weight")) continue;
    const std::string module = name.substr(0, name.size() - std::strlen(".weight"));
    if (!selection.adapts(module)) continue;
    // A as torch initialises linear layers: uniform within 1 / sqrt(inputs).
    const double bound = 1.0 / std::sqrt(static_cast<double>(value.size(1)));
    Tensor a = at::empty({config.r, value.size(1)}, at::kDouble).uniform_(-bound, bound, generator);
    added.emplace_back(module + ".lora_A", a.to(value.scalar_type()));
    added.emplace_back(module + ".lora_B", at::zeros({value.size(0), config.r}, value.options()));
  }
  if (added.empty())
    fail(ErrorCode::kInvalidRequest, "no linear layer matches the adapter's targets {}", config.target_regex);
  for (auto& [name, value] : added)
    add(std::move(name), std::move(value));
}

TensorToWrite torch_to_write(std::string name, const Tensor& tensor, DType type) {
  TensorToWrite result;
  result.name = std::move(name);
  result.dtype = type;
  result.dims.assign(tensor.sizes().begin(), tensor.sizes().end());
  at::ScalarType stored = at::kFloat;
  if (type == DType::kF16) stored = at::kHalf;
  if (type == DType::kBF16) stored = at::kBFloat16;
  result.produce = [tensor, stored](const ByteSink& sink) {
    const Tensor copy = tensor.detach().to(at::kCPU, stored).contiguous();
    sink({static_cast<const std::byte*>(copy.data_ptr()), copy.nbytes()});
  };
  return result;
}

std::vector<TensorToWrite> Parameters::to_write(DType type) const {
  std::vector<TensorToWrite> result;
  for (const auto& [name, value] : all_) {
    if (!contains(name, ".lora_") && !contains(name, "cells.")) result.push_back(torch_to_write(name, value, type));
  }
  return result;
}

}  // namespace minicpm::train

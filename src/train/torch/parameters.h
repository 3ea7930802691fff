// The trainable tensors of a model under their Hugging Face names, as the tables list them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/tensor_to_write.h"
#include "io/weight_source.h"
#include "models/lora.h"
#include "models/model_config.h"
#include "train/torch/functions.h"

namespace minicpm::train {

class Parameters {
 public:
  /// Normal random weights: matrices with variance 1 / inputs (those that end a residual branch divided by the number
  /// of branches), embeddings with 0.02, norms 1, biases 0, the tower's positions sines and cosines of their place.
  static Parameters random(const ModelConfig& config, uint64_t seed, at::ScalarType type = at::kFloat);
  /// From a checkpoint, converted to `type`. Throws Error bad_file for a tensor that is missing or has another shape.
  static Parameters load(const ModelConfig& config, const WeightSource& source, at::ScalarType type = at::kFloat);

  /// Undefined if there is none of that name.
  Tensor find(const std::string& name) const;
  /// Throws Error internal.
  const Tensor& at(const std::string& name) const;
  /// In the order of the tables, then those added.
  const std::vector<std::pair<std::string, Tensor>>& all() const { return all_; }
  void add(std::string name, Tensor value);
  int64_t count() const;
  /// Moves all tensors; before they are trained or viewed by a model.
  void to(at::Device device);

  /// Adds A (random) and B (zero) for every adapted matrix, named "<module>.lora_A" and "<module>.lora_B". Throws Error
  /// invalid_request when nothing matches.
  void add_lora(const LoraConfig& config, uint64_t seed);

  /// Everything of the checkpoint's layout in `type`, for write_safetensors. Views stay valid with this object.
  std::vector<TensorToWrite> to_write(DType type) const;

 private:
  std::vector<std::pair<std::string, Tensor>> all_;
  std::map<std::string, size_t> index_;
};

/// A copy as f32 bytes in `type`, for writing.
TensorToWrite torch_to_write(std::string name, const Tensor& tensor, DType type);
/// A stored tensor of a plain element type as torch holds it.
Tensor to_torch(const Weight& view, std::vector<int64_t> shape, at::ScalarType type);

}  // namespace minicpm::train

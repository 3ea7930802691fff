// The SigLIP vision tower in its NaViT form (MiniCPM-V 2.5 to 4.5): pictures of any patch grid, packed without padding.
#pragma once

#include <span>
#include <vector>

#include "media/slicing.h"
#include "models/tables.h"
#include "ops/ops.h"

namespace minicpm {

struct VisionConfig {
  int64_t hidden_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t intermediate_size = 0;
  int64_t patch_size = 14;
  int64_t image_size = 980;  // of the position table: (image_size / patch_size)^2 rows
  float layer_norm_eps = 1e-6f;
  bool drop_last_layer = false;  // the last layer is neither stored nor run

  // Derived by finish().
  int64_t patch_dim = 0;      // 3 * patch_size^2
  int64_t grid_size = 0;      // image_size / patch_size = 70
  int64_t num_positions = 0;  // grid_size^2
  int64_t channels = 3;
  int64_t head_dim = 0;

  /// Fills the derived sizes and checks them. Throws Error bad_file naming `source`.
  void finish(std::string_view source);
};

struct VisionLayerWeights {
  Tensor norm1, norm1_bias;  // [hidden]
  Weight q, k, v, out;       // [hidden, hidden]
  Tensor q_bias, k_bias, v_bias, out_bias;
  Tensor norm2, norm2_bias;
  Weight fc1;  // [intermediate, hidden]
  Tensor fc1_bias;
  Weight fc2;  // [hidden, intermediate]
  Tensor fc2_bias;
};

struct VisionWeights {
  Weight patch;  // [hidden, 3, patch, patch]: a convolution whose stride is its kernel, hence a linear layer
  Tensor patch_bias;
  Weight position;  // [num_positions, hidden]
  std::vector<VisionLayerWeights> layers;
  Tensor norm, norm_bias;
};

std::span<const ParamRow<VisionConfig>> vision_params();
std::span<const TensorRow<VisionConfig, VisionWeights>> vision_tensors();
std::span<const TensorRow<VisionConfig, VisionLayerWeights>> vision_layer_tensors();

/// Bucket of each of `count` patches along one side, in 0..grid_size-1. The position table is addressed by fractional
/// coordinates in f32 arithmetic, as in the official code; interpolating the table, or bucketing in exact arithmetic,
/// gives other features for some sizes (25 patches, for one).
std::vector<int32_t> position_buckets(int64_t count, int64_t grid_size);

class SiglipTower {
 public:
  SiglipTower(VisionConfig config, VisionWeights weights);

  /// All patches of all slices, one after another -> [sum of h * w, hidden]. A slice's rows do not depend on its
  /// neighbours.
  Tensor forward(Context& ctx, std::span<const Patches* const> slices) const;

  const VisionConfig& config() const { return config_; }

 private:
  Tensor embeddings(Context& ctx, std::span<const Patches* const> slices) const;
  void layer(Context& ctx, const VisionLayerWeights& w, Tensor x, std::span<const int64_t> slice_starts) const;

  VisionConfig config_;
  VisionWeights weights_;
};

}  // namespace minicpm

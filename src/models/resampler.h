// The perceiver resampler: a fixed number of learned queries attend over the patches of a slice, or of all frames in a
// pack (the temporal part of MiniCPM-V 4.5), so that each becomes query_num rows of the language model's width.
#pragma once

#include <span>
#include <vector>

#include "models/tables.h"
#include "ops/ops.h"

namespace minicpm {

struct ResamplerConfig {
  int64_t query_num = 64;
  int64_t embed_dim = 0;   // width of the language model
  int64_t vision_dim = 0;  // width of the tower
  float layer_norm_eps = 1e-6f;

  // Derived by finish().
  int64_t num_heads = 0;  // embed_dim / 128

  void finish(std::string_view source);
};

struct ResamplerWeights {
  Tensor query;                                                      // [query_num, embed]
  Weight kv_proj;                                                    // [embed, vision]
  Tensor ln_q, ln_q_bias, ln_kv, ln_kv_bias, ln_post, ln_post_bias;  // [embed]
  Weight q, k, v;                                                    // [embed, embed]
  Tensor q_bias, k_bias, v_bias;
  Weight out;  // [embed, embed]
  Tensor out_bias;
  Weight proj;  // [embed, embed]; checkpoints store its transpose (x @ proj)
};

std::span<const TensorRow<ResamplerConfig, ResamplerWeights>> resampler_tensors();

/// Patch grid of one slice.
struct PatchGrid {
  int h = 0, w = 0;
};

/// The slices that share one set of queries: one still slice, or the frames of a pack.
struct ResamplerGroup {
  std::vector<PatchGrid> slices;
  std::vector<int32_t> frame_ids;  // one per slice, in units of 0.1 s; -1 or absent: no temporal position
};

class Resampler {
 public:
  Resampler(ResamplerConfig config, ResamplerWeights weights);

  /// features [rows, vision]: patches of all slices of all groups in order -> [groups, query_num, embed].
  Tensor forward(Context& ctx, Tensor features, std::span<const ResamplerGroup> groups) const;

  const ResamplerConfig& config() const { return config_; }

 private:
  Tensor key_positions(Context& ctx, std::span<const ResamplerGroup> groups, int64_t rows) const;

  ResamplerConfig config_;
  ResamplerWeights weights_;
};

}  // namespace minicpm

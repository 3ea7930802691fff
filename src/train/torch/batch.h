// Encoded samples put together as the torch model takes them.
#pragma once

#include <span>
#include <vector>

#include "models/model_config.h"
#include "train/encode.h"
#include "train/torch/functions.h"
#include "train/torch/sound_batch.h"

namespace minicpm::train {

struct Batch {
  // Pictures: all slices packed without padding, those with equal numbers of patches next to each other.
  Tensor pixels;                    // [patches, patch_dim] f32
  Tensor position_ids;              // [patches] int64: rows of the position table
  std::vector<Run> tower_runs;      // one sequence per slice
  Tensor key_positions;             // [patches, embed] f32: sines of place and time for the resampler's keys
  Tensor key_rows;                  // [patches] int64: the tower's rows in the resampler's order; undefined: the same
  std::vector<Run> resampler_runs;  // one sequence per group of slices; queries are repeated for each
  int64_t groups = 0;
  Tensor cells;  // [patches * 2] int64: class of each half patch, -1: not labelled; may be undefined

  SoundBatch sound;

  // Text: sequences padded on the right to one length.
  int64_t sequences = 0, length = 0;
  Tensor ids;        // [sequences * length] int64
  Tensor positions;  // [sequences * length] int64: of the rotary angles
  Tensor hidden;  // [sequences * length, 2] int64: keys [from, to) of its sequence a row does not see; undefined: none
  Tensor image_rows;  // [groups * query_num] int64: where the resampler's rows go in the order it gives them
  Tensor loss_rows;   // [trained] int64: rows whose next token is learned
  Tensor targets;     // [trained] int64
  std::vector<int64_t> target_sample;  // [trained]: which sample the target belongs to
  std::vector<int64_t> target_turn;    // [trained]: which answer of the sample
  int64_t tokens = 0;                  // without padding

  bool has_pictures() const { return pixels.defined(); }
  bool has_sound() const { return !sound.empty(); }
  /// All tensors on that device.
  Batch to(at::Device device) const;
};

/// Samples in any order. `type` is that of the model's parameters (f32 or double).
Batch make_batch(const ModelConfig& config, std::span<const EncodedSample* const> samples,
                 at::ScalarType type = at::kFloat);

}  // namespace minicpm::train

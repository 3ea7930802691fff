// What a training run will need in memory, computed before it begins.
#pragma once

#include <cstdint>
#include <string>

#include "base/dtype.h"
#include "models/model_config.h"

namespace minicpm {

struct ParameterCounts {
  int64_t language = 0;  // embeddings and output matrix included
  int64_t vision = 0;
  int64_t resampler = 0;
  int64_t sound = 0;  // encoder and projection
  int64_t total() const { return language + vision + resampler + sound; }
};

/// From the tables: what a new model of this configuration has.
ParameterCounts count_parameters(const ModelConfig& config);

/// Patches of one picture at the most: the overview and `max_slices` slices.
int64_t most_patches(const ModelConfig& config, int max_slices);

/// One process. Weights, gradients and moments are f32, the residual stream too.
struct TrainingMemoryRequest {
  int64_t total_parameters = 0;       // held in memory, adapters included
  int64_t trained_parameters = 0;     // of these, those that get gradients
  int optimizer_states = 2;           // f32 values per trained weight: 2 for AdamW, 1 with a momentum only
  DType compute_dtype = DType::kF32;  // of products and branches; kBF16: each use of a weight keeps a copy in bf16
  bool trains_vision = false;         // else the tower keeps nothing for the way back
  bool trains_resampler = false;      // the same; the resampler keeps its values also when the tower is trained
  bool trains_sound = false;          // the same for the sound encoder
  bool gradient_checkpointing = false;
  int64_t batch_tokens = 0;     // tokens of one micro-batch, padding included
  int64_t longest_sample = 0;   // tokens of its longest sample
  int64_t trained_tokens = 0;   // tokens with a label; 0: all
  int64_t batch_patches = 0;    // patches of its pictures, overviews and slices
  int64_t waiting_patches = 0;  // of pictures that are encoded ahead
  int64_t batch_frames = 0;     // encoder frames of its sounds, 50 a second
  int64_t longest_sound = 0;    // encoder frames of the longest piece of sound
};

/// Bytes.
struct TrainingMemoryPlan {
  int64_t weights = 0;
  int64_t gradients = 0;
  int64_t optimizer = 0;
  int64_t activations = 0;  // and the pictures that wait
  int64_t program = 0;      // the process itself with libtorch
  int64_t total = 0;
  int64_t total_parameters = 0;
  int64_t trained_parameters = 0;
  bool gradient_checkpointing = false;
};

/// The activations are what the layers keep for the way back, times the layers, or one layer and the inputs of all with
/// gradient checkpointing. Throws Error out_of_memory when sizes exceed what can be counted.
TrainingMemoryPlan plan_training_memory(const ModelConfig& config, const TrainingMemoryRequest& request);

/// Aligned lines that end in newlines, "weights      1.2 GiB  310.5 M parameters" and so on.
std::string training_memory_table(const TrainingMemoryPlan& plan);

/// What is free on this machine, and what this process already holds of the plan: weights may be loaded before it.
int64_t training_memory_available();

/// Throws Error out_of_memory, "training needs 12.3 GiB, 8.0 GiB are free; try ...", if the plan does not fit.
/// `available_bytes` is what the device offers (training_memory_available() for the CPU); 0 or less: unknown, nothing
/// is refused.
void require_training_memory(const TrainingMemoryPlan& plan, int64_t available_bytes);

}  // namespace minicpm

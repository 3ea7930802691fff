// What a training run will need in memory, computed before it begins.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/dtype.h"
#include "models/model_config.h"

namespace minicpm {

struct ParameterCounts {
  int64_t language = 0;  // output matrix included
  int64_t vision = 0;
  int64_t resampler = 0;
  int64_t total() const { return language + vision + resampler; }
};

/// From the tables; optional tensors count where `has_tensor` (by safetensors name) says so.
ParameterCounts count_parameters(const ModelConfig& config,
                                 const std::function<bool(const std::string& hf_name)>& has_tensor);

struct TrainingMemoryRequest {
  int64_t total_parameters = 0;       // held in memory, adapters included
  int64_t trained_parameters = 0;     // of these, those that get gradients
  int optimizer_states = 2;           // f32 values per trained weight: 2 for AdamW, 1 for SGD with momentum
  DType compute_dtype = DType::kF32;  // kBF16: trained weights are kept in f32 as well
  bool trains_vision = false;         // else the tower keeps no activations for the way back
  bool trains_resampler = false;
  bool gradient_checkpointing = false;
  int64_t batch_tokens = 0;    // tokens of one micro-batch, padding included
  int64_t longest_sample = 0;  // tokens of its longest sample
  int64_t trained_tokens = 0;  // tokens with a label; 0: all
  int64_t batch_patches = 0;   // patches of its pictures, overviews and slices
};

/// Bytes.
struct TrainingMemoryPlan {
  int64_t weights = 0;
  int64_t gradients = 0;
  int64_t optimizer = 0;
  int64_t activations = 0;
  int64_t total = 0;
  int64_t total_parameters = 0;
  int64_t trained_parameters = 0;
};

/// The activations are an estimate from above: what a layer keeps for the way back, times the layers, or one layer and
/// the inputs of all with gradient checkpointing.
TrainingMemoryPlan plan_training_memory(const ModelConfig& config, const TrainingMemoryRequest& request);

/// A few aligned lines that end in newlines, "weights  1.2 GiB  310.5 M parameters" and so on.
std::string training_memory_table(const TrainingMemoryPlan& plan);

/// Throws Error out_of_memory, "training needs X, Y are free; try ...", if the plan does not fit. `available_bytes` is
/// what the device offers (machine_memory().available_bytes for the CPU); 0 or less: unknown, nothing is refused.
void require_training_memory(const TrainingMemoryPlan& plan, int64_t available_bytes);

}  // namespace minicpm

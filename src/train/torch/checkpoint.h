// A training run on disk: folders that appear when they are complete.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "train/torch/optimizer.h"
#include "train/torch/parameters.h"
#include "train/train_config.h"

namespace minicpm::train {

struct CheckpointState {
  int64_t step = 0;  // updates done over all stages
  int64_t stage = 0;
  int64_t stage_step = 0;  // updates done in this stage
  int64_t samples = 0;
  double seconds = 0;
  Json config;  // of the run, to notice when a resumed one differs
};

/// The newest complete checkpoint under `out`/checkpoints, if there is one.
std::optional<std::filesystem::path> newest_checkpoint(const std::filesystem::path& out);

/// Writes `out`/checkpoints/step-N: state.json, training.safetensors (moments and all parameters in f32). Older
/// checkpoints beyond `keep` are removed afterwards. Throws Error io; then the earlier ones are as they were.
std::filesystem::path write_checkpoint(const std::filesystem::path& out, const CheckpointState& state,
                                       const Parameters& parameters, const Optimizer& optimizer, int64_t keep);

CheckpointState read_checkpoint_state(const std::filesystem::path& checkpoint);
/// Fills parameters and moments. Throws Error bad_file.
void read_checkpoint(const std::filesystem::path& checkpoint, Parameters& parameters, Optimizer& optimizer);

/// A Hugging Face folder: the tensors in `type`, and the other files of `source` as they are. Tensors of `before`,
/// which may be null, that are no parameters are taken over: parts that are not trained, like a speech decoder. Throws
/// Error io.
void write_model_folder(const std::filesystem::path& folder, const std::filesystem::path& source,
                        const Parameters& parameters, const std::string& type, const WeightSource* before);

/// The adapter part of the parameters, as PEFT writes it.
void write_adapter(const std::filesystem::path& folder, const TrainConfig& config, const Parameters& parameters);

}  // namespace minicpm::train

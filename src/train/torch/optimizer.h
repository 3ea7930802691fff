// AdamW and Muon over named parameters.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "train/torch/functions.h"
#include "train/train_config.h"

namespace minicpm::train {

class Optimizer {
 public:
  /// Tensors that require gradients. Matrices inside the networks go to Muon when it is chosen; embeddings, tables,
  /// heads, norms and biases always to AdamW.
  Optimizer(const OptimizerConfig& config, std::vector<std::pair<std::string, Tensor>> parameters);

  void zero_grad();
  /// Euclidean norm of all gradients; NaN or infinite when one of them is.
  double grad_norm() const;
  /// One update. Gradients are multiplied by `gradient_scale` first; rates holds one learning rate for each parameter
  /// in order, 0 leaves it and its moments alone.
  void step(const std::vector<double>& rates, double gradient_scale);

  const std::vector<std::pair<std::string, Tensor>>& parameters() const { return parameters_; }
  /// Moments by name and the number of updates of each, for checkpoints.
  std::vector<std::pair<std::string, Tensor>> state() const;
  /// Throws Error bad_file, naming `source`, for a moment that is missing or has another shape.
  void load_state(const std::vector<std::pair<std::string, Tensor>>& state, const std::string& source);

 private:
  struct State {
    Tensor m, v;   // v is undefined for Muon
    Tensor steps;  // [1] f32: updates done
  };
  void adamw_step(size_t i, double rate, double gradient_scale);
  void muon_step(const std::vector<size_t>& group, const std::vector<double>& rates, double gradient_scale);

  OptimizerConfig config_;
  std::vector<std::pair<std::string, Tensor>> parameters_;
  std::vector<State> states_;
};

}  // namespace minicpm::train

// One training run: parameters, optimiser, stages, evaluation and checkpoints.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/description.h"
#include "train/run_log.h"
#include "train/torch/batch_stream.h"
#include "train/torch/checkpoint.h"
#include "train/torch/model.h"
#include "train/torch/optimizer.h"
#include "train/trainer.h"

namespace minicpm::train {

class Session {
 public:
  Session(const TrainConfig& config, const TrainHooks& hooks, Communicator& communicator);
  TrainResult run();

 private:
  struct Losses {
    Tensor total;
    double answers = 0, cells = 0, speech = 0;  // sums that belong to this micro-batch's share of the means
  };
  /// What the gradients of one update are divided by, over all processes.
  struct Counts {
    double tokens = 0, cells = 0, samples = 0, text = 0, spoken = 0;
  };
  struct Update {
    double loss = 0, answers = 0, cells = 0, speech = 0, norm = 0, rate = 0;
    Counts counts;
    bool skipped = false;
  };

  void load_parameters();
  void take_parts();
  void choose_trained();
  void resume(const std::filesystem::path& checkpoint);
  void plan_memory(BatchStream& stream);
  void run_stage(size_t index);
  Update update(BatchStream& stream, const StageConfig& stage, int64_t step);
  Counts count(const std::vector<std::vector<const EncodedSample*>>& micro, const StageConfig& stage) const;
  Losses losses(const Batch& batch, const StageConfig& stage, const Counts& counts) const;
  Tensor cell_loss(const Batch& batch, const Tensor& features, double weight) const;
  Tensor speech_loss(const Batch& batch, const Tensor& sound_rows, double weight) const;
  void average_gradients();
  std::vector<double> rates(const StageConfig& stage, double factor) const;
  void log(const StageConfig& stage, const Update& last, int64_t updates, double seconds);
  void report(const StageConfig& stage, TrainProgress progress) const;
  void evaluate();
  std::vector<Scalar> evaluate_set(const EvalSet& set);
  void save_checkpoint();
  void save_result();
  Batch batch_of(const std::vector<const EncodedSample*>& samples) const;
  bool first() const { return communicator_->rank() == 0; }
  void say(const std::string& line) const;

  TrainConfig config_;
  at::Device device_ = at::kCPU;
  TrainHooks hooks_;
  Communicator* communicator_;
  ModelDescription description_;
  std::optional<Processor> processor_;
  Parameters parameters_;
  std::optional<TorchModel> model_;
  std::optional<Optimizer> optimizer_;
  std::unique_ptr<RunLog> log_;

  CheckpointState state_;
  std::vector<int64_t> stage_steps_;
  TrainResult result_;
  double seconds_before_ = 0, started_ = 0, last_save_ = 0;
  int64_t first_step_ = 0, updates_of_call_ = 0, skipped_in_a_row_ = 0;
  int32_t between_words_ = 0;  // the token of rows in which no word is named, for the loss on speech
  bool planned_ = false, stopping_ = false;
};

}  // namespace minicpm::train

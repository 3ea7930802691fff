// Training as the command line and programs call it. The work is done by a library of its own, which is loaded when it
// is needed: libtorch takes longer to load than an answer takes to begin.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <string_view>

#include "dist/communicator.h"
#include "train/train_config.h"

namespace minicpm {

struct TrainProgress {
  std::string_view stage;
  int64_t step = 0, steps = 0;  // updates over all stages
  int64_t first_step = 0;       // done before this call
  double loss = 0;              // mean over the updates since the last report
  double tokens_per_second = 0;
  double samples_per_second = 0;
};

struct TrainHooks {
  std::function<void(const TrainProgress&)> progress;     // once before the first update, then after logged ones
  std::function<void(std::string_view)> message;  // one line, without its end: plans, evaluations, checkpoints
  const std::atomic<bool>* stop = nullptr;        // set: write a checkpoint and return
};

struct TrainResult {
  int64_t steps = 0;  // done, those of earlier calls included
  double loss = 0;    // of the last update
  bool finished = false;
  int64_t skipped_samples = 0;
  int64_t skipped_updates = 0;  // gradients that were not finite
  std::string output;           // folder of the result, when finished
};

/// Runs, or resumes, the training that `config` describes. Every process of `communicator` calls it; files are written
/// by the first. Throws Error: unsupported when the build has no libtorch, out_of_memory, bad_file, io, ...
TrainResult run_training(const TrainConfig& config, const TrainHooks& hooks, Communicator& communicator);

/// Whether run_training() can work: the library is there.
bool training_available();

}  // namespace minicpm

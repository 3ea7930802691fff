#include "train/trainer.h"

#include "base/companion.h"

namespace minicpm {
namespace {

constexpr const char* kLibrary = "libminicpm_train.so";

}  // namespace

bool training_available() {
  return !find_companion(kLibrary).empty();
}

TrainResult run_training(const TrainConfig& config, const TrainHooks& hooks, Communicator& communicator) {
  check_train_config(config);
  using Entry = void(const TrainConfig&, const TrainHooks&, Communicator&, TrainResult&);
  auto* const entry = reinterpret_cast<Entry*>(load_companion(
      kLibrary, "minicpm_train_entry", "this build cannot train (it needs libtorch-dev when it is configured)"));
  TrainResult result;
  entry(config, hooks, communicator, result);
  return result;
}

}  // namespace minicpm

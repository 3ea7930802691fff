// What the training library exports.
#include "base/error.h"
#include "train/torch/session.h"

extern "C" __attribute__((visibility("default"))) void minicpm_train_entry(const minicpm::TrainConfig& config,
                                                                           const minicpm::TrainHooks& hooks,
                                                                           minicpm::Communicator& communicator,
                                                                           minicpm::TrainResult& result) {
  try {
    result = minicpm::train::Session(config, hooks, communicator).run();
  } catch (const c10::Error& e) {
    minicpm::fail(minicpm::ErrorCode::kInternal, "libtorch: {}", e.what_without_backtrace());
  }
}

// Which samples an update sees, drawn and encoded ahead in parallel.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "train/encode.h"
#include "train/train_config.h"

namespace minicpm::train {

/// A file or a plug-in.
std::unique_ptr<SampleSource> open_source(const DataConfig& data, const ModelConfig& config);

struct StreamOptions {
  EncodeOptions encode;
  uint64_t seed = 1;
  int rank = 0, processes = 1;
  bool skip_bad = false;
  std::function<void(const std::string& reason)> on_bad;  // with skip_bad; called on the caller's thread
};

/// Everything follows from the seed and the number of the update, so a resumed run sees what the first one would have.
class BatchStream {
 public:
  BatchStream(const Processor& processor, const SampleSource& source, const StageConfig& stage,
              const StreamOptions& options);

  int64_t steps() const { return steps_; }
  /// The micro-batches of this process for update `step`: [accumulation][batch]. Valid until the next call.
  std::vector<std::vector<const EncodedSample*>> micro_batches(int64_t step);

  /// Patches of all samples that are encoded at present.
  int64_t waiting_patches() const;

 private:
  int64_t sample_index(int64_t number) const;
  void draw_window(int64_t window);

  const Processor* processor_;
  const SampleSource* source_;
  StageConfig stage_;
  StreamOptions options_;
  int64_t total_ = 0, steps_ = 0, window_ = -1;
  mutable std::map<int64_t, std::vector<int64_t>> orders_;  // of epochs
  std::vector<std::unique_ptr<EncodedSample>> encoded_;     // [accumulation][sort_batches * batch], sorted; null: bad
};

}  // namespace minicpm::train

// The record of a run in its output folder: log.jsonl, a TensorBoard event file and loss.svg.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "train/loss_chart.h"

namespace minicpm {

class EventFile;

/// A named number, "cell_loss" or "eval/word".
using Scalar = std::pair<std::string, double>;

struct StepRecord {
  int64_t step = 0;     // updates done, this one included
  int64_t samples = 0;  // seen since the run began
  double loss = 0;
  double learning_rate = 0;
  double grad_norm = 0;  // before clipping
  double tokens_per_second = 0;
  double seconds = 0;  // since the run began, earlier parts of a resumed run included
  std::vector<Scalar> extra;
};

struct RunLogOptions {
  /// Go on after this step: lines of later steps are dropped. Unset: an earlier log is replaced.
  std::optional<int64_t> resume_step;
  double chart_seconds = 30;      // between two drawings of loss.svg
  std::function<double()> clock;  // seconds since 1970; unset: the system's
};

/// Every line is handed to the system before the call returns, so killing the process loses nothing. One process and
/// one thread writes. Numbers that are not finite become null in log.jsonl.
class RunLog {
 public:
  /// `folder` must exist. A damaged line of an earlier log is dropped. Throws Error io, not_found.
  explicit RunLog(const std::filesystem::path& folder, RunLogOptions options = {});
  /// Draws loss.svg once more; failures are left unsaid.
  ~RunLog();
  RunLog(const RunLog&) = delete;
  RunLog& operator=(const RunLog&) = delete;

  /// One line with the keys step, samples, loss, lr, grad_norm, tokens_per_second, seconds and those of `extra`.
  /// Throws Error io (disk full).
  void add(const StepRecord& record);

  /// A line with the step and these numbers only, for evaluations between updates. Throws Error io.
  void add_scalars(int64_t step, std::span<const Scalar> scalars);

  /// Draws loss.svg now. Throws Error io.
  void write_chart();

 private:
  void append_line(const std::string& line);
  void keep_lines_until(int64_t step);

  std::filesystem::path folder_;
  RunLogOptions options_;
  int fd_ = -1;
  std::unique_ptr<EventFile> events_;
  std::vector<ChartPoint> points_;
  double last_chart_ = 0;
};

}  // namespace minicpm

// How far long work has come: a bar that is redrawn on a terminal, a line now and then elsewhere.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace minicpm::cli {

struct ProgressOptions {
  enum class Unit { kCount, kBytes };
  enum class Style { kBar, kLines, kQuiet };

  std::string label;                // "training", or the name of a file
  std::string unit_name = "steps";  // of kCount, for the rate
  Unit unit = Unit::kCount;
  Style style = Style::kLines;
  double line_seconds = 10;                    // kLines: at least this long between two lines
  int columns = 0;                             // kBar: width; 0: ask the terminal before each drawing
  std::function<double()> clock;               // seconds, never falling; unset: the steady clock
  std::function<void(std::string_view)> sink;  // unset: standard error
};

/// kQuiet with --json or --quiet, kBar when standard error is a terminal that can redraw, else kLines.
ProgressOptions::Style progress_style(bool quiet);

/// Not for use by several threads.
class Progress {
 public:
  /// `total` of 0 or less: unknown; there is no bar and no time left then. `start`: done before (resumed work), left
  /// out of the rate.
  Progress(int64_t total, ProgressOptions options, int64_t start = 0);
  /// Takes the bar away if `finish` was not called.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Shows the state, at most ten times a second. `text` goes to the end of the line: "loss 1.234  812 tok/s".
  void update(int64_t done, std::string_view text = {});
  /// A message of its own line that leaves the bar whole. Dropped when quiet.
  void message(std::string_view line);
  /// Shows the last state for good and ends the line.
  void finish();

 private:
  std::string state_line(double now) const;
  std::string amount_text(double amount) const;
  void draw(double now);
  void clear();

  int64_t total_, start_, done_;
  ProgressOptions options_;
  std::string text_;
  double begin_ = 0;
  double last_ = 0;     // time of the last drawing
  bool drawn_ = false;  // a bar stands on the current line
  bool shown_ = false;  // something was drawn at all
  bool finished_ = false;
};

/// 3725 -> "1:02:05", 65 -> "1:05", 5 -> "0:05"; "-" when not finite.
std::string duration_text(double seconds);

}  // namespace minicpm::cli

#include "cli/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <string>

#include "cli/terminal.h"

namespace minicpm::cli {
namespace {

constexpr double kRedrawSeconds = 0.1;
constexpr int kDefaultColumns = 80;
constexpr int kBarCells = 20;

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int terminal_columns() {
  winsize size = {};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : kDefaultColumns;
}

/// At most `limit` characters of UTF-8 text.
std::string shortened(const std::string& text, size_t limit) {
  size_t characters = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool begins = (static_cast<unsigned char>(text[i]) & 0xc0u) != 0x80u;
    if (begins && characters++ == limit) return text.substr(0, i);
  }
  return text;
}

}  // namespace

ProgressOptions::Style progress_style(bool quiet) {
  if (quiet) return ProgressOptions::Style::kQuiet;
  const char* terminal = std::getenv("TERM");
  const bool can_redraw = terminal == nullptr || std::string_view(terminal) != "dumb";
  return errors_are_on_terminal() && can_redraw ? ProgressOptions::Style::kBar : ProgressOptions::Style::kLines;
}

std::string duration_text(double seconds) {
  constexpr double kLimit = 1000.0 * 3600;
  if (!std::isfinite(seconds) || seconds < 0 || seconds > kLimit) return "-";
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

Progress::Progress(int64_t total, ProgressOptions options, int64_t start)
    : total_(total), start_(start), done_(start), options_(std::move(options)) {
  if (!options_.clock) options_.clock = steady_seconds;
  if (!options_.sink) options_.sink = note;
  begin_ = last_ = options_.clock();
}

Progress::~Progress() {
  if (!finished_) clear();
}

void Progress::update(int64_t done, std::string_view text) {
  done_ = done;
  text_ = one_line(text);
  if (options_.style == ProgressOptions::Style::kQuiet) return;
  const double now = options_.clock();
  const double pause = options_.style == ProgressOptions::Style::kBar ? kRedrawSeconds : options_.line_seconds;
  if (shown_ && now - last_ < pause) return;
  draw(now);
}

void Progress::message(std::string_view line) {
  if (options_.style == ProgressOptions::Style::kQuiet) return;
  clear();
  options_.sink(one_line(line) + "\n");
  if (options_.style == ProgressOptions::Style::kBar && shown_ && !finished_) draw(options_.clock());
}

void Progress::finish() {
  if (finished_) return;
  finished_ = true;
  if (options_.style == ProgressOptions::Style::kQuiet) return;
  draw(options_.clock());
  if (drawn_) options_.sink("\n");
  drawn_ = false;
}

void Progress::clear() {
  if (drawn_) options_.sink("\r\033[K");
  drawn_ = false;
}

void Progress::draw(double now) {
  last_ = now;
  shown_ = true;
  if (options_.style == ProgressOptions::Style::kLines) {
    options_.sink(state_line(now) + "\n");
    return;
  }
  const int columns = options_.columns > 0 ? options_.columns : terminal_columns();
  // The last column stays free: some terminals wrap as soon as it is written.
  options_.sink("\r" + shortened(state_line(now), static_cast<size_t>(std::max(columns - 1, 1))) + "\033[K");
  drawn_ = true;
}

std::string Progress::amount_text(double amount) const {
  if (options_.unit == ProgressOptions::Unit::kBytes) return bytes_text(static_cast<int64_t>(amount));
  return fmt::format("{}", static_cast<int64_t>(amount));
}

/// "training [#####     ] 120/500 24 %  3.1 steps/s  2:04 left  loss 1.23", as far as it is known.
std::string Progress::state_line(double now) const {
  const bool bar = options_.style == ProgressOptions::Style::kBar;
  std::string line = options_.label.empty() ? "" : one_line(options_.label) + " ";
  if (total_ > 0) {
    const double share = std::clamp(static_cast<double>(done_) / static_cast<double>(total_), 0.0, 1.0);
    const auto filled = static_cast<size_t>(share * kBarCells);
    if (bar) line += "[" + std::string(filled, '#') + std::string(kBarCells - filled, ' ') + "] ";
    line += fmt::format("{}/{} {:.0f} %", amount_text(static_cast<double>(done_)),
                        amount_text(static_cast<double>(total_)), std::floor(100 * share));
  } else {
    line += amount_text(static_cast<double>(done_));
  }
  const double seconds = now - begin_;
  const double rate = seconds > 0 ? static_cast<double>(done_ - start_) / seconds : 0.0;
  if (rate > 0) {
    const bool bytes = options_.unit == ProgressOptions::Unit::kBytes;
    line += bytes ? fmt::format("  {}/s", amount_text(rate)) : fmt::format("  {:.3g} {}/s", rate, options_.unit_name);
    if (total_ > done_)
      line += fmt::format("  {} left", duration_text(static_cast<double>(total_ - done_) / rate));
    else
      line += fmt::format("  {}", duration_text(seconds));
  }
  return text_.empty() ? line : line + "  " + text_;
}

}  // namespace minicpm::cli

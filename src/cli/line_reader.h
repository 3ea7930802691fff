// Lines from the user: edited and remembered in a terminal, plain from a pipe.
#pragma once

#include <memory>
#include <string>

namespace minicpm::cli {

class LineReader {
 public:
  enum class Outcome { kLine, kEnd, kInterrupted };

  virtual ~LineReader() = default;
  /// Reads one line without its line end. `prompt` is shown in a terminal only.
  virtual Outcome read(const std::string& prompt, std::string& line) = 0;
  /// Adds a finished entry to the history.
  virtual void remember(const std::string& entry) = 0;
};

std::unique_ptr<LineReader> make_line_reader();

}  // namespace minicpm::cli

// Runs the program as a user does and keeps what it printed.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace minicpm::e2e {

struct Outcome {
  int exit_code = -1;  // -1: ended by a signal, or not ended in time
  std::string out;
  std::string err;
  double seconds = 0;
};

struct Setting {
  std::string input;                                     // standard input
  std::vector<std::pair<std::string, std::string>> env;  // added to the environment
  std::string output_file;                               // standard output goes here instead, "/dev/full" for one
  int interrupts = 0;                                    // Ctrl-C this often once the first output has come
};

/// `program` with `arguments`, looked up as a path. Ends a run that takes longer than a minute.
Outcome run_program(const std::string& program, const std::vector<std::string>& arguments, const Setting& setting = {});

/// The minicpm program of this build.
Outcome minicpm(const std::vector<std::string>& arguments, const Setting& setting = {});
const std::string& minicpm_path();

/// A program in a terminal of its own, driven like a person would.
class Terminal {
 public:
  explicit Terminal(const std::vector<std::string>& arguments,
                    const std::vector<std::pair<std::string, std::string>>& env = {});
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void type(const std::string& keys);
  /// Reads until `text` has appeared after everything waited for before; false after ten seconds or at the end.
  bool wait_for(const std::string& text);
  /// Waits for the end; the exit code, or -1.
  int wait_exit();
  const std::string& screen() const { return screen_; }

 private:
  bool read_some(int timeout_ms);

  int master_ = -1;
  int pid_ = -1;
  size_t seen_ = 0;
  std::string screen_;
};

}  // namespace minicpm::e2e

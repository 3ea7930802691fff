// `minicpm serve` as a process: its port, its log, its memory and its descriptors.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace minicpm::server {

class ServedProgram {
 public:
  /// `serve` with these arguments, --port 0 and a folder of its own for what it keeps. Waits until it is ready; throws
  /// std::runtime_error with its log where it ends instead.
  explicit ServedProgram(std::vector<std::string> arguments);
  ~ServedProgram();
  ServedProgram(const ServedProgram&) = delete;
  ServedProgram& operator=(const ServedProgram&) = delete;

  int port() const { return port_; }
  pid_t pid() const { return pid_; }
  std::string log() const;
  int64_t resident_bytes() const;
  int descriptors() const;
  void signal(int number) const;
  /// Waits for its end; the exit code, or nothing after so many seconds or where a signal ended it.
  std::optional<int> wait_exit(double seconds);

 private:
  std::filesystem::path log_, state_;
  pid_t pid_ = -1;
  int output_ = -1, port_ = 0;
};

}  // namespace minicpm::server

// The server's side: the worker, and the process of one file. Internal to media/sandbox.
#pragma once

#include <atomic>
#include <chrono>
#include <mutex>
#include <span>
#include <string>

#include "media/sandbox/channel.h"
#include "media/sandbox/sandbox.h"

namespace minicpm::sandbox {

/// A descriptor that is closed with its owner.
class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept : number_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  int number() const { return number_; }
  int release();

 private:
  int number_;
};

/// The worker, started anew when it is gone. Used by several threads.
class WorkerProcess {
 public:
  /// Throws Error unsupported.
  explicit WorkerProcess(SandboxOptions options);
  ~WorkerProcess();
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  struct File {
    Descriptor socket, status;
  };
  /// Throws Error internal.
  File begin_file();
  int pid() const;
  const SandboxLimits& limits() const { return options_.limits; }

 private:
  void start();
  void end();
  bool has_ended();
  bool send_order(int socket, int status) const;

  const SandboxOptions options_;
  mutable std::mutex mutex_;
  Descriptor control_;
  int pid_ = -1;
};

/// One file's process, which ends with this object. Used by one thread.
class FileProcess {
 public:
  FileProcess(WorkerProcess& worker, std::string name, const std::atomic<bool>* cancel);

  /// Sends a job with its file. Like all functions below it throws Error cancelled, timeout, what the process reports,
  /// and what MediaSandbox says of processes that end.
  void send_job(MessageKind kind, const Packer& job, std::span<const std::byte> file);
  void send(MessageKind kind, const Packer& content);
  /// The next message that is not about the log.
  Message receive();
  /// The same where it must be of this kind.
  std::string receive(MessageKind kind);
  void receive_bytes(std::span<std::byte> bytes);
  void set_cancel(const std::atomic<bool>* cancel) { cancel_ = cancel; }

  const std::string& name() const { return name_; }
  [[noreturn]] void fail_confused() const;

 private:
  void check() const;
  [[noreturn]] void fail_ended();
  template <typename Fn>
  auto guarded(Fn action);

  WorkerProcess& worker_;
  std::string name_;
  const std::atomic<bool>* cancel_;
  std::chrono::steady_clock::time_point deadline_;
  WorkerProcess::File file_;
  Channel channel_;
  int log_lines_ = 0;
};

}  // namespace minicpm::sandbox

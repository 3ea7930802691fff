// What the program says and how: answers to standard output, everything else to standard error.
#pragma once

#include <atomic>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"

namespace minicpm::cli {

// Exit codes of the public interface.
inline constexpr int kExitOk = 0;
inline constexpr int kExitGeneral = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitNotFound = 3;
inline constexpr int kExitBadFile = 4;
inline constexpr int kExitIo = 5;
inline constexpr int kExitMemory = 6;
inline constexpr int kExitNetwork = 7;
inline constexpr int kExitRefused = 8;
inline constexpr int kExitCheckFailed = 9;
inline constexpr int kExitTimeout = 124;
inline constexpr int kExitInterrupted = 130;

int exit_code(ErrorCode code);

/// Standard output cannot be written: there is no use in going on.
class OutputError : public Error {
 public:
  using Error::Error;
};

/// Thrown by `print` when the reader of standard output has gone away: the program ends quietly.
struct ReaderGone {};

/// Writes to standard output. Throws OutputError (disk full and the like) or ReaderGone.
void print(std::string_view text);
/// Hands what was printed to the system. Throws as print.
void flush_output();
/// One JSON document with a newline. Strings that are not UTF-8 get U+FFFD.
void print_json(const Json& json);

/// A note on standard error; failures to write it are ignored.
void note(std::string_view text);
/// "minicpm: <sentence>" on standard error, in one line whatever the sentence holds.
void print_error(std::string_view sentence);

/// The text with control characters other than newline and tab replaced, for what files and models bring along.
std::string printable(std::string_view text);
/// The same, newlines and tabs included.
std::string one_line(std::string_view text);

bool output_is_terminal();
bool errors_are_on_terminal();
bool input_is_terminal();
/// Dims text on standard error if that is a terminal and NO_COLOR is not set.
std::string dim(std::string_view text);

/// All of standard input, or of a file ("-" is standard input). Throws Error io, not_found, and bad_file above 64 MiB.
std::string read_text(const std::string& file);

/// 1536 -> "1.5 KiB".
std::string bytes_text(int64_t bytes);

/// Ctrl-C: while an Answering lives, the first one sets its flag; otherwise, and the second time, the program ends with
/// exit code 130.
void install_interrupt_handler();

class Answering {
 public:
  Answering();
  ~Answering();
  Answering(const Answering&) = delete;
  Answering& operator=(const Answering&) = delete;
  const std::atomic<bool>* cancel() const;
  bool cancelled() const { return cancel()->load(); }
};

/// While it lives, Ctrl-C only makes `wake_fd` readable and `take_interrupt` true once. Waiting on a descriptor, not for
/// EINTR, loses no Ctrl-C: it may come just before the wait begins, or on another thread.
class AtPrompt {
 public:
  AtPrompt();
  ~AtPrompt();
  AtPrompt(const AtPrompt&) = delete;
  AtPrompt& operator=(const AtPrompt&) = delete;
  static bool interrupt_pending();
  static bool take_interrupt();
  static int wake_fd();
};

}  // namespace minicpm::cli

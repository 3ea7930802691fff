// Shows answers as they are made.
#pragma once

#include "engine/chat.h"

namespace minicpm::cli {

/// The answer goes to standard output, reasoning dimmed to standard error.
class AnswerPrinter {
 public:
  explicit AnswerPrinter(bool stream);
  /// For Engine::chat; empty when nothing is to be streamed.
  OnDelta on_delta();
  /// Prints what was not streamed and the line end.
  void finish(const ChatResult& result);

 private:
  void show(const TextDelta& delta);

  bool stream_;
  bool shown_reasoning_ = false;  // and no line end after it yet
};

/// Where the time of an answer went, on standard error.
void print_timings(const Engine& engine, const ChatResult& result);

}  // namespace minicpm::cli

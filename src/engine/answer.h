// Turns generated ids into the answer's text: whole characters, reasoning apart from the answer, stop strings cut off.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/chat.h"
#include "text/stream_decoder.h"

namespace minicpm {

class AnswerBuilder {
 public:
  /// With `thinking` the text up to </think> is reasoning.
  AnswerBuilder(const Tokenizer& tokenizer, std::vector<std::string> stop, bool thinking, OnDelta on_delta);

  /// Adds one generated id (not a stop id). Returns true once a stop string has appeared; nothing is added afterwards.
  bool push(int32_t id);
  /// Emits what is held back. Call once at the end.
  void finish();

  /// The answer without blanks at its ends.
  std::string text() const;
  std::optional<std::string> reasoning() const;

 private:
  void add(const std::string& text);
  void emit(const std::string& text);

  StreamDecoder decoder_;
  std::vector<std::string> stop_;
  OnDelta on_delta_;
  std::optional<int32_t> think_end_;
  bool thinking_;       // the answer has a reasoning part
  bool reasoning_now_;  // and we are inside it
  bool stopped_ = false;
  bool begun_ = false;  // something other than blanks was emitted in the present part
  std::string held_;    // may be the beginning of a stop string
  std::string text_, reasoning_;
};

}  // namespace minicpm

// Turns generated ids into the answer's text: whole characters, reasoning and calls of tools apart from the answer, stop
// strings cut off.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/chat.h"
#include "text/stream_decoder.h"
#include "text/tool_calls.h"

namespace minicpm {

struct AnswerOptions {
  std::vector<std::string> stop = {};
  bool thinking = false;     // the text up to </think> is reasoning
  bool calls = false;        // what stands between <tool_call> and </tool_call> is a call
  bool keep_blanks = false;  // at both ends of the text
};

class AnswerBuilder {
 public:
  AnswerBuilder(const Tokenizer& tokenizer, AnswerOptions options, OnDelta on_delta);

  /// Adds one generated id (not a stop id). Returns true once a stop string has appeared; nothing is added afterwards.
  bool push(int32_t id);
  /// Emits what is held back. Call once at the end.
  void finish();

  /// The answer without blanks at its ends.
  std::string text() const;
  std::optional<std::string> reasoning() const;
  const std::vector<ToolCall>& calls() const { return calls_; }

 private:
  void add(const std::string& text);
  void emit(const std::string& text);
  void emit_call();
  void begin_call();
  bool push_call(int32_t id);

  StreamDecoder decoder_;
  AnswerOptions options_;
  OnDelta on_delta_;
  std::optional<int32_t> think_end_, call_begin_, call_end_;
  std::optional<int32_t> speech_end_;
  bool reasoning_now_;  // we are inside the reasoning
  bool stopped_ = false;
  bool begun_ = false;  // something other than blanks was emitted in the present part
  std::string held_;    // may be the beginning of a stop string
  std::string text_, reasoning_;
  std::optional<ToolCallReader> call_;  // that we are inside
  bool call_known_ = false;             // it is in calls_
  std::vector<ToolCall> calls_;
};

}  // namespace minicpm

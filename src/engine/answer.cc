#include "engine/answer.h"

#include <algorithm>

namespace minicpm {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

/// Length of the longest end of `text` that is a beginning of one of `stops`.
size_t held_length(std::string_view text, const std::vector<std::string>& stops) {
  size_t longest = 0;
  for (const std::string& stop : stops) {
    for (size_t n = std::min(text.size(), stop.size()); n > longest; --n) {
      if (text.ends_with(std::string_view(stop).substr(0, n))) longest = n;
    }
  }
  return longest;
}

}  // namespace

AnswerBuilder::AnswerBuilder(const Tokenizer& tokenizer, AnswerOptions options, OnDelta on_delta)
    : decoder_(tokenizer),
      options_(std::move(options)),
      on_delta_(std::move(on_delta)),
      think_end_(tokenizer.token_id("</think>")),
      speech_end_(tokenizer.token_id("<|tts_eos|>")),
      reasoning_now_(options_.thinking),
      begun_(options_.keep_blanks) {
  if (!options_.calls) return;
  call_begin_ = tokenizer.token_id(kToolCallBegin);
  call_end_ = tokenizer.token_id(kToolCallEnd);
}

void AnswerBuilder::emit(const std::string& text) {
  std::string_view shown = text;
  if (!begun_) {  // blanks before the first word belong to the template, not to the answer
    const size_t first = shown.find_first_not_of(kBlanks);
    if (first == std::string_view::npos) return;
    shown.remove_prefix(first);
    begun_ = true;
  }
  (reasoning_now_ ? reasoning_ : text_) += shown;
  if (on_delta_ && !shown.empty()) on_delta_({std::string(shown), reasoning_now_});
}

void AnswerBuilder::add(const std::string& text) {
  held_ += text;
  size_t cut = std::string::npos;
  if (!reasoning_now_) {
    for (const std::string& stop : options_.stop) {
      if (!stop.empty()) cut = std::min(cut, held_.find(stop));
    }
  }
  if (cut != std::string::npos) {
    emit(held_.substr(0, cut));
    held_.clear();
    stopped_ = true;
    return;
  }
  const size_t keep = reasoning_now_ ? 0 : held_length(held_, options_.stop);
  emit(held_.substr(0, held_.size() - keep));
  held_.erase(0, held_.size() - keep);
}

bool AnswerBuilder::push(int32_t id) {
  if (stopped_) return true;
  if (speech_end_ && id == *speech_end_) return false;  // ends what is spoken, in front of the token that ends the turn
  if (reasoning_now_ && think_end_ && id == *think_end_) {
    add(decoder_.finish());
    reasoning_now_ = false;
    begun_ = false;
    return false;
  }
  if (call_) return push_call(id);
  if (!reasoning_now_ && call_begin_ && id == *call_begin_) {
    begin_call();
    return stopped_;
  }
  add(decoder_.push(id));
  return stopped_;
}

// A stop string that had begun before the call did not come.
void AnswerBuilder::begin_call() {
  add(decoder_.finish());
  if (stopped_) return;
  emit(held_);
  held_.clear();
  call_.emplace();
  call_known_ = false;
}

// Stop strings do not end an answer inside a call.
bool AnswerBuilder::push_call(int32_t id) {
  const bool ends = call_end_ && id == *call_end_;
  call_->push(ends ? decoder_.finish() : decoder_.push(id));
  emit_call();
  if (!ends) return false;
  if (call_known_) calls_.back().complete = true;
  call_.reset();
  return false;
}

void AnswerBuilder::emit_call() {
  if (call_->name().empty()) return;
  TextDelta delta;
  if (!call_known_) {
    call_known_ = true;
    calls_.push_back({call_->name(), "", false});
    delta.name = call_->name();
  }
  delta.call = static_cast<int>(calls_.size()) - 1;
  delta.text = call_->take_arguments();
  calls_.back().arguments += delta.text;
  if (on_delta_ && !(delta.text.empty() && delta.name.empty())) on_delta_(delta);
}

void AnswerBuilder::finish() {
  if (stopped_ || call_) return;
  add(decoder_.finish());
  if (!stopped_) emit(held_);
  held_.clear();
}

std::string AnswerBuilder::text() const {
  return options_.keep_blanks ? text_ : std::string(trimmed(text_));
}

std::optional<std::string> AnswerBuilder::reasoning() const {
  if (!options_.thinking) return std::nullopt;
  return std::string(trimmed(reasoning_));
}

}  // namespace minicpm

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

AnswerBuilder::AnswerBuilder(const Tokenizer& tokenizer, std::vector<std::string> stop, bool thinking, OnDelta on_delta)
    : decoder_(tokenizer),
      stop_(std::move(stop)),
      on_delta_(std::move(on_delta)),
      think_end_(tokenizer.token_id("</think>")),
      thinking_(thinking),
      reasoning_now_(thinking) {}

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
    for (const std::string& stop : stop_) {
      if (!stop.empty()) cut = std::min(cut, held_.find(stop));
    }
  }
  if (cut != std::string::npos) {
    emit(held_.substr(0, cut));
    held_.clear();
    stopped_ = true;
    return;
  }
  const size_t keep = reasoning_now_ ? 0 : held_length(held_, stop_);
  emit(held_.substr(0, held_.size() - keep));
  held_.erase(0, held_.size() - keep);
}

bool AnswerBuilder::push(int32_t id) {
  if (stopped_) return true;
  if (reasoning_now_ && think_end_ && id == *think_end_) {
    add(decoder_.finish());
    reasoning_now_ = false;
    begun_ = false;
    return false;
  }
  add(decoder_.push(id));
  return stopped_;
}

void AnswerBuilder::finish() {
  if (stopped_) return;
  add(decoder_.finish());
  if (!stopped_) emit(held_);
  held_.clear();
}

std::string AnswerBuilder::text() const {
  return std::string(trimmed(text_));
}

std::optional<std::string> AnswerBuilder::reasoning() const {
  if (!thinking_) return std::nullopt;
  return std::string(trimmed(reasoning_));
}

}  // namespace minicpm

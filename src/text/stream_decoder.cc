#include "text/stream_decoder.h"

#include "text/utf8.h"

namespace minicpm {

std::string StreamDecoder::push(int32_t id) {
  pending_ += tokenizer_->token_bytes(id);
  // At most three bytes at the end can still become a character; everything before them is decided.
  size_t decided = 0;
  while (decided < pending_.size()) {
    const Utf8Step step = next_utf8(std::string_view(pending_).substr(decided));
    if (step.kind == Utf8Step::Kind::kIncomplete) break;
    decided += step.length;
  }
  std::string text = replace_invalid_utf8(std::string_view(pending_).substr(0, decided));
  pending_.erase(0, decided);
  return text;
}

std::string StreamDecoder::finish() {
  std::string text = replace_invalid_utf8(pending_);
  pending_.clear();
  return text;
}

}  // namespace minicpm

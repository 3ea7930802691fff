// Log probabilities of generated tokens, as the APIs show them.
#pragma once

#include <span>
#include <vector>

#include "base/json.h"
#include "engine/chat.h"
#include "text/tokenizer.h"

namespace minicpm::server {

/// {"token", "logprob", "bytes"}; probabilities that are zero or nearly so show as -9999.
Json token_json(const Tokenizer& tokenizer, int32_t id, float logprob);
float shown_logprob(float logprob);

/// Goes through the tokens of one answer. Reasoning is left out.
class LogprobList {
 public:
  LogprobList(const Tokenizer& tokenizer, const ChatRequest& request);

  /// For the next tokens: token_json of each with the best ones in "top_logprobs".
  Json add(std::span<const int32_t> ids, std::span<const TokenLogprobs> logprobs);
  /// For those of a whole answer that were not added yet.
  Json add_rest(const ChatResult& result);

 private:
  const Tokenizer& tokenizer_;
  std::optional<int32_t> reasoning_end_;  // while inside it
  size_t added_ = 0;
};

}  // namespace minicpm::server

#include "server/logprobs.h"

#include <algorithm>

namespace minicpm::server {

float shown_logprob(float logprob) {
  constexpr float kLeast = -9999.0f;
  return logprob >= kLeast ? logprob : kLeast;
}

Json token_json(const Tokenizer& tokenizer, int32_t id, float logprob) {
  const std::string bytes = tokenizer.token_bytes(id);
  Json list = Json::array();
  for (const char c : bytes)
    list.push_back(static_cast<unsigned char>(c));
  return {{"token", bytes}, {"logprob", shown_logprob(logprob)}, {"bytes", std::move(list)}};
}

LogprobList::LogprobList(const Tokenizer& tokenizer, const ChatRequest& request) : tokenizer_(tokenizer) {
  if (request.thinking) reasoning_end_ = tokenizer.token_id("</think>");
}

Json LogprobList::add(std::span<const int32_t> ids, std::span<const TokenLogprobs> logprobs) {
  Json list = Json::array();
  for (size_t i = 0; i < std::min(ids.size(), logprobs.size()); ++i) {
    ++added_;
    if (reasoning_end_) {
      if (ids[i] == *reasoning_end_) reasoning_end_.reset();
      continue;
    }
    Json token = token_json(tokenizer_, ids[i], logprobs[i].logprob);
    Json top = Json::array();
    for (const TokenScore& score : logprobs[i].top)
      top.push_back(token_json(tokenizer_, score.id, score.score));
    token["top_logprobs"] = std::move(top);
    list.push_back(std::move(token));
  }
  return list;
}

Json LogprobList::add_rest(const ChatResult& result) {
  const size_t first = std::min({added_, result.tokens.size(), result.logprobs.size()});
  return add(std::span(result.tokens).subspan(first), std::span(result.logprobs).subspan(first));
}

}  // namespace minicpm::server

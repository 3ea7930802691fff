#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "engine/logits.h"
#include "engine/token_constraint.h"

namespace minicpm {
namespace {

/// An id with its logit, while filters are at work.
struct Scored {
  int32_t id;
  float logit;
};

bool better(const Scored& a, const Scored& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id > b.id;
}
bool worse(const Scored& a, const Scored& b) {
  return better(b, a);
}

/// Keeps the k best; ids that tie with the last of them stay too.
void filter_top_k(std::vector<Scored>& scored, int top_k) {
  const auto k = static_cast<size_t>(top_k);
  if (top_k == 0 || k >= scored.size()) return;
  std::nth_element(scored.begin(), scored.begin() + static_cast<ptrdiff_t>(k) - 1, scored.end(), better);
  const float limit = scored[k - 1].logit;
  std::erase_if(scored, [limit](const Scored& s) { return s.logit < limit; });
}

/// The `count` last ids of the whole row in the order that the reference's ascending sort gives them. That sort is not
/// stable, so which of several equal logits come last is a property of the algorithm: std::sort over the row, with ids
/// that an earlier filter dropped at -inf.
std::vector<Scored> last_of_sorted_row(const std::vector<Scored>& scored, size_t vocab, size_t count) {
  std::vector<Scored> row(vocab);
  for (size_t i = 0; i < vocab; ++i)
    row[i] = {static_cast<int32_t>(i), -std::numeric_limits<float>::infinity()};
  for (const Scored& s : scored)
    row[static_cast<size_t>(s.id)].logit = s.logit;
  std::sort(row.begin(), row.end(), [](const Scored& a, const Scored& b) { return a.logit < b.logit; });
  return {row.end() - static_cast<ptrdiff_t>(count), row.end()};
}

/// Keeps the best ids while the mass above them is less than top_p. That is the reference's rule (ascending, remove
/// while the cumulative mass is <= 1 - top_p) seen from the other end, which needs no sort of the whole vocabulary
/// unless equal logits lie on both sides of the border.
void filter_top_p(std::vector<Scored>& scored, float top_p, size_t vocab) {
  if (top_p >= 1.0f) return;
  const float peak = std::max_element(scored.begin(), scored.end(), worse)->logit;
  double total = 0;
  for (const Scored& s : scored)
    total += std::exp(static_cast<double>(s.logit - peak));

  std::make_heap(scored.begin(), scored.end(), worse);
  auto kept = scored.end();  // [kept, end) ascending, the rest is a heap
  double above = 0;
  do {
    std::pop_heap(scored.begin(), kept, worse);
    --kept;
    above += std::exp(static_cast<double>(kept->logit - peak)) / total;
  } while (kept != scored.begin() && above < static_cast<double>(top_p));
  if (kept != scored.begin() && scored.front().logit == kept->logit) {
    scored = last_of_sorted_row(scored, vocab, static_cast<size_t>(scored.end() - kept));
  } else {
    scored.erase(scored.begin(), kept);
  }
}

/// Drops ids less probable than min_p times the best one.
void filter_min_p(std::vector<Scored>& scored, float min_p) {
  if (min_p <= 0.0f) return;
  const float peak = std::max_element(scored.begin(), scored.end(), worse)->logit;
  std::erase_if(scored, [=](const Scored& s) { return std::exp(s.logit - peak) < min_p; });
}

std::vector<Candidate> softmax(const std::vector<Scored>& scored) {
  float peak = -std::numeric_limits<float>::infinity();
  for (const Scored& s : scored)
    peak = std::max(peak, s.logit);
  std::vector<double> weights;
  weights.reserve(scored.size());
  double total = 0;
  for (const Scored& s : scored) {
    weights.push_back(std::exp(static_cast<double>(s.logit) - static_cast<double>(peak)));
    total += weights.back();
  }
  std::vector<Candidate> result;
  result.reserve(scored.size());
  for (size_t i = 0; i < scored.size(); ++i) {
    result.push_back({scored[i].id, static_cast<float>(weights[i] / total)});
  }
  return result;
}

std::vector<float> log_softmax(std::span<const float> logits) {
  std::vector<float> result(logits.begin(), logits.end());
  clean_scores(result);
  const float peak = *std::max_element(result.begin(), result.end());
  double total = 0;
  for (float value : result)
    total += std::exp(static_cast<double>(value) - static_cast<double>(peak));
  const double log_total = std::log(total) + static_cast<double>(peak);
  for (float& value : result)
    value = static_cast<float>(static_cast<double>(value) - log_total);
  return result;
}

TokenLogprobs logprobs_of(std::span<const float> log_probabilities, int32_t id, int top) {
  std::vector<TokenScore> all;
  all.reserve(log_probabilities.size());
  for (size_t i = 0; i < log_probabilities.size(); ++i)
    all.push_back({static_cast<int32_t>(i), log_probabilities[i]});
  const auto end = all.begin() + static_cast<ptrdiff_t>(std::min(all.size(), static_cast<size_t>(top)));
  std::partial_sort(all.begin(), end, all.end(), [](const TokenScore& a, const TokenScore& b) {
    return a.score != b.score ? a.score > b.score : a.id < b.id;
  });
  return {log_probabilities[static_cast<size_t>(id)], {all.begin(), end}};
}

bool samples(const SamplingParams& params) {
  return params.do_sample && params.temperature > 0.0f;
}

void require(bool ok, const char* name, const char* range, double found) {
  if (!ok) fail(ErrorCode::kInvalidRequest, "{} must be {}, but is {}", name, range, found);
}

}  // namespace

void validate(const SamplingParams& p) {
  const auto in = [](float value, float low, float high) { return value >= low && value <= high; };  // false for NaN
  constexpr float kLarge = 1e6f;
  require(in(p.temperature, 0.0f, kLarge), "temperature", "0 or more", p.temperature);
  require(p.top_k >= 0, "top_k", "0 (off) or more", p.top_k);
  require(in(p.top_p, 0.0f, 1.0f), "top_p", "between 0 and 1", p.top_p);
  require(in(p.min_p, 0.0f, 1.0f), "min_p", "between 0 and 1", p.min_p);
  require(in(p.repetition_penalty, 1e-6f, kLarge), "repetition_penalty", "more than 0", p.repetition_penalty);
  require(in(p.presence_penalty, -2.0f, 2.0f), "presence_penalty", "between -2 and 2", p.presence_penalty);
  require(in(p.frequency_penalty, -2.0f, 2.0f), "frequency_penalty", "between -2 and 2", p.frequency_penalty);
  for (const TokenScore& bias : p.logit_bias)
    require(in(bias.score, -100.0f, 100.0f), "logit_bias", "between -100 and 100", bias.score);
  require(!p.top_logprobs || (*p.top_logprobs >= 0 && *p.top_logprobs <= 20), "top_logprobs", "between 0 and 20",
          p.top_logprobs.value_or(0));
  require(p.max_tokens >= 1, "max_tokens", "1 or more", p.max_tokens);
  require(p.min_new_tokens >= 0, "min_new_tokens", "0 or more", p.min_new_tokens);
  require(p.num_beams >= 1 && p.num_beams <= kMaxBeams, "num_beams", "between 1 and 64", p.num_beams);
  require(in(p.length_penalty, -kLarge, kLarge), "length_penalty", "a finite number", p.length_penalty);
  if (p.num_beams > 1 && p.do_sample) {
    fail(ErrorCode::kInvalidRequest, "beam search does not sample: num_beams is {} with do_sample on", p.num_beams);
  }
}

void clean_scores(std::span<float> scores) {
  for (float& score : scores) {
    if (std::isnan(score)) score = -std::numeric_limits<float>::infinity();
    score = std::min(score, std::numeric_limits<float>::max());
  }
}

void penalise(std::span<float> scores, std::span<const int32_t> history, std::span<const int32_t> stop_ids,
              const SamplingParams& params) {
  const auto inside = [&](int32_t id) { return id >= 0 && static_cast<size_t>(id) < scores.size(); };
  for (const TokenScore& bias : params.logit_bias) {
    if (inside(bias.id)) scores[static_cast<size_t>(bias.id)] += bias.score;
  }
  if (params.presence_penalty != 0.0f || params.frequency_penalty != 0.0f) {
    std::unordered_map<int32_t, int> times;
    for (int32_t id : history)
      ++times[id];
    for (const auto& [id, count] : times) {
      if (!inside(id)) continue;
      scores[static_cast<size_t>(id)] -= params.presence_penalty + params.frequency_penalty * static_cast<float>(count);
    }
  }
  if (params.repetition_penalty != 1.0f) {
    std::vector<int32_t> distinct(history.begin(), history.end());
    std::sort(distinct.begin(), distinct.end());
    distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
    for (int32_t id : distinct) {
      if (!inside(id)) continue;
      float& score = scores[static_cast<size_t>(id)];
      score = score < 0.0f ? score * params.repetition_penalty : score / params.repetition_penalty;
    }
  }
  if (history.size() < static_cast<size_t>(std::max(params.min_new_tokens, 0))) {
    for (int32_t id : stop_ids) {
      if (inside(id)) scores[static_cast<size_t>(id)] = -std::numeric_limits<float>::infinity();
    }
  }
}

std::vector<Candidate> candidates(std::span<float> logits, std::span<const int32_t> history,
                                  std::span<const int32_t> stop_ids, const SamplingParams& params) {
  clean_scores(logits);
  penalise(logits, history, stop_ids, params);

  const bool sampling = samples(params);
  const float divisor = sampling ? params.temperature : 1.0f;
  // The peak is taken off before the division, which keeps a tiny temperature from overflowing.
  const float peak = logits.empty() ? 0.0f : *std::max_element(logits.begin(), logits.end());
  std::vector<Scored> scored;
  scored.reserve(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    if (!std::isinf(logits[i])) scored.push_back({static_cast<int32_t>(i), (logits[i] - peak) / divisor});
  }
  if (scored.empty()) return {};
  if (sampling) {
    filter_top_k(scored, params.top_k);
    filter_top_p(scored, params.top_p, logits.size());
    filter_min_p(scored, params.min_p);
    std::sort(scored.begin(), scored.end(), [](const Scored& a, const Scored& b) { return a.id < b.id; });
  }
  return softmax(scored);
}

Sampler::Sampler(const SamplingParams& params, std::vector<int32_t> stop_ids,
                 std::shared_ptr<TokenConstraint> constraint)
    : params_(params), stop_ids_(std::move(stop_ids)), constraint_(std::move(constraint)), random_(params.seed) {
  validate(params_);
}

int32_t Sampler::sample(std::span<float> logits, std::span<const int32_t> history) {
  MINICPM_CHECK(!logits.empty());
  if (!samples(params_)) {
    clean_scores(logits);
    penalise(logits, history, stop_ids_, params_);
    return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  }
  const std::vector<Candidate> choices = candidates(logits, history, stop_ids_, params_);
  if (choices.empty()) return 0;  // every logit was suppressed: any id is as good

  double total = 0;
  for (const Candidate& c : choices)
    total += c.probability;
  // 53 random bits in [0, 1): the standard's distributions differ between libraries, its engines do not.
  const double point = static_cast<double>(random_() >> 11) * 0x1p-53 * total;
  double sum = 0;
  for (const Candidate& c : choices) {
    sum += c.probability;
    if (point < sum) return c.id;
  }
  return choices.back().id;
}

SampledToken Sampler::sample_token(std::span<float> logits, std::span<const int32_t> history) {
  std::vector<float> before;
  if (params_.top_logprobs) before = log_softmax(logits);
  if (constraint_ != nullptr) constraint_->apply(logits);
  SampledToken token{sample(logits, history), std::nullopt};
  if (constraint_ != nullptr) constraint_->accept(token.id);
  if (params_.top_logprobs) token.logprobs = logprobs_of(before, token.id, *params_.top_logprobs);
  return token;
}

}  // namespace minicpm

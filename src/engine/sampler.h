// From logits to the next token: penalties, filters, the draw, and beam search. Plain CPU code over one row of logits.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <vector>

namespace minicpm {

/// An id with the logarithm of its probability, or with what is added to its logit.
struct TokenScore {
  int32_t id;
  float score;
};

/// Defaults are neutral (pure sampling from the softmax); model versions bring their own (models/versions.h).
struct SamplingParams {
  bool do_sample = true;            // false: greedy, or beam search when num_beams > 1
  float temperature = 1.0f;         // 0 means greedy
  int top_k = 0;                    // 0: off
  float top_p = 1.0f;               // 1: off
  float min_p = 0.0f;               // 0: off
  float repetition_penalty = 1.0f;  // over generated ids only, as the official chat functions do
  float presence_penalty = 0.0f;    // taken off the logit of every id that was generated
  float frequency_penalty = 0.0f;   // and this, once for each time
  std::vector<TokenScore> logit_bias;
  uint64_t seed = 0;
  int max_tokens = 2048;
  int min_new_tokens = 0;  // stop ids are suppressed before
  int num_beams = 1;
  float length_penalty = 1.0f;
  std::optional<int> top_logprobs;  // report each token's log probability, and those of that many best ids
};

/// What the model itself held of a token, before penalties and filters.
struct TokenLogprobs {
  float logprob = 0;
  std::vector<TokenScore> top;  // the best first
};

struct SampledToken {
  int32_t id = 0;
  std::optional<TokenLogprobs> logprobs;  // when asked for
};

/// Throws Error invalid_request naming the parameter and its range.
void validate(const SamplingParams& params);

/// One id and its probability.
struct Candidate {
  int32_t id;
  float probability;
};

/// In the reference's order: bias, repetition penalty over every distinct id of `history` once, stop ids suppressed
/// while fewer than min_new_tokens were made; then, if sampling, temperature, top-k (ties of the k-th kept), top-p (at
/// least one kept), min-p; softmax. Returns what is left, in ascending id order. `logits` is changed.
std::vector<Candidate> candidates(std::span<float> logits, std::span<const int32_t> history,
                                  std::span<const int32_t> stop_ids, const SamplingParams& params);

class TokenConstraint;  // engine/token_constraint.h

/// Draws tokens for one sequence; the same seed gives the same draws on every machine (own inverse-CDF draw, since the
/// standard library's distributions are not portable).
class Sampler {
 public:
  Sampler(const SamplingParams& params, std::vector<int32_t> stop_ids,
          std::shared_ptr<TokenConstraint> constraint = nullptr);

  /// The next token of this sequence given its logits (changed) and what it generated so far.
  int32_t sample(std::span<float> logits, std::span<const int32_t> history);
  /// The same with what was asked for about it.
  SampledToken sample_token(std::span<float> logits, std::span<const int32_t> history);

 private:
  SamplingParams params_;
  std::vector<int32_t> stop_ids_;
  std::shared_ptr<TokenConstraint> constraint_;
  std::mt19937_64 random_;
};

/// Beam search as the reference library's `generate` does it (early stopping off): pure bookkeeping, one prompt.
class BeamSearch {
 public:
  BeamSearch(const SamplingParams& params, std::vector<int32_t> stop_ids);

  struct Step {
    std::vector<int32_t> parents;  // [beams] which beam each new beam continues
    std::vector<int32_t> tokens;   // [beams] and with which token
  };
  /// `logits`: one row of `vocab` values per beam; at the first step one row for the prompt alone is enough. Rows are
  /// changed. Requires !done().
  Step step(std::span<float> logits, int64_t vocab);
  bool done() const;
  /// The best finished hypothesis (or the best open one if max_tokens was reached), without its stop token, and whether
  /// it ended by one.
  struct Result {
    std::vector<int32_t> tokens;
    bool stopped = false;
  };
  Result result() const;
  int num_beams() const { return params_.num_beams; }

 private:
  struct Hypothesis {
    double score;
    std::vector<int32_t> tokens;
    bool stopped;
  };
  void keep(Hypothesis hypothesis);

  SamplingParams params_;
  std::vector<int32_t> stop_ids_;
  std::vector<std::vector<int32_t>> beams_;  // tokens of each open beam
  std::vector<float> scores_;                // sum of log probabilities of each open beam
  std::vector<Hypothesis> finished_;
  bool done_ = false;
};

}  // namespace minicpm

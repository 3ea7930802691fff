// What sampling and beam search do to a row of scores first.
#pragma once

#include <cstdint>
#include <span>

#include "engine/sampler.h"

namespace minicpm {

inline constexpr int kMaxBeams = 64;

/// NaN becomes -inf and +inf the largest float, so that what follows is defined for any input.
void clean_scores(std::span<float> scores);

/// Repetition penalty over every distinct id of `history` once (negative scores multiplied, others divided), then stop
/// ids to -inf while `history` is shorter than min_new_tokens. Ids outside the row are ignored.
void penalise(std::span<float> scores, std::span<const int32_t> history, std::span<const int32_t> stop_ids,
              const SamplingParams& params);

}  // namespace minicpm

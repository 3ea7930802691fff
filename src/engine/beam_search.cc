#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "engine/logits.h"
#include "engine/sampler.h"

namespace minicpm {
namespace {

/// Beams other than the first start here, so that the first step continues the prompt once only.
constexpr float kInactive = -1e9f;

/// A continuation: token `flat % vocab` after beam `flat / vocab`.
struct Continuation {
  int64_t flat;
  float score;
};

/// Log probabilities from logits, in place.
void log_softmax(std::span<float> row) {
  const float peak = *std::max_element(row.begin(), row.end());
  if (std::isinf(peak)) return;  // nothing is possible in this row
  double total = 0;
  for (float value : row)
    total += std::exp(static_cast<double>(value - peak));
  const auto log_total = static_cast<float>(std::log(total));
  for (float& value : row)
    value = value - peak - log_total;
}

/// The `count` best, best first; of equal scores the earlier beam and the lower id.
std::vector<Continuation> best_continuations(std::vector<Continuation>& all, size_t count) {
  const auto better = [](const Continuation& a, const Continuation& b) {
    return a.score != b.score ? a.score > b.score : a.flat < b.flat;
  };
  count = std::min(count, all.size());
  const auto middle = all.begin() + static_cast<ptrdiff_t>(count);
  std::nth_element(all.begin(), middle, all.end(), better);
  std::sort(all.begin(), middle, better);
  return {all.begin(), middle};
}

double hypothesis_score(float sum, size_t length, float length_penalty) {
  return static_cast<double>(sum) / std::pow(static_cast<double>(length), static_cast<double>(length_penalty));
}

}  // namespace

BeamSearch::BeamSearch(const SamplingParams& params, std::vector<int32_t> stop_ids)
    : params_(params), stop_ids_(std::move(stop_ids)) {
  validate(params_);
  std::sort(stop_ids_.begin(), stop_ids_.end());
  stop_ids_.erase(std::unique(stop_ids_.begin(), stop_ids_.end()), stop_ids_.end());
  beams_.resize(static_cast<size_t>(params_.num_beams));
  scores_.assign(beams_.size(), kInactive);
  scores_[0] = 0.0f;
}

void BeamSearch::keep(Hypothesis hypothesis) {
  const auto worse = [](const Hypothesis& a, const Hypothesis& b) { return a.score < b.score; };
  if (finished_.size() == beams_.size()) {
    const auto worst = std::min_element(finished_.begin(), finished_.end(), worse);
    if (!(hypothesis.score > worst->score)) return;
    finished_.erase(worst);
  }
  finished_.push_back(std::move(hypothesis));
}

BeamSearch::Step BeamSearch::step(std::span<float> logits, int64_t vocab) {
  const size_t num_beams = beams_.size();
  const auto width = static_cast<size_t>(vocab);
  const bool first = beams_[0].empty();
  MINICPM_CHECK(!done() && vocab > 0 && width > stop_ids_.size());
  MINICPM_CHECK(logits.size() == num_beams * width || (first && logits.size() == width));

  // The penalties work on log probabilities here, and on logits when sampling; both as in the reference.
  const size_t rows = logits.size() / width;
  for (size_t row = 0; row < rows; ++row) {
    const std::span<float> scores = logits.subspan(row * width, width);
    clean_scores(scores);
    log_softmax(scores);
    penalise(scores, beams_[row], stop_ids_, params_);
  }
  std::vector<Continuation> all;
  all.reserve(num_beams * width);
  for (size_t beam = 0; beam < num_beams; ++beam) {
    const float* row = logits.data() + (rows == 1 ? 0 : beam) * width;
    for (size_t id = 0; id < width; ++id) {
      all.push_back({static_cast<int64_t>(beam * width + id), row[id] + scores_[beam]});
    }
  }
  // Enough that num_beams continuations are left when every beam's best ones are stop ids.
  const size_t count = std::max<size_t>(2, 1 + stop_ids_.size()) * num_beams;
  const std::vector<Continuation> best = best_continuations(all, count);

  const size_t length = beams_[0].size() + 1;
  Step step;
  std::vector<std::vector<int32_t>> beams;
  std::vector<float> scores;
  for (size_t rank = 0; rank < best.size() && beams.size() < num_beams; ++rank) {
    const auto parent = static_cast<size_t>(best[rank].flat / vocab);
    const auto token = static_cast<int32_t>(best[rank].flat % vocab);
    if (std::binary_search(stop_ids_.begin(), stop_ids_.end(), token)) {
      if (rank >= num_beams) continue;  // only the best continuations may end
      // The stop token counts in the length although it is not kept.
      keep({hypothesis_score(best[rank].score, length, params_.length_penalty), beams_[parent], true});
      continue;
    }
    beams.push_back(beams_[parent]);
    beams.back().push_back(token);
    scores.push_back(best[rank].score);
    step.parents.push_back(first ? 0 : static_cast<int32_t>(parent));
    step.tokens.push_back(token);
  }
  MINICPM_CHECK(beams.size() == num_beams);
  beams_ = std::move(beams);
  scores_ = std::move(scores);

  if (finished_.size() == num_beams) {
    double worst = finished_[0].score;
    for (const Hypothesis& h : finished_)
      worst = std::min(worst, h.score);
    done_ = worst >= hypothesis_score(best[0].score, length, params_.length_penalty);
  }
  return step;
}

bool BeamSearch::done() const {
  return done_ || beams_[0].size() >= static_cast<size_t>(params_.max_tokens);
}

BeamSearch::Result BeamSearch::result() const {
  BeamSearch closed = *this;
  if (!done_ && !beams_[0].empty()) {
    for (size_t beam = 0; beam < beams_.size(); ++beam) {
      closed.keep({hypothesis_score(scores_[beam], beams_[beam].size(), params_.length_penalty), beams_[beam], false});
    }
  }
  // Of equal scores the latest, as a stable ascending sort leaves it last.
  const Hypothesis* best = nullptr;
  for (const Hypothesis& h : closed.finished_) {
    if (best == nullptr || h.score >= best->score) best = &h;
  }
  if (best == nullptr) return {};
  return {best->tokens, best->stopped};
}

}  // namespace minicpm

#include "engine/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>
#include <random>
#include <string>

#include "base/error.h"

namespace minicpm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<int32_t> ids(const std::vector<Candidate>& candidates) {
  std::vector<int32_t> result;
  for (const Candidate& c : candidates)
    result.push_back(c.id);
  return result;
}

std::vector<Candidate> filter(std::vector<float> logits, const SamplingParams& params,
                              const std::vector<int32_t>& history = {}, const std::vector<int32_t>& stop_ids = {}) {
  return candidates(logits, history, stop_ids, params);
}

TEST(Candidates, SoftmaxOfEverythingWhenNeutral) {
  const auto all = filter({0.0f, std::log(2.0f), std::log(5.0f)}, {});
  ASSERT_THAT(ids(all), ElementsAre(0, 1, 2));
  EXPECT_NEAR(all[0].probability, 1.0 / 8, 1e-6);
  EXPECT_NEAR(all[1].probability, 2.0 / 8, 1e-6);
  EXPECT_NEAR(all[2].probability, 5.0 / 8, 1e-6);
}

TEST(Candidates, PenaltyTouchesEachDistinctIdOnce) {
  SamplingParams params{.repetition_penalty = 2.0f};
  std::vector<float> logits = {4.0f, -4.0f, 1.0f, 0.0f};
  const std::vector<int32_t> history = {0, 0, 1, 1, 1, 99, -1};  // ids outside the row are ignored
  candidates(logits, history, {}, params);
  EXPECT_THAT(logits, ElementsAre(2.0f, -8.0f, 1.0f, 0.0f));
}

TEST(Candidates, StopIdsWaitForMinNewTokens) {
  SamplingParams params{.min_new_tokens = 2};
  EXPECT_THAT(ids(filter({1, 2, 3}, params, {0}, {2})), ElementsAre(0, 1));
  EXPECT_THAT(ids(filter({1, 2, 3}, params, {0, 0}, {2})), ElementsAre(0, 1, 2));
}

TEST(Candidates, TopKKeepsTiesOfTheLastKept) {
  SamplingParams params{.top_k = 2};
  EXPECT_THAT(ids(filter({3, 1, 2, 2, 0}, params)), ElementsAre(0, 2, 3));
  params.top_k = 100;
  EXPECT_EQ(filter({3, 1, 2, 2, 0}, params).size(), 5u);
}

TEST(Candidates, TopPKeepsTheSmallestSetThatReachesIt) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.15f), std::log(0.3f), std::log(0.05f)};
  EXPECT_THAT(ids(filter(logits, {.top_p = 0.49f})), ElementsAre(0));
  EXPECT_THAT(ids(filter(logits, {.top_p = 0.51f})), ElementsAre(0, 2));
  EXPECT_THAT(ids(filter(logits, {.top_p = 0.81f})), ElementsAre(0, 1, 2));
  EXPECT_THAT(ids(filter(logits, {.top_p = 0.0f})), ElementsAre(0)) << "the best always stays";
}

TEST(Candidates, TopPDividesEqualLogits) {
  const auto kept = filter(std::vector<float>(10, 1.0f), {.top_p = 0.45f});
  ASSERT_EQ(kept.size(), 5u);  // which five is up to the reference's sort; the reference case checks that
  for (const Candidate& c : kept)
    EXPECT_FLOAT_EQ(c.probability, 0.2f);
  EXPECT_TRUE(std::is_sorted(kept.begin(), kept.end(), [](auto& a, auto& b) { return a.id < b.id; }));
}

TEST(Candidates, MinPIsRelativeToTheBest) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.15f), std::log(0.3f), std::log(0.05f)};
  EXPECT_THAT(ids(filter(logits, {.min_p = 0.2f})), ElementsAre(0, 1, 2));
  EXPECT_THAT(ids(filter(logits, {.min_p = 1.0f})), ElementsAre(0));
}

TEST(Candidates, TemperatureComesBeforeTopP) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.2f)};
  // At temperature 0.5 the probabilities are proportional to 25 : 9 : 4.
  const auto kept = filter(logits, {.temperature = 0.5f, .top_p = 0.7f});
  ASSERT_THAT(ids(kept), ElementsAre(0, 1));
  EXPECT_NEAR(kept[0].probability, 25.0 / 34, 1e-6);
}

TEST(Candidates, SurvivesOddLogits) {
  const float nan = std::nanf("");
  EXPECT_THAT(ids(filter({nan, 1.0f, -kInfinity}, {})), ElementsAre(1));
  const auto infinite = filter({kInfinity, 1.0f}, {.temperature = 1e-30f, .top_p = 0.9f});
  ASSERT_THAT(ids(infinite), ElementsAre(0));
  EXPECT_FLOAT_EQ(infinite[0].probability, 1.0f);
  EXPECT_TRUE(filter({nan, -kInfinity}, {}).empty());
}

TEST(Sampler, GreedyTakesTheFirstOfEqualLogits) {
  std::vector<float> logits = {1, 3, 3, 2};
  EXPECT_EQ(Sampler({.do_sample = false}, {}).sample(logits, {}), 1);
  logits = {1, 3, 3, 2};
  EXPECT_EQ(Sampler({.temperature = 0.0f, .top_k = 1}, {}).sample(logits, {}), 1);
}

TEST(Sampler, GreedyRespectsPenaltyAndMinNewTokens) {
  std::vector<float> logits = {1.9f, 2.0f, 1.0f};
  Sampler sampler({.do_sample = false, .repetition_penalty = 1.2f, .min_new_tokens = 2}, {0});
  EXPECT_EQ(sampler.sample(logits, std::vector<int32_t>{1}), 1) << "2 / 1.2 still beats 1; 0 is a stop id";
}

TEST(Sampler, SameSeedSameDraws) {
  const auto draw = [](uint64_t seed) {
    Sampler sampler({.seed = seed}, {});
    std::vector<int32_t> drawn;
    for (int i = 0; i < 100; ++i) {
      std::vector<float> logits(50, 0.0f);
      drawn.push_back(sampler.sample(logits, drawn));
    }
    return drawn;
  };
  EXPECT_EQ(draw(7), draw(7));
  EXPECT_NE(draw(7), draw(8));
}

TEST(Sampler, DrawsArePortable) {
  // mt19937_64 with seed 5489 (the standard's default) starts with 14514284786278117030: 0.78682... of the range.
  std::vector<float> logits(100, 0.0f);
  EXPECT_EQ(Sampler({.seed = 5489}, {}).sample(logits, {}), 78);
}

TEST(Sampler, FrequenciesFollowTheProbabilities) {
  const std::vector<float> logits = {std::log(0.6f), std::log(0.1f), std::log(0.3f)};
  Sampler sampler({.seed = 1}, {});
  std::map<int32_t, int> counts;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    std::vector<float> row = logits;
    ++counts[sampler.sample(row, {})];
  }
  EXPECT_NEAR(counts[0], 0.6 * kDraws, 300);  // more than four standard deviations (69)
  EXPECT_NEAR(counts[1], 0.1 * kDraws, 300);
  EXPECT_NEAR(counts[2], 0.3 * kDraws, 300);
}

TEST(Validate, NamesTheParameterAndItsRange) {
  const auto message = [](const SamplingParams& params) -> std::string {
    try {
      validate(params);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kInvalidRequest);
      return e.what();
    }
    return "";
  };
  EXPECT_EQ(message({}), "");
  EXPECT_THAT(message({.temperature = -1.0f}), HasSubstr("temperature"));
  EXPECT_THAT(message({.temperature = std::nanf("")}), HasSubstr("temperature"));
  EXPECT_THAT(message({.top_k = -1}), HasSubstr("top_k"));
  EXPECT_THAT(message({.top_p = 1.5f}), HasSubstr("between 0 and 1"));
  EXPECT_THAT(message({.min_p = -0.1f}), HasSubstr("min_p"));
  EXPECT_THAT(message({.repetition_penalty = 0.0f}), HasSubstr("repetition_penalty"));
  EXPECT_THAT(message({.max_tokens = 0}), HasSubstr("max_tokens"));
  EXPECT_THAT(message({.min_new_tokens = -1}), HasSubstr("min_new_tokens"));
  EXPECT_THAT(message({.do_sample = false, .num_beams = 65}), HasSubstr("num_beams"));
  EXPECT_THAT(message({.num_beams = 2}), HasSubstr("does not sample"));
}

/// A tiny language model: the logits after a sequence of ids, made from a hash of it.
std::vector<float> toy_logits(const std::vector<int32_t>& sequence, int64_t vocab, uint64_t seed, float spread) {
  std::seed_seq words(sequence.begin(), sequence.end());
  std::vector<uint32_t> mixed(2);
  words.generate(mixed.begin(), mixed.end());
  std::mt19937_64 random(seed ^ (uint64_t{mixed[0]} << 32 | mixed[1]));
  std::vector<float> logits;
  for (int64_t i = 0; i < vocab; ++i) {
    logits.push_back(static_cast<float>(static_cast<double>(random() >> 11) * 0x1p-53) * spread);
  }
  return logits;
}

using Model = std::function<std::vector<float>(const std::vector<int32_t>&)>;

/// Drives a search as the engine does, following its parents.
BeamSearch::Result search(const SamplingParams& params, const std::vector<int32_t>& stop_ids, const Model& model) {
  BeamSearch beams(params, stop_ids);
  std::vector<std::vector<int32_t>> sequences(1);
  while (!beams.done()) {
    std::vector<float> logits;
    int64_t vocab = 0;
    for (const auto& sequence : sequences) {
      const auto row = model(sequence);
      vocab = static_cast<int64_t>(row.size());
      logits.insert(logits.end(), row.begin(), row.end());
    }
    const auto step = beams.step(logits, vocab);
    std::vector<std::vector<int32_t>> next;
    for (size_t i = 0; i < step.tokens.size(); ++i) {
      next.push_back(sequences.at(static_cast<size_t>(step.parents[i])));
      next.back().push_back(step.tokens[i]);
    }
    sequences = next;
  }
  return beams.result();
}

/// Every sequence of up to `length` ids that ends by a stop id, or has full length; the best by mean log probability.
BeamSearch::Result brute_force(int length, int32_t stop_id, const Model& model) {
  BeamSearch::Result best;
  double best_score = -1e30;
  std::function<void(std::vector<int32_t>, double)> visit = [&](std::vector<int32_t> sequence, double sum) {
    const auto logits = model(sequence);
    double total = 0;
    for (float v : logits)
      total += std::exp(static_cast<double>(v));
    for (int32_t id = 0; id < static_cast<int32_t>(logits.size()); ++id) {
      const double next = sum + static_cast<double>(logits[static_cast<size_t>(id)]) - std::log(total);
      const double score = next / static_cast<double>(sequence.size() + 1);
      auto longer = sequence;
      if (id != stop_id) longer.push_back(id);
      const bool ended = id == stop_id || static_cast<int>(longer.size()) == length;
      if (!ended) visit(longer, next);
      if (ended && score > best_score) {
        best_score = score;
        best = {longer, id == stop_id};
      }
    }
  };
  visit({}, 0.0);
  return best;
}

SamplingParams beam_params(int beams, int max_tokens) {
  return {.do_sample = false, .max_tokens = max_tokens, .num_beams = beams};
}

TEST(BeamSearch, EqualsBruteForceWhenNothingIsPruned) {
  // 27 beams hold all prefixes of three ids (vocabulary 4 with one stop id), so the search is exhaustive.
  int stopped = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const Model model = [seed](const std::vector<int32_t>& s) { return toy_logits(s, 4, seed, 3.0f); };
    const auto expected = brute_force(3, 3, model);
    const auto found = search(beam_params(27, 3), {3}, model);
    ASSERT_EQ(found.tokens, expected.tokens) << "seed " << seed;
    ASSERT_EQ(found.stopped, expected.stopped) << "seed " << seed;
    stopped += found.stopped ? 1 : 0;
  }
  EXPECT_GT(stopped, 20);
  EXPECT_LT(stopped, 180);
}

TEST(BeamSearch, OneBeamIsGreedy) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const Model model = [seed](const std::vector<int32_t>& s) { return toy_logits(s, 9, seed, 1.0f); };
    std::vector<int32_t> greedy;
    Sampler sampler({.do_sample = false}, {});
    while (greedy.size() < 6) {
      auto logits = model(greedy);
      greedy.push_back(sampler.sample(logits, greedy));
    }
    EXPECT_EQ(search(beam_params(1, 6), {}, model).tokens, greedy) << "seed " << seed;
  }
}

/// A model given as a table from sequences to probabilities.
Model table_model(std::map<std::vector<int32_t>, std::vector<float>> table, std::vector<float> otherwise) {
  return [=](const std::vector<int32_t>& sequence) {
    const auto row = table.find(sequence);
    std::vector<float> logits = row == table.end() ? otherwise : row->second;
    for (float& v : logits)
      v = std::log(v);
    return logits;
  };
}

TEST(BeamSearch, FindsTheLikelierSecondChoice) {
  // Greedy starts with 0 (0.5) and then finds nothing likely; 1 (0.4) is followed by a near certain stop.
  const Model model = table_model({{{}, {0.5f, 0.4f, 0.1f}}, {{1}, {0.01f, 0.01f, 0.98f}}}, {0.34f, 0.33f, 0.33f});
  const auto found = search(beam_params(2, 4), {2}, model);
  EXPECT_THAT(found.tokens, ElementsAre(1));
  EXPECT_TRUE(found.stopped);
}

TEST(BeamSearch, StopTokenCountsInTheLength) {
  // After 0: stop now with 0.25 (mean of log 0.5 and log 0.25 over length 2) or go on 0, 0, 0 with 0.5 each.
  const Model model = table_model({}, {0.5f, 0.25f, 0.25f});
  const auto found = search(beam_params(3, 3), {1}, model);
  EXPECT_THAT(found.tokens, ElementsAre(0, 0, 0));
  EXPECT_FALSE(found.stopped);
}

TEST(BeamSearch, NegativeLengthPenaltyPrefersShort) {
  SamplingParams params = beam_params(3, 3);
  params.length_penalty = -2.0f;
  const auto found = search(params, {1}, table_model({}, {0.5f, 0.25f, 0.25f}));
  EXPECT_TRUE(found.tokens.empty());
  EXPECT_TRUE(found.stopped);
}

TEST(BeamSearch, StopsOfLowRankAreNotKept) {
  // With one beam a stop id that is second best does not end the sequence.
  const Model model = table_model({}, {0.6f, 0.4f, 1e-9f});
  const auto found = search(beam_params(1, 2), {1}, model);
  EXPECT_THAT(found.tokens, ElementsAre(0, 0));
  EXPECT_FALSE(found.stopped);
}

TEST(BeamSearch, EqualScoresGoToTheLowerId) {
  BeamSearch beams(beam_params(2, 4), {});
  std::vector<float> logits(5, 1.0f);
  const auto step = beams.step(logits, 5);
  EXPECT_THAT(step.tokens, ElementsAre(0, 1));
  EXPECT_THAT(step.parents, ElementsAre(0, 0));
}

TEST(BeamSearch, FirstStepTakesOneRowOrOnePerBeam) {
  BeamSearch one(beam_params(2, 4), {});
  BeamSearch two(beam_params(2, 4), {});
  std::vector<float> row = {1, 2, 3};
  std::vector<float> rows = {1, 2, 3, 1, 2, 3};
  const auto a = one.step(row, 3);
  const auto b = two.step(rows, 3);
  EXPECT_EQ(a.tokens, b.tokens);
  EXPECT_EQ(a.parents, b.parents);
}

TEST(BeamSearch, MinNewTokensHoldsStopsBack) {
  SamplingParams params = beam_params(3, 5);
  params.min_new_tokens = 3;
  const auto found = search(params, {0}, table_model({}, {0.98f, 0.01f, 0.01f}));
  EXPECT_EQ(found.tokens.size(), 3u);
  EXPECT_TRUE(found.stopped);
}

TEST(BeamSearch, PenaltyWorksOnLogProbabilities) {
  // 0 wins again: log probabilities -0.2 * 1.5 against -1.7. On logits it would lose, 5 / 1.5 against 3.5.
  SamplingParams params = beam_params(1, 2);
  params.repetition_penalty = 1.5f;
  const Model model = [](const std::vector<int32_t>&) { return std::vector<float>{5.0f, 3.5f, -9.0f}; };
  EXPECT_THAT(search(params, {}, model).tokens, ElementsAre(0, 0));
}

TEST(BeamSearch, EndsWhenOpenBeamsCannotWin) {
  // A stop is near certain from the first step: with two beams the search closes long before max_tokens.
  BeamSearch beams(beam_params(2, 1000), {1});
  int steps = 0;
  while (!beams.done()) {
    std::vector<float> logits;
    for (int beam = 0; beam < (steps == 0 ? 1 : 2); ++beam) {
      for (float p : {0.009f, 0.99f, 0.001f})
        logits.push_back(std::log(p));
    }
    beams.step(logits, 3);
    ASSERT_LT(++steps, 10);
  }
  EXPECT_TRUE(beams.result().stopped);
  EXPECT_TRUE(beams.result().tokens.empty());
}

TEST(BeamSearch, SurvivesNanAndAllStops) {
  BeamSearch beams(beam_params(3, 2), {0, 1, 1, 0});
  std::vector<float> logits = {9.0f, 8.0f, std::nanf(""), -kInfinity};
  EXPECT_EQ(beams.step(logits, 4).tokens.size(), 3u);
  EXPECT_TRUE(beams.result().stopped);
}

}  // namespace
}  // namespace minicpm

#include "train/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "base/error.h"

namespace minicpm {
namespace {

TEST(Schedule, NamesGoBothWays) {
  for (const char* name : {"constant", "cosine", "linear", "wsd"}) {
    EXPECT_EQ(schedule_name(parse_schedule(name)), name);
  }
}

TEST(Schedule, UnknownNameListsTheKnownOnes) {
  try {
    parse_schedule("cosinus");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidRequest);
    EXPECT_THAT(error.what(), testing::HasSubstr("\"cosinus\"; there are constant, cosine, linear, wsd"));
  }
}

TEST(Schedule, WarmupIsAFractionOrANumberOfSteps) {
  EXPECT_EQ(warmup_steps({.steps = 1000, .warmup = 0.0}), 0);
  EXPECT_EQ(warmup_steps({.steps = 1000, .warmup = 0.01}), 10);
  EXPECT_EQ(warmup_steps({.steps = 1000, .warmup = 0.0005}), 1);
  EXPECT_EQ(warmup_steps({.steps = 1000, .warmup = 1}), 1);
  EXPECT_EQ(warmup_steps({.steps = 1000, .warmup = 50}), 50);
  EXPECT_EQ(warmup_steps({.steps = 20, .warmup = 50}), 20);
}

TEST(Schedule, WarmupRisesInEqualPartsToOne) {
  for (const auto kind : {ScheduleConfig::kConstant, ScheduleConfig::kCosine, ScheduleConfig::kLinear,
                          ScheduleConfig::kWarmupStableDecay}) {
    const ScheduleConfig config{.kind = kind, .steps = 100, .warmup = 4};
    EXPECT_DOUBLE_EQ(learning_rate_factor(config, 0), 0.25);
    EXPECT_DOUBLE_EQ(learning_rate_factor(config, 1), 0.5);
    EXPECT_DOUBLE_EQ(learning_rate_factor(config, 3), 1.0);
    EXPECT_DOUBLE_EQ(learning_rate_factor(config, 4), 1.0);
  }
}

TEST(Schedule, CosineFallsToTheLowestRatio) {
  const ScheduleConfig config{.kind = ScheduleConfig::kCosine, .steps = 110, .warmup = 10, .min_ratio = 0.1};
  EXPECT_DOUBLE_EQ(learning_rate_factor(config, 60), 0.55);
  EXPECT_NEAR(learning_rate_factor(config, 35), 0.1 + 0.9 * 0.5 * (1 + std::cos(std::numbers::pi / 4)), 1e-15);
  EXPECT_DOUBLE_EQ(learning_rate_factor(config, 110), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate_factor(config, 100000), 0.1);
  for (int64_t step = 11; step < 110; ++step)
    EXPECT_LT(learning_rate_factor(config, step), learning_rate_factor(config, step - 1));
}

TEST(Schedule, LinearFallsEvenly) {
  const ScheduleConfig config{.kind = ScheduleConfig::kLinear, .steps = 100, .warmup = 0};
  EXPECT_DOUBLE_EQ(learning_rate_factor(config, 0), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate_factor(config, 25), 0.75);
  EXPECT_NEAR(learning_rate_factor(config, 99), 0.01, 1e-15);
  EXPECT_DOUBLE_EQ(learning_rate_factor(config, 100), 0.0);
}

TEST(Schedule, WsdStaysThenFalls) {
  const ScheduleConfig config{
      .kind = ScheduleConfig::kWarmupStableDecay, .steps = 1000, .warmup = 0.05, .decay_fraction = 0.2};
  EXPECT_DOUBLE_EQ(learning_rate_factor(config, 50), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate_factor(config, 799), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate_factor(config, 800), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate_factor(config, 900), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate_factor(config, 1000), 0.0);
}

TEST(Schedule, ConstantStaysOneForEver) {
  const ScheduleConfig config{.kind = ScheduleConfig::kConstant, .steps = 10, .min_ratio = 0.5};
  EXPECT_EQ(learning_rate_factor(config, 0), 1.0);
  EXPECT_EQ(learning_rate_factor(config, 1000), 1.0);
}

TEST(Schedule, AWarmupOfTheWholeRunIsPossible) {
  const ScheduleConfig config{.kind = ScheduleConfig::kCosine, .steps = 5, .warmup = 5};
  EXPECT_DOUBLE_EQ(learning_rate_factor(config, 4), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate_factor(config, 5), 0.0);
}

TEST(Schedule, ChecksRanges) {
  EXPECT_NO_THROW(check_schedule({.steps = 10}));
  EXPECT_THROW(check_schedule({.steps = 0}), Error);
  EXPECT_THROW(check_schedule({.steps = 10, .warmup = -0.1}), Error);
  EXPECT_THROW(check_schedule({.steps = 10, .warmup = 11}), Error);
  EXPECT_THROW(check_schedule({.steps = 10, .warmup = std::nan("")}), Error);
  EXPECT_THROW(check_schedule({.steps = 10, .decay_fraction = 0}), Error);
  EXPECT_THROW(check_schedule({.steps = 10, .min_ratio = 1.5}), Error);
}

}  // namespace
}  // namespace minicpm

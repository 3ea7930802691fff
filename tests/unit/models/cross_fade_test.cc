#include "models/cross_fade.h"

#include <gtest/gtest.h>

namespace minicpm {
namespace {

TEST(CrossFade, KeepsWhatIsEqualAndMeetsInTheMiddle) {
  const std::vector<float> ones(5000, 1.0f), twos(3000, 2.0f);
  const auto same = cross_fade(ones, ones);
  ASSERT_EQ(same.size(), 5000 + 5000 - kSpeechOverlap);
  for (const float value : same)
    EXPECT_NEAR(value, 1.0f, 1e-6);
  const auto faded = cross_fade(ones, twos);
  ASSERT_EQ(faded.size(), 5000 + 3000 - kSpeechOverlap);
  const size_t begin = 5000 - kSpeechOverlap;
  EXPECT_EQ(faded[begin - 1], 1.0f);
  EXPECT_EQ(faded[5000], 2.0f);
  for (size_t i = begin; i < 5000; ++i) {
    EXPECT_GE(faded[i], faded[i - 1] - 1e-6f);
    EXPECT_LE(faded[i], 2.0f);
  }
}

}  // namespace
}  // namespace minicpm

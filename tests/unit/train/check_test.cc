#include "train/check.h"

#include <gmock/gmock.h>

#include <stdexcept>

#include "train_support.h"

namespace minicpm {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// Sample i has a picture if i is odd, and an answer of i letters. Sample 3 cannot be read.
class MadeUpSource : public SampleSource {
 public:
  int64_t size() const override { return 10; }
  TrainingSample sample(int64_t index) const override {
    if (index == 3) fail(ErrorCode::kNotFound, "made.jsonl:4: picture lost.png: no such file");
    if (index == broken) throw std::logic_error("broken");
    std::vector<std::shared_ptr<const Image>> pictures;
    if (index % 2) pictures.push_back(plain_picture(300, 200));
    return {{picture_message(pictures, "q"), text_message("assistant", std::string(static_cast<size_t>(index), 'z'))},
            {},
            fmt::format("made.jsonl:{}", index + 1)};
  }
  int64_t broken = -1;
};

TEST(CheckTest, CountsAndFindsBadSamples) {
  const TinyProcessor tiny;
  CheckOptions options;
  int64_t last = 0;
  options.progress = [&](int64_t done) {
    EXPECT_GT(done, last);
    last = done;
  };
  const DataReport report = check_samples(MadeUpSource(), tiny.processor, options);
  EXPECT_EQ(report.samples, 10);
  EXPECT_EQ(report.good(), 8);
  ASSERT_EQ(report.bad.size(), 2u);  // in order: the empty answer, the lost picture
  EXPECT_THAT(report.bad[0].message, StartsWith("made.jsonl:1: the last answer is empty"));
  EXPECT_EQ(report.bad[1].index, 3);
  EXPECT_THAT(report.bad[1].message, HasSubstr("lost.png"));
  EXPECT_EQ(report.text_only, 4);                                             // 2, 4, 6, 8
  EXPECT_EQ(report.pictures.total, 4);                                        // 1, 5, 7, 9
  EXPECT_EQ(report.trained_tokens.total, 1 + 2 + 4 + 5 + 6 + 7 + 8 + 9 + 8);  // and the ends
  EXPECT_EQ(report.trained_tokens.min, 2);
  EXPECT_EQ(report.trained_tokens.max, 10);
  EXPECT_EQ(report.tokens.total, report.prompt_tokens.total + report.trained_tokens.total);
  const size_t slices = [&] {
    const auto picture = plain_picture(300, 200);
    return slice_image(*picture, tiny.config.slices).size();
  }();
  EXPECT_EQ(report.slices.max, static_cast<int64_t>(slices));
  int64_t counted = 0;
  for (const HistogramBin& bin : report.lengths)
    counted += bin.count;
  EXPECT_EQ(counted, 8);
  EXPECT_GE(report.lengths.back().up_to, report.tokens.max);
  EXPECT_GT(report.lengths.front().count, 0);
}

TEST(CheckTest, LongSamplesAreBad) {
  const TinyProcessor tiny;
  CheckOptions options;
  options.encode.max_tokens = 30;
  const DataReport report = check_samples(MadeUpSource(), tiny.processor, options);
  for (const BadSample& bad : report.bad) {
    if (bad.index == 0 || bad.index == 3) continue;
    EXPECT_THAT(bad.message, HasSubstr("expected at most 30"));
  }
  EXPECT_EQ(report.pictures.total, 0);
  EXPECT_LE(report.tokens.max, 30);
}

TEST(CheckTest, OtherExceptionsAndCancellationArePassedOn) {
  const TinyProcessor tiny;
  MadeUpSource source;
  source.broken = 5;
  EXPECT_THROW(check_samples(source, tiny.processor, {}), std::logic_error);
  const std::atomic<bool> cancel = true;
  CheckOptions options;
  options.cancel = &cancel;
  EXPECT_THAT(error_text([&] { check_samples(MadeUpSource(), tiny.processor, options); }), HasSubstr("interrupted"));
}

TEST(CheckTest, Distributions) {
  const Distribution none = distribution_of({});
  EXPECT_EQ(none.max, 0);
  const Distribution one = distribution_of({7});
  EXPECT_EQ(one.min, 7);
  EXPECT_EQ(one.median, 7);
  EXPECT_EQ(one.p95, 7);
  std::vector<int32_t> values;
  for (int i = 100; i >= 1; --i)
    values.push_back(i);
  const Distribution many = distribution_of(values);
  EXPECT_EQ(many.median, 50);
  EXPECT_EQ(many.p95, 95);
  EXPECT_DOUBLE_EQ(many.mean, 50.5);
  EXPECT_EQ(many.total, 5050);
}

}  // namespace
}  // namespace minicpm

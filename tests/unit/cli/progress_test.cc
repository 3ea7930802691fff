#include "cli/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace minicpm::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// A clock that the test moves, and what was written.
struct Stage {
  double now = 100;
  std::vector<std::string> written;

  ProgressOptions options(ProgressOptions::Style style, std::string label = "training") {
    return {.label = std::move(label),
            .style = style,
            .columns = 80,
            .clock = [this] { return now; },
            .sink = [this](std::string_view text) { written.emplace_back(text); }};
  }
};

TEST(Progress, DrawsABar) {
  Stage stage;
  Progress progress(500, stage.options(ProgressOptions::Style::kBar));
  stage.now += 40;
  progress.update(120, "loss 1.234");
  EXPECT_THAT(stage.written,
              ElementsAre("\rtraining [####                ] 120/500 24 %  3 steps/s  2:07 left  loss 1.234\033[K"));
}

TEST(Progress, RedrawsAtMostTenTimesASecond) {
  Stage stage;
  Progress progress(1000, stage.options(ProgressOptions::Style::kBar));
  for (int i = 1; i <= 1000; ++i) {
    stage.now += 0.001;
    progress.update(i);
  }
  EXPECT_LE(stage.written.size(), 11u);
  EXPECT_GE(stage.written.size(), 9u);
}

TEST(Progress, FinishShowsTheLastStateAndEndsTheLine) {
  Stage stage;
  Progress progress(10, stage.options(ProgressOptions::Style::kBar));
  stage.now += 1;
  progress.update(1);
  stage.now += 0.01;
  progress.update(10);
  stage.now += 3.99;
  progress.finish();
  progress.finish();
  ASSERT_EQ(stage.written.size(), 3u);
  EXPECT_EQ(stage.written[1], "\rtraining [####################] 10/10 100 %  2 steps/s  0:05\033[K");
  EXPECT_EQ(stage.written[2], "\n");
}

TEST(Progress, AMessageLeavesTheBarWhole) {
  Stage stage;
  Progress progress(10, stage.options(ProgressOptions::Style::kBar));
  stage.now += 1;
  progress.update(1);
  const std::string bar = stage.written.back();
  stage.written.clear();
  progress.message("checkpoint written");
  EXPECT_THAT(stage.written, ElementsAre("\r\033[K", "checkpoint written\n", bar));
}

TEST(Progress, AnErrorTakesTheBarAway) {
  Stage stage;
  {
    Progress progress(10, stage.options(ProgressOptions::Style::kBar));
    progress.update(1);
    stage.written.clear();
  }
  EXPECT_THAT(stage.written, ElementsAre("\r\033[K"));
}

TEST(Progress, FitsTheTerminal) {
  Stage stage;
  ProgressOptions options = stage.options(ProgressOptions::Style::kBar, "h\u00f6he");
  options.columns = 7;
  Progress progress(10, options);
  progress.update(1);
  EXPECT_THAT(stage.written, ElementsAre("\rh\u00f6he [\033[K"));
}

TEST(Progress, WritesLinesNowAndThenElsewhere) {
  Stage stage;
  Progress progress(100, stage.options(ProgressOptions::Style::kLines));
  for (int i = 1; i <= 100; ++i) {
    stage.now += 0.25;
    progress.update(i, "loss 2");
  }
  progress.finish();
  EXPECT_THAT(stage.written, ElementsAre("training 1/100 1 %  4 steps/s  0:25 left  loss 2\n",
                                         "training 41/100 41 %  4 steps/s  0:15 left  loss 2\n",
                                         "training 81/100 81 %  4 steps/s  0:05 left  loss 2\n",
                                         "training 100/100 100 %  4 steps/s  0:25  loss 2\n"));
}

TEST(Progress, QuietSaysNothing) {
  Stage stage;
  {
    Progress progress(100, stage.options(ProgressOptions::Style::kQuiet));
    progress.update(1);
    progress.message("hello");
    progress.finish();
  }
  EXPECT_THAT(stage.written, IsEmpty());
}

TEST(Progress, CountsBytes) {
  Stage stage;
  ProgressOptions options = stage.options(ProgressOptions::Style::kLines, "model.gguf");
  options.unit = ProgressOptions::Unit::kBytes;
  Progress progress(4 << 20, options);
  stage.now += 2;
  progress.update(1 << 20);
  EXPECT_THAT(stage.written, ElementsAre("model.gguf 1.0 MiB/4.0 MiB 25 %  512.0 KiB/s  0:06 left\n"));
}

TEST(Progress, ResumedWorkCountsFromItsStart) {
  Stage stage;
  Progress progress(1000, stage.options(ProgressOptions::Style::kLines), 900);
  stage.now += 10;
  progress.update(950);
  EXPECT_THAT(stage.written, ElementsAre("training 950/1000 95 %  5 steps/s  0:10 left\n"));
}

TEST(Progress, AnUnknownTotalHasNoEnd) {
  Stage stage;
  Progress progress(0, stage.options(ProgressOptions::Style::kBar));
  stage.now += 10;
  progress.update(50, "x\ny");
  EXPECT_THAT(stage.written, ElementsAre("\rtraining 50  5 steps/s  0:10  x y\033[K"));
}

TEST(Duration, IsReadable) {
  EXPECT_EQ(duration_text(5.2), "0:05");
  EXPECT_EQ(duration_text(65), "1:05");
  EXPECT_EQ(duration_text(3725), "1:02:05");
  EXPECT_EQ(duration_text(-1), "-");
  EXPECT_EQ(duration_text(1e300 * 1e300), "-");
}

}  // namespace
}  // namespace minicpm::cli

#include "train/run_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <fstream>
#include <limits>

#include "base/error.h"
#include "base/file_map.h"
#include "base/json.h"
#include "unit/train/temporary_folder.h"

namespace minicpm {
namespace {

using minicpm::testing::TemporaryFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<Json> lines(const std::filesystem::path& folder) {
  std::ifstream in(folder / "log.jsonl");
  std::vector<Json> result;
  for (std::string text; std::getline(in, text);)
    result.push_back(parse_json(text, "log.jsonl"));
  return result;
}

std::vector<int64_t> steps(const std::filesystem::path& folder) {
  std::vector<int64_t> result;
  for (const Json& line : lines(folder))
    result.push_back(line["step"].get<int64_t>());
  return result;
}

size_t event_files(const std::filesystem::path& folder) {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    count += entry.path().filename().string().starts_with("events.out.tfevents.") ? 1 : 0;
  return count;
}

StepRecord record(int64_t step) {
  return {.step = step, .samples = step * 4, .loss = 1.0 / static_cast<double>(step), .learning_rate = 1e-4};
}

TEST(RunLog, WritesOneLineForEachStep) {
  const TemporaryFolder folder;
  RunLog log(folder.path());
  log.add({.step = 1,
           .samples = 8,
           .loss = 2.25,
           .learning_rate = 1e-3,
           .grad_norm = 0.5,
           .tokens_per_second = 800,
           .seconds = 3.5,
           .extra = {{"cell_loss", 0.125}}});
  const std::vector<Scalar> scores = {{"eval/word", 0.75}};
  log.add_scalars(1, scores);
  EXPECT_EQ(read_file(folder.path() / "log.jsonl", 10000),
            "{\"step\":1,\"samples\":8,\"loss\":2.25,\"lr\":0.001,\"grad_norm\":0.5,\"tokens_per_second\":800.0,"
            "\"seconds\":3.5,\"cell_loss\":0.125}\n"
            "{\"step\":1,\"eval/word\":0.75}\n");
}

TEST(RunLog, KeepsEveryBitOfTheLoss) {
  const TemporaryFolder folder;
  const double loss = std::nextafter(0.1f, 1.0f);
  RunLog log(folder.path());
  log.add({.step = 1, .loss = loss});
  EXPECT_EQ(lines(folder.path())[0]["loss"].get<double>(), loss);
}

TEST(RunLog, NumbersThatAreNotFiniteBecomeNull) {
  const TemporaryFolder folder;
  {
    RunLog log(folder.path());
    log.add({.step = 1, .loss = std::nan(""), .grad_norm = std::numeric_limits<double>::infinity()});
    log.add({.step = 2, .loss = 1.0});
  }
  EXPECT_TRUE(lines(folder.path())[0]["loss"].is_null());
  EXPECT_TRUE(lines(folder.path())[0]["grad_norm"].is_null());
  const std::string svg = read_file(folder.path() / "loss.svg", 1 << 20);
  EXPECT_THAT(svg, ::testing::Not(HasSubstr("nan")));
  EXPECT_THAT(svg, ::testing::Not(HasSubstr("inf")));
}

TEST(RunLog, ResumeDropsLaterLines) {
  const TemporaryFolder folder;
  {
    RunLog log(folder.path());
    for (int64_t step = 1; step <= 5; ++step)
      log.add(record(step));
    const std::vector<Scalar> scores = {{"eval/word", 0.75}};
    log.add_scalars(5, scores);
  }
  {
    RunLog log(folder.path(), {.resume_step = 3});
    EXPECT_THAT(steps(folder.path()), ElementsAre(1, 2, 3));
    log.add(record(4));
  }
  EXPECT_THAT(steps(folder.path()), ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(event_files(folder.path()), 2u);
  EXPECT_THAT(read_file(folder.path() / "loss.svg", 1 << 20), HasSubstr("step 4"));
}

TEST(RunLog, ResumeDropsATornLine) {
  const TemporaryFolder folder;
  std::ofstream(folder.path() / "log.jsonl") << "{\"step\":1,\"loss\":2}\n[]\n{\"step\":\"x\"}\n{\"step\":2,\"lo";
  RunLog log(folder.path(), {.resume_step = 7});
  log.add(record(8));
  EXPECT_THAT(steps(folder.path()), ElementsAre(1, 8));
}

TEST(RunLog, ResumeWithoutALogBegins) {
  const TemporaryFolder folder;
  RunLog log(folder.path(), {.resume_step = 3});
  log.add(record(4));
  EXPECT_THAT(steps(folder.path()), ElementsAre(4));
}

TEST(RunLog, ANewRunReplacesTheLog) {
  const TemporaryFolder folder;
  RunLog(folder.path()).add(record(1));
  RunLog(folder.path()).add(record(2));
  EXPECT_THAT(steps(folder.path()), ElementsAre(2));
}

TEST(RunLog, KillingTheProcessLosesNothing) {
  const TemporaryFolder folder;
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    RunLog log(folder.path());
    for (int64_t step = 1; step <= 3; ++step)
      log.add(record(step));
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_THAT(steps(folder.path()), ElementsAre(1, 2, 3));
}

TEST(RunLog, DrawsTheChartNowAndThen) {
  const TemporaryFolder folder;
  double now = 1000;
  RunLog log(folder.path(), {.chart_seconds = 30, .clock = [&] { return now; }});
  log.add(record(1));
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "loss.svg"));
  now += 31;
  log.add(record(2));
  EXPECT_THAT(read_file(folder.path() / "loss.svg", 1 << 20), HasSubstr("step 2"));
  now += 1;
  log.add(record(3));
  EXPECT_THAT(read_file(folder.path() / "loss.svg", 1 << 20), HasSubstr("step 2"));
}

TEST(RunLog, AFullDiskIsAnError) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  const TemporaryFolder folder;
  std::filesystem::create_symlink("/dev/full", folder.path() / "log.jsonl");
  RunLog log(folder.path());
  try {
    log.add(record(1));
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo);
    EXPECT_THAT(error.what(), HasSubstr("log.jsonl"));
  }
}

TEST(RunLog, NeedsTheFolder) {
  EXPECT_THROW(RunLog("/nowhere/at/all"), Error);
}

}  // namespace
}  // namespace minicpm

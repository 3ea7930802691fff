// tools/load_test against a server with pico.
#include <gmock/gmock.h>

#include "e2e/process.h"
#include "server/api_support.h"

namespace minicpm::server {
namespace {

using ::testing::HasSubstr;

TEST_F(ApiTest, LoadTestReportsThroughputAndLatencies) {
  const std::string url = "http://127.0.0.1:" + std::to_string(start()) + "/";
  const std::string picture = std::string(MINICPM_SOURCE_DIR) + "/assets/pico/word.png";
  const e2e::Outcome outcome = e2e::run_program(MINICPM_LOAD_TEST,
                                                {url, "-c", "3", "-n", "7", "--max-tokens", "8", "-p", "Read the text.",
                                                 "--image", picture, "--temperature", "0", "--numbered", "--json"},
                                                {.env = {{"no_proxy", "127.0.0.1"}}});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json report = parse_json(outcome.out, "report");
  EXPECT_EQ(report["answered"], 7);
  EXPECT_EQ(report["errors"], 0);
  EXPECT_GE(report["completion_tokens"].get<int>(), 7);
  EXPECT_GT(report["prompt_tokens"].get<int>(), 7 * 40);  // the picture counts, which the text alone would not reach
  EXPECT_GT(report["completion_tokens_per_second"].get<double>(), 0);
  for (const char* key : {"time_to_first_token_ms", "answer_ms"}) {
    const double median = report[key]["p50"].get<double>(), tail = report[key]["p99"].get<double>();
    EXPECT_GT(median, 0) << key;
    EXPECT_GE(tail, median) << key;
  }
}

TEST_F(ApiTest, LoadTestSaysWhatTheServerAnswered) {
  const std::string url = "http://127.0.0.1:" + std::to_string(start());
  const e2e::Outcome outcome = e2e::run_program(MINICPM_LOAD_TEST, {url, "-n", "2", "-m", "missing", "--json"},
                                                {.env = {{"no_proxy", "127.0.0.1"}}});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_EQ(parse_json(outcome.out, "report")["errors"], 2);
  EXPECT_THAT(outcome.err, HasSubstr("status 404"));
}

}  // namespace
}  // namespace minicpm::server

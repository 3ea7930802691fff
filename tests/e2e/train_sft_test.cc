// `minicpm train sft`: the run as a person starts, kills, resumes and shares it.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/json.h"
#include "e2e/support.h"

namespace minicpm::e2e {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class TrainSftTest : public E2eTest {
 protected:
  void SetUp() override {
    const fs::path bin = fs::path(minicpm_path()).parent_path();
    if (!fs::exists(bin / "../lib/libminicpm_train.so")) GTEST_SKIP() << "this build has no libtorch";
    E2eTest::SetUp();
    const Outcome made =
        run_program((bin / "make_pico").string(),
                    {"--model", MINICPM_SOURCE_DIR "/tests/torch/tiny_model.json", "--words",
                     MINICPM_SOURCE_DIR "/recipes/pico/words.txt", "--random-weights", "3", "--out", path("model")});
    ASSERT_EQ(made.exit_code, 0) << made.err;
    std::ofstream data(path("data.jsonl"));
    for (int i = 0; i < 16; ++i) {
      data << R"({"messages":[{"role":"user","content":"What is )" << i
           << R"( squared?"},{"role":"assistant","content":")" << i * i << "\"}]}\n";
    }
  }
  std::vector<std::string> arguments(const std::string& out, const std::vector<std::string>& more) const {
    std::vector<std::string> words = {"train",   "sft",         path("model"), path("data.jsonl"), "-o",
                                      path(out), "--log-every", "1",           "--threads",        "1"};
    if (std::ranges::find(more, "--lr") == more.end()) words.insert(words.end(), {"--lr", "1e-3"});
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  std::vector<double> losses(const std::string& out) const {
    std::vector<double> result;
    std::ifstream log(path(out) + "/log.jsonl");
    for (std::string line; std::getline(log, line);) {
      const Json json = parse_json(line, "log.jsonl");
      if (json.contains("loss")) result.push_back(json["loss"].get<double>());
    }
    return result;
  }

  /// Starts the run and kills it as soon as its log has `lines` lines.
  void run_and_kill(const std::vector<std::string>& words, const std::string& log, int lines) const {
    const pid_t pid = fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      std::vector<char*> argv = {const_cast<char*>(minicpm_path().c_str())};
      for (const std::string& word : words)
        argv.push_back(const_cast<char*>(word.c_str()));
      argv.push_back(nullptr);
      const int null = open("/dev/null", O_RDWR);
      dup2(null, 1), dup2(null, 2);
      execv(argv[0], argv.data());
      _exit(127);
    }
    int status = 0;
    while (waitpid(pid, &status, WNOHANG) == 0) {
      std::ifstream in(log);
      int count = 0;
      for (std::string line; std::getline(in, line);)
        ++count;
      if (count >= lines) kill(pid, SIGKILL);
      sched_yield();
    }
  }
};

TEST_F(TrainSftTest, KilledRunsResumeToTheSameBits) {
  const std::vector<std::string> settings = {"--batch", "2", "--epochs", "4", "--save-every", "3", "--type", "f32"};
  ASSERT_EQ(minicpm(arguments("whole", settings)).exit_code, 0);
  for (int lines : {4, 11, 20})
    run_and_kill(arguments("killed",
                           [&] {
                             auto words = settings;
                             words.push_back("--resume");
                             return words;
                           }()),
                 path("killed/log.jsonl"), lines);
  auto words = settings;
  words.push_back("--resume");
  const Outcome last = minicpm(arguments("killed", words));
  ASSERT_EQ(last.exit_code, 0) << last.err;
  EXPECT_EQ(losses("killed"), losses("whole"));
  const auto read = [&](const char* name) {
    std::ifstream in(path(name), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  EXPECT_EQ(read("killed/model.safetensors"), read("whole/model.safetensors"));
}

TEST_F(TrainSftTest, TwoProcessesTrainAsOneWithTwiceTheAccumulation) {
  if (std::system("command -v mpirun > /dev/null") != 0) GTEST_SKIP() << "mpirun is not installed";
  ASSERT_EQ(minicpm(arguments("one", {"--batch", "2", "--accumulation", "2", "--epochs", "3"})).exit_code, 0);
  std::vector<std::string> words = {"-n", "2", "--oversubscribe", "--allow-run-as-root", minicpm_path()};
  for (const std::string& word : arguments("two", {"--batch", "2", "--epochs", "3"}))
    words.push_back(word);
  const Outcome shared = run_program("mpirun", words);
  ASSERT_EQ(shared.exit_code, 0) << shared.err;
  if (shared.err.find("no MPI") != std::string::npos) GTEST_SKIP() << "this build has no MPI";
  const auto one = losses("one"), two = losses("two");
  ASSERT_EQ(one.size(), 12u);
  ASSERT_EQ(two.size(), one.size());
  for (size_t i = 0; i < one.size(); ++i)
    EXPECT_NEAR(two[i], one[i], 1e-5 * one[i]) << "update " << i + 1;
}

TEST_F(TrainSftTest, AFullDiskLeavesTheLastCheckpoint) {
  const std::vector<std::string> settings = {"--batch", "4", "--epochs", "2", "--save-every", "2", "--stop-after", "2"};
  ASSERT_EQ(minicpm(arguments("full", settings)).exit_code, 0);
  // Files of at most 256 KiB, as on a disk that is full but for that.
  std::string command = "trap '' XFSZ; ulimit -f 256; exec '" + minicpm_path() + "'";
  for (const std::string& word : arguments("full", {"--batch", "4", "--epochs", "2", "--save-every", "2", "--resume"}))
    command += " '" + word + "'";
  const Outcome outcome = run_program("/bin/bash", {"-c", command});
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_THAT(outcome.err, HasSubstr("training.safetensors"));
  EXPECT_TRUE(fs::exists(path("full/checkpoints/step-00000002/state.json")));
  EXPECT_FALSE(fs::exists(path("full/checkpoints/step-00000004")));
  const Outcome again = minicpm(arguments("full", {"--batch", "4", "--epochs", "2", "--save-every", "2", "--resume"}));
  EXPECT_EQ(again.exit_code, 0) << again.err;
}

TEST_F(TrainSftTest, AdaptersAreUsedAndMerged) {
  const Outcome trained = minicpm(arguments("adapter", {"--adapter", "--lora-rank", "8", "--lora-dropout", "0",
                                                        "--epochs", "80", "--batch", "8", "--lr", "3e-3", "--json"}));
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  const Json json = parse_json(trained.out, "result");
  EXPECT_TRUE(json["finished"].get<bool>());
  EXPECT_LT(json["loss"].get<double>(), 0.05);
  const std::vector<std::string> question = {"-p", "What is 7 squared?", "--greedy", "--threads", "1"};
  std::vector<std::string> words = {"run", path("model"), "--lora", path("adapter")};
  words.insert(words.end(), question.begin(), question.end());
  EXPECT_EQ(minicpm(words).out, "49\n");
  ASSERT_EQ(minicpm({"merge", path("model"), "--lora", path("adapter"), "-o", path("merged")}).exit_code, 0);
  words = {"run", path("merged")};
  words.insert(words.end(), question.begin(), question.end());
  EXPECT_EQ(minicpm(words).out, "49\n");
}

// A run that starts from another run's result keeps its own records.
TEST_F(TrainSftTest, ARunThatGoesOnFromAnotherKeepsItsOwnLog) {
  ASSERT_EQ(minicpm(arguments("first", {"--batch", "4", "--epochs", "2"})).exit_code, 0);
  auto words = arguments("second", {"--batch", "8", "--epochs", "1"});
  words[2] = path("first");
  ASSERT_EQ(minicpm(words).exit_code, 0);
  EXPECT_EQ(losses("first").size(), 8u);
  EXPECT_EQ(losses("second").size(), 2u);
  EXPECT_TRUE(fs::exists(path("second/config.json")));
}

TEST_F(TrainSftTest, SaysWhatIsWrong) {
  const auto expect = [&](const std::vector<std::string>& words, int code, const char* text) {
    const Outcome outcome = minicpm(words);
    EXPECT_EQ(outcome.exit_code, code) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(text));
  };
  expect({"train", "sft", path("model"), "-o", path("x")}, 2, "no data");
  EXPECT_EQ(minicpm({"train", "sft", "model", path("data.jsonl"), "-o", path("named"), "--stop-after", "1"},
                    {"", {{"MINICPM_MODELS", folder_.string()}}})
                .exit_code,
            0);  // a name instead of a folder
  expect({"train", "sft", path("nowhere"), path("data.jsonl"), "-o", path("x")}, 3, "nowhere");
  expect({"train", "sft", path("model"), path("nothing.jsonl"), "-o", path("x")}, 3, "nothing.jsonl");
  expect(arguments("x", {"--lora-rank", "4"}), 2, "--adapter");
  expect(arguments("x", {"--adapter", "--lora-targets", "nothing"}), 2, "nothing");
  expect(arguments("x", {"--batch", "65536", "--epochs", "5000", "--device", "cuda"}), 4, "CUDA");
  std::ofstream(path("bad.json")) << R"({"stages": [{"data": "data.jsonl", "batch": "many"}]})";
  expect({"train", "sft", path("model"), "--config", path("bad.json"), "-o", path("x")}, 4, "batch");
  std::ofstream(path("typo.json")) << R"({"stagse": []})";
  expect({"train", "sft", path("model"), "--config", path("typo.json"), "-o", path("x")}, 4, "stagse");
}

}  // namespace
}  // namespace minicpm::e2e

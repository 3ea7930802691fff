// Verbs, help, documentation and completion: what needs no model.
#include <sstream>

#include "base/json.h"
#include "e2e/support.h"

namespace minicpm::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

using VerbsTest = E2eTest;

const std::vector<std::string>& verbs() {
  static const std::vector<std::string> names = {"run",   "inspect", "plan",   "tokenize", "detokenize", "verify",
                                                 "bench", "merge",   "doctor", "version",  "completion", "help"};
  return names;
}

TEST_F(VerbsTest, NothingGivesAnOverviewOfAllVerbs) {
  const Outcome outcome = minicpm({});
  expect_ok(outcome);
  for (const std::string& verb : verbs())
    EXPECT_THAT(outcome.out, HasSubstr("\n  " + verb + " "));
  EXPECT_EQ(minicpm({"help"}).out, outcome.out);
  EXPECT_EQ(minicpm({"--help"}).out, outcome.out);
  EXPECT_EQ(minicpm({"-h"}).out, outcome.out);
}

TEST_F(VerbsTest, EveryVerbExplainsItself) {
  for (const std::string& verb : verbs()) {
    const Outcome outcome = minicpm({"help", verb});
    expect_ok(outcome);
    EXPECT_THAT(outcome.out, StartsWith("minicpm " + verb + " - "));
    EXPECT_THAT(outcome.out, HasSubstr("Usage: minicpm " + verb));
    EXPECT_THAT(outcome.out, HasSubstr("-h, --help"));
    EXPECT_EQ(minicpm({verb, "--help"}).out, outcome.out);
    EXPECT_EQ(minicpm({verb, "-h"}).out, outcome.out);
    std::istringstream lines(outcome.out);
    for (std::string line; std::getline(lines, line);)
      EXPECT_LE(line.size(), 110u) << line;
  }
}

TEST_F(VerbsTest, TheManualIsWhatTheProgramPrints) {
  const std::string manual = read_all(std::filesystem::path(MINICPM_SOURCE_DIR) / "docs/cli.md");
  EXPECT_EQ(minicpm({"help", "--markdown"}).out, manual) << "write it anew: minicpm help --markdown > docs/cli.md";
  for (const std::string& verb : verbs())
    EXPECT_THAT(manual, HasSubstr(minicpm({"help", verb}).out));
}

TEST_F(VerbsTest, MistypedWordsAreGuessed) {
  expect_error(minicpm({"rnu"}), 2, "did you mean run?");
  expect_error(minicpm({"tokenise"}), 2, "did you mean tokenize?");
  expect_error(minicpm({"xylophone"}), 2, "there is no verb \"xylophone\"");
  expect_error(minicpm({""}), 2, "there is no verb");
  expect_error(minicpm({"run", "m", "--imgae", "x"}), 2, "did you mean --image?");
  expect_error(minicpm({"help", "nothing"}), 2, "nothing");
}

TEST_F(VerbsTest, WrongUsage) {
  expect_error(minicpm({"run"}), 2, "needs a MODEL");
  expect_error(minicpm({"verify"}), 2, "needs a CASE");
  expect_error(minicpm({"run", "a", "b"}), 2, "one argument too many");
  expect_error(minicpm({"run", "m", "--temp"}), 2, "--temp needs a value");
  expect_error(minicpm({"run", "m", "--temp", "warm"}), 2, "--temp needs a number, but got \"warm\"");
  expect_error(minicpm({"run", "m", "--temp", "nan"}), 2, "--temp needs a number");
  expect_error(minicpm({"run", "m", "-p", "x", "--temp", "-1"}), 2, "temperature must be 0 or more");
  expect_error(minicpm({"run", "m", "-n", "0"}), 2, "--max-tokens must be between 1");
  expect_error(minicpm({"run", "m", "-n", "1.5"}), 2, "whole number");
  expect_error(minicpm({"run", "m", "--top-k", "99999999999999999999"}), 2, "--top-k must be between");
  expect_error(minicpm({"run", "m", "-p", "x", "--top-p", "2"}), 2, "top_p must be between 0 and 1");
  expect_error(minicpm({"run", "m", "-t", "0"}), 2, "--threads must be between 1");
  expect_error(minicpm({"run", "m", "-p", "x", "-p", "y"}), 2, "--prompt is given more than once");
  expect_error(minicpm({"run", "m", "-m", "m", "-p", "y"}), 2, "--model is given more than once");
  expect_error(minicpm({"run", "m", "--json=yes", "-p", "y"}), 2, "--json takes no value");
  expect_error(minicpm({"run", "m", "--json"}), 2, "--json needs a question");
  expect_error(minicpm({"run", "m", "--think", "maybe"}), 2, "on|off");
  expect_error(minicpm({"run", "m", "-p", "x", "--greedy", "--beams", "3"}), 2, "exclude each other");
  expect_error(minicpm({"run", "m", "-p", "x", "-f", "y"}), 2, "exclude each other");
  expect_error(minicpm({"run", "m", "-p", "-", "--image", "-"}), 2, "one thing only");
  expect_error(minicpm({"run", "m", "-p", "x", "--kv-type", "q8"}), 2, "f16|bf16|q8_0|f32");
  expect_error(minicpm({"run", "m", "-p", ""}), 2, "the question is empty");
  expect_error(minicpm({"run", "m", "-p", " \n\t"}), 2, "the question is empty");
  expect_error(minicpm({"run", "m", "-p", "x", "--audio", "a.wav"}), 3, "a.wav");
  expect_error(minicpm({"run", "m", "-p", "x", "--pdf", "d.pdf"}), 2, "--pdf is not supported by this build yet");
  expect_error(minicpm({"completion", "tcsh"}), 2, "bash|zsh|fish");
  expect_error(minicpm({"bench", "m", "--image", "448"}), 2, "such as 448x448");
  expect_error(minicpm({"detokenize", "m", "one"}), 2, "whole number");
  expect_error(minicpm({"doctor", "--isa", "z80"}), 2, "z80");
}

TEST_F(VerbsTest, ErrorsAreOneLineWhateverTheNameHolds) {
  expect_error(minicpm({"run", "a\nb\033[31m", "-p", "x"}), 3, "a b?[31m");
}

TEST_F(VerbsTest, Version) {
  const Outcome text = minicpm({"version"});
  expect_ok(text);
  EXPECT_THAT(text.out,
              ::testing::ContainsRegex("^minicpm [0-9]+\\.[0-9]+\\.[0-9]+ \\(commit ([0-9a-f]{12}|unknown)\\)"));
  EXPECT_EQ(minicpm({"--version"}).out, text.out);
  const Json json = parse_json(minicpm({"version", "--json"}).out, "version");
  for (const char* key : {"version", "commit", "compiler", "kernels", "kernels_chosen"}) {
    EXPECT_TRUE(json.contains(key)) << key;
  }
}

TEST_F(VerbsTest, DoctorListsKernelsAndMemory) {
  const Json json = parse_json(minicpm({"doctor", "--json"}).out, "doctor");
  int chosen = 0;
  bool scalar = false;
  for (const Json& kernels : json["kernels"]) {
    chosen += kernels["chosen"].get<bool>() ? 1 : 0;
    scalar |= kernels["name"] == "scalar" && kernels["supported"].get<bool>();
  }
  EXPECT_EQ(chosen, 1);
  EXPECT_TRUE(scalar);
  EXPECT_GT(json["memory_total_bytes"].get<int64_t>(), 0);
  EXPECT_LE(json["memory_available_bytes"].get<int64_t>(), json["memory_total_bytes"].get<int64_t>());
  EXPECT_TRUE(json["libraries"].contains("fmt"));
  expect_ok(minicpm({"doctor"}));
}

TEST_F(VerbsTest, BashCompletes) {
  const std::string script = write("completion.bash", minicpm({"completion", "bash"}).out);
  const auto complete = [&](const std::string& line) {
    // The last word is the one under the cursor; `.` stands for an empty one.
    const std::string text = "source " + script + "; words=(" + line +
                             "); COMP_WORDS=(\"${words[@]/#./}\"); COMP_CWORD=$((${#words[@]}-1)); _minicpm; "
                             "printf '%s\\n' \"${COMPREPLY[@]}\"";
    const Outcome outcome = run_program("bash", {"-c", text});
    EXPECT_EQ(outcome.err, "");
    return outcome.out;
  };
  EXPECT_EQ(complete("minicpm ve"), "verify\nversion\n");
  EXPECT_EQ(complete("minicpm run m --kv"), "--kv-type\n");
  EXPECT_EQ(complete("minicpm run m --kv-type ."), "f16\nbf16\nq8_0\nf32\n");
  EXPECT_EQ(complete("minicpm completion f"), "fish\n");
  EXPECT_EQ(complete("minicpm help be"), "bench\n");
  write("a picture.png", "");
  EXPECT_EQ(complete("minicpm run m --image '" + path("a p") + "'"), path("a picture.png") + "\n");
}

TEST_F(VerbsTest, OtherShellsGetScriptsWithAllVerbs) {
  for (const std::string shell : {"zsh", "fish"}) {
    const Outcome outcome = minicpm({"completion", shell});
    expect_ok(outcome);
    for (const std::string& verb : verbs())
      EXPECT_THAT(outcome.out, HasSubstr(verb));
    EXPECT_THAT(outcome.out, HasSubstr("kv-type"));
  }
  if (run_program("sh", {"-c", "command -v zsh"}).exit_code == 0) {
    const std::string script = write("_minicpm", minicpm({"completion", "zsh"}).out);
    EXPECT_EQ(run_program("zsh", {"-n", script}).exit_code, 0);
  }
}

TEST_F(VerbsTest, FullDiskIsAnError) {
  for (const std::string verb : {"version", "help", "doctor"}) {
    expect_error(minicpm({verb}, {.output_file = "/dev/full"}), 5, "No space left on device");
  }
}

TEST_F(VerbsTest, AClosedReaderIsNone) {
  const Outcome outcome = run_program("bash", {"-c", "set -o pipefail; " + minicpm_path() + " help --markdown | true"});
  EXPECT_EQ(outcome.err, "");
  EXPECT_EQ(outcome.exit_code, 0);
}

}  // namespace
}  // namespace minicpm::e2e

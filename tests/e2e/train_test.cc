// `minicpm train check`: what a person sees of good and bad data.
#include "base/json.h"
#include "e2e/support.h"

namespace minicpm::e2e {
namespace {

using ::testing::HasSubstr;

class TrainCheckTest : public ModelTest {
 protected:
  void SetUp() override {
    ModelTest::SetUp();
    write_picture("cat.bmp", 300, 200);
  }
  static constexpr const char* kPicture =
      R"({"image":"cat.bmp","conversations":[{"role":"user","content":"<image>\nWhat?"},{"role":"assistant","content":"A cat."}]})";
  static constexpr const char* kText =
      R"({"messages":[{"role":"user","content":"1+1?"},{"role":"assistant","content":"2"}]})";
  static constexpr const char* kLost = R"({"image":"lost.bmp","query":"What?","response":"Nothing."})";
};

TEST_F(TrainCheckTest, GoodData) {
  const std::string data = write("good.jsonl", std::string(kPicture) + "\n" + kText + "\n");
  for (const std::string& model : {hf_, gguf_}) {
    const Outcome outcome = minicpm({"train", "check", model, data, "--json"});
    expect_ok(outcome);
    const Json json = parse_json(outcome.out, "report");
    EXPECT_EQ(json["samples"], 2);
    EXPECT_EQ(json["good"], 2);
    EXPECT_EQ(json["text_only"], 1);
    EXPECT_EQ(json["pictures"]["total"], 1);
    EXPECT_GE(json["slices"]["total"], 1);
    EXPECT_EQ(json["tokens"]["total"].get<int>(),
              json["prompt_tokens"]["total"].get<int>() + json["trained_tokens"]["total"].get<int>());
    EXPECT_TRUE(json["bad"].empty());
  }
  const Outcome text = minicpm({"train", "check", hf_, data});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("2 good, 0 bad; 1 of text alone"));
  EXPECT_THAT(text.out, HasSubstr("Tokens of a sample"));
}

TEST_F(TrainCheckTest, BadSamplesEndWithTheirLine) {
  const std::string data = write("bad.jsonl", std::string(kText) + "\n\n" + kLost + "\n{\"messages\": [}\n");
  const Outcome outcome = minicpm({"train", "check", hf_, data, "--json"});
  EXPECT_EQ(outcome.exit_code, 4);
  EXPECT_THAT(outcome.err, HasSubstr("minicpm: " + data + ":3: picture "));
  EXPECT_THAT(outcome.err, HasSubstr("(and 1 more bad sample)"));
  const Json json = parse_json(outcome.out, "report");
  ASSERT_EQ(json["bad"].size(), 2u);
  EXPECT_EQ(json["bad"][0]["file"], data);
  EXPECT_EQ(json["bad"][0]["line"], 3);
  EXPECT_EQ(json["bad"][1]["line"], 4);
  EXPECT_THAT(json["bad"][1]["reason"].get<std::string>(), HasSubstr("not valid JSON"));

  const Outcome skipped = minicpm({"train", "check", hf_, data, "--json", "--skip-bad"});
  expect_ok(skipped);
  EXPECT_EQ(parse_json(skipped.out, "report"), json);
  const Outcome text = minicpm({"train", "check", hf_, data, "--skip-bad"});
  EXPECT_EQ(text.exit_code, 0);
  EXPECT_THAT(text.out, HasSubstr("1 good, 2 bad"));
  EXPECT_THAT(text.out, HasSubstr(data + ":4: not valid JSON"));
}

TEST_F(TrainCheckTest, LimitsAndRoots) {
  const std::string data = write("data.json", std::string("[") + kPicture + ",\n" + kText + "]");
  const Outcome outcome = minicpm({"train", "check", hf_, data, "--max-tokens", "40"});
  EXPECT_EQ(outcome.exit_code, 4);
  EXPECT_THAT(outcome.err, HasSubstr("data.json:1: the sample has "));
  EXPECT_THAT(outcome.err, HasSubstr("expected at most 40"));
  const auto slices = [&](const std::string& most) {
    const Outcome report = minicpm({"train", "check", hf_, data, "--max-slices", most, "--json"});
    return parse_json(report.out, "report")["slices"]["total"].get<int>();
  };
  EXPECT_EQ(slices("1"), 1);

  std::filesystem::create_directory(folder_ / "lists");
  const std::string moved = write("lists/data.jsonl", std::string(kPicture) + "\n");
  EXPECT_EQ(minicpm({"train", "check", hf_, moved, "--json"}).exit_code, 4);
  expect_ok(minicpm({"train", "check", hf_, moved, "--json", "--media-root", folder_.string()}));
}

TEST_F(TrainCheckTest, WrongUse) {
  expect_error(minicpm({"train", "check"}), 2, "train check needs a MODEL; see `minicpm help train check`");
  expect_error(minicpm({"train", "check", hf_}), 2, "train check needs a DATA");
  expect_error(minicpm({"train", "chekc"}), 2, "did you mean train check?");
  expect_error(minicpm({"train", "--json"}), 2, "train needs another word before --json");
  expect_error(minicpm({"train", "check", hf_, path("none.jsonl")}), 3, "none.jsonl");
  expect_error(minicpm({"train", "check", path("none"), path("none.jsonl")}), 3, "none");
  expect_error(minicpm({"train", "check", hf_, write("empty.jsonl", "\n")}), 4, "the file has no samples");
  expect_error(minicpm({"help", "train", "check", "it"}), 2, "\"it\" is one argument too many");
}

using VerbsOfTwoWordsTest = E2eTest;

TEST_F(VerbsOfTwoWordsTest, HelpAndCompletion) {
  const std::string group = minicpm({"train"}).out;
  EXPECT_THAT(group, HasSubstr("\n  train check "));
  EXPECT_EQ(minicpm({"train", "--help"}).out, group);
  EXPECT_EQ(minicpm({"help", "train"}).out, group);
  const std::string help = minicpm({"help", "train", "check"}).out;
  EXPECT_THAT(help, ::testing::StartsWith("minicpm train check - "));
  EXPECT_EQ(minicpm({"train", "check", "-h"}).out, help);
  EXPECT_THAT(minicpm({"help", "--markdown"}).out, HasSubstr("## minicpm train check\n"));

  const std::string script = write("completion.bash", minicpm({"completion", "bash"}).out);
  const auto complete = [&](const std::string& words, int cursor) {
    return run_program("bash", {"-c", "source " + script + "; COMP_WORDS=(" + words + " ''); COMP_CWORD=" +
                                          std::to_string(cursor) + "; _minicpm; printf '%s\\n' \"${COMPREPLY[@]}\""})
        .out;
  };
  EXPECT_EQ(complete("minicpm trai", 1), "train\n");
  EXPECT_THAT(complete("minicpm train", 2), HasSubstr("check\n"));
  EXPECT_EQ(complete("minicpm train check m d --skip", 5), "--skip-bad\n");
  for (const std::string shell : {"zsh", "fish"})
    EXPECT_THAT(minicpm({"completion", shell}).out, HasSubstr("skip-bad"));
}

}  // namespace
}  // namespace minicpm::e2e

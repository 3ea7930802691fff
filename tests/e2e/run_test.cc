// `run` once, with text and pictures, and the verbs that look into a model.
#include <algorithm>

#include "base/json.h"
#include "e2e/support.h"

namespace minicpm::e2e {
namespace {

using ::testing::HasSubstr;

/// `run MODEL -p ...` with --json and a few tokens.
class RunTest : public ModelTest {
 protected:
  Json run(const std::string& model, std::vector<std::string> arguments, const Setting& setting = {}) {
    std::vector<std::string> words = {"run", model, "--json"};
    if (std::find(arguments.begin(), arguments.end(), "-n") == arguments.end()) words.insert(words.end(), {"-n", "12"});
    words.insert(words.end(), arguments.begin(), arguments.end());
    const Outcome outcome = minicpm(words, setting);
    expect_ok(outcome);
    return parse_json(outcome.out, "the output");
  }
};

TEST_F(RunTest, JsonHasEveryPromisedKey) {
  const Json json = run(hf_, {"-p", "Hello", "--seed", "4"});
  EXPECT_TRUE(json.at("text").is_string());
  EXPECT_THAT(json.at("finish_reason").get<std::string>(), ::testing::AnyOf("stop", "length"));
  EXPECT_EQ(json.at("tokens").size(), json.at("usage").at("completion_tokens").get<size_t>());
  EXPECT_EQ(json.at("seed"), 4);
  EXPECT_GT(json.at("usage").at("prompt_tokens").get<int>(), 0);
  EXPECT_EQ(json.at("usage").at("image_tokens"), 0);
  for (const char* key : {"load_ms", "preprocess_ms", "vision_ms", "prefill_ms", "decode_ms", "ttft_ms",
                          "prefill_tokens_per_second", "decode_tokens_per_second"}) {
    EXPECT_GE(json.at("timings").at(key).get<double>(), 0) << key;
  }
  EXPECT_FALSE(json.contains("reasoning"));
}

TEST_F(RunTest, StreamedAndWholeTextAgree) {
  const std::vector<std::string> words = {"run", hf_, "-p", "Hello", "-n", "40", "--seed", "1"};
  const Outcome streamed = minicpm(words);
  expect_ok(streamed);
  auto quiet = words;
  quiet.push_back("--no-stream");
  EXPECT_EQ(minicpm(quiet).out, streamed.out);
  auto json = words;
  json.push_back("--json");
  EXPECT_EQ(parse_json(minicpm(json).out, "").at("text").get<std::string>() + "\n", streamed.out);
}

TEST_F(RunTest, SameSeedSameAnswer) {
  const auto tokens = [&](const char* seed) { return run(hf_, {"-p", "Hello", "-s", seed}).at("tokens"); };
  EXPECT_EQ(tokens("7"), tokens("7"));
  EXPECT_NE(tokens("7"), tokens("8"));
}

TEST_F(RunTest, AnswersDoNotDependOnThreads) {
  const std::string picture = write_picture("p.bmp", 150, 100);
  for (const std::vector<std::string>& how :
       {std::vector<std::string>{"--greedy"}, {"--seed", "3"}, {"--beams", "3"}}) {
    std::vector<std::string> words = {"-p", "What is it?", "--image", picture, "-t", "1"};
    words.insert(words.end(), how.begin(), how.end());
    const Json one = run(hf_, words);
    words[5] = "3";
    EXPECT_EQ(run(hf_, words).at("tokens"), one.at("tokens")) << how[0];
  }
}

TEST_F(RunTest, PrecisionsAreAChoice) {
  for (const char* precision : {"--exact", "--half"})
    EXPECT_FALSE(run(hf_, {"-p", "Hello", "--greedy", precision}).at("tokens").empty()) << precision;
  expect_error(minicpm({"run", hf_, "-p", "Hello", "--exact", "--half"}), 2, "contradict each other");
}

TEST_F(RunTest, DraftsChangeNoAnswer) {
  const std::string picture = write_picture("p.bmp", 150, 100);
  const std::string schema = write("s.json", R"({"type": "object", "properties": {"a": {"type": "string"}}})");
  int drafted = 0;
  for (const std::vector<std::string>& how : std::vector<std::vector<std::string>>{
           {"--greedy"}, {"--seed", "3"}, {"--greedy", "--json-schema", schema}, {"--seed", "4", "--stop", "e"}}) {
    std::vector<std::string> words = {"-p", "What is it?", "--image", picture, "-n", "60"};
    words.insert(words.end(), how.begin(), how.end());
    const Json plain = run(hf_, words);
    EXPECT_EQ(plain.at("timings").at("drafted"), 0);
    for (const std::vector<std::string>& drafts :
         std::vector<std::vector<std::string>>{{"--lookup"}, {"--draft", gguf_}, {"--lookup", "--draft", hf_}}) {
      std::vector<std::string> drafting = words;
      drafting.insert(drafting.end(), drafts.begin(), drafts.end());
      const Json json = run(hf_, drafting);
      EXPECT_EQ(json.at("tokens"), plain.at("tokens")) << how[0] << " " << drafts[0];
      EXPECT_EQ(json.at("text"), plain.at("text"));
      EXPECT_EQ(json.at("finish_reason"), plain.at("finish_reason"));
      EXPECT_LE(json.at("timings").at("accepted").get<int>(), json.at("timings").at("drafted").get<int>());
      if (drafts[0] == "--draft") drafted += json.at("timings").at("drafted").get<int>();
    }
  }
  EXPECT_GT(drafted, 0);
}

TEST_F(RunTest, DraftsThatCannotBeAreRefused) {
  const Setting shipped{"", {{"MINICPM_MODELS", std::string(MINICPM_SOURCE_DIR) + "/models"}}};
  expect_error(minicpm({"run", hf_, "-p", "Hello", "--draft", "pico"}, shipped), 2,
               "pico cannot draft for this model: its vocabulary has 1625 tokens");
  expect_error(minicpm({"run", hf_, "-p", "Hello", "--draft-tokens", "4"}), 2, "--draft-tokens needs");
  expect_error(minicpm({"run", hf_, "-p", "Hello", "--draft", path("nothing")}), 3, "nothing");
}

TEST_F(RunTest, BothLayoutsAnswer) {
  const std::string picture = write_picture("p.bmp", 300, 200);
  for (const std::string& model : {hf_, gguf_}) {
    const Json json = run(model, {"-p", "What is it?", "--image", picture, "--image", picture});
    EXPECT_EQ(json.at("usage").at("images"), 2);
    EXPECT_GT(json.at("usage").at("image_tokens").get<int>(), 0);
  }
}

TEST_F(RunTest, ModelMayBeNamedByFlagAndProjectorByName) {
  const auto folder = std::filesystem::path(gguf_).parent_path();
  const std::string picture = write_picture("p.bmp", 64, 64);
  const Json named =
      run("-m" + gguf_, {"--mmproj", find_gguf(folder, true), "-p", "x", "--image", picture, "--greedy"});
  EXPECT_EQ(named.at("tokens"), run(gguf_, {"-p", "x", "--image", picture, "--greedy"}).at("tokens"));
}

TEST_F(RunTest, QuestionAndPictureFromStandardInput) {
  const Json expected = run(hf_, {"-p", "What?", "--greedy"});
  EXPECT_EQ(run(hf_, {"-p", "-", "--greedy"}, {.input = "What?\n"}).at("tokens"), expected.at("tokens"));
  EXPECT_EQ(run(hf_, {"-f", write("q.txt", "What?"), "--greedy"}).at("tokens"), expected.at("tokens"));

  const std::string picture = write_picture("p.bmp", 90, 60);
  const Json seen = run(hf_, {"-p", "What?", "--image", picture, "--greedy"});
  const Json piped = run(hf_, {"-p", "What?", "--image", "-", "--greedy"}, {.input = read_all(picture)});
  EXPECT_EQ(piped.at("tokens"), seen.at("tokens"));
  EXPECT_EQ(piped.at("usage").at("images"), 1);
}

TEST_F(RunTest, OddPicturesAreSeen) {
  for (const auto& [width, height] : {std::pair{1, 1}, {20000, 1}, {1, 3000}}) {
    const Json json = run(hf_, {"-p", "What?", "--image", write_picture("odd.bmp", width, height)});
    EXPECT_GT(json.at("usage").at("image_tokens").get<int>(), 0) << width << "x" << height;
  }
}

TEST_F(RunTest, MaxSlicesLimitsTheSlices) {
  const std::string picture = write_picture("large.bmp", 600, 400);
  EXPECT_EQ(run(hf_, {"-p", "x", "--image", picture, "--max-slices", "1"}).at("usage").at("slices"), 1);
  EXPECT_GT(run(hf_, {"-p", "x", "--image", picture}).at("usage").at("slices").get<int>(), 1);
}

TEST_F(RunTest, LengthAndSystemMessage) {
  const Json json = run(hf_, {"-p", "x", "--min-tokens", "12"});
  EXPECT_EQ(json.at("finish_reason"), "length");
  EXPECT_EQ(json.at("tokens").size(), 12u);
  const int plain = json.at("usage").at("prompt_tokens").get<int>();
  EXPECT_GT(run(hf_, {"-p", "x", "--system", "Be brief."}).at("usage").at("prompt_tokens").get<int>(), plain);
}

TEST_F(RunTest, StopTextEndsTheAnswer) {
  const std::string text = run(hf_, {"-p", "x", "--greedy", "-n", "40"}).at("text").get<std::string>();
  ASSERT_GT(text.size(), 4u);
  // A part of the answer that is whole in UTF-8.
  size_t at = text.size() / 2;
  while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0u) == 0x80u)
    ++at;
  size_t end = at + 1;
  while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0u) == 0x80u)
    ++end;
  const std::string stop = text.substr(at, end - at);
  const Json json = run(hf_, {"-p", "x", "--greedy", "-n", "40", "--stop", stop});
  const std::string before = json.at("text").get<std::string>();
  EXPECT_EQ(before.find(stop), std::string::npos);
  EXPECT_LT(before.size(), text.size());
  EXPECT_EQ(json.at("finish_reason"), "stop");
}

TEST_F(RunTest, AnswersInTheFormOfASchema) {
  const std::string schema = write("schema.json", R"({"type": "object", "properties": {"name": {"type": "string",
      "maxLength": 6}, "count": {"type": "integer", "minimum": 3, "maximum": 20}}, "required": ["name", "count"]})");
  for (const char* seed : {"1", "2", "3"}) {
    const Json json = run(hf_, {"-p", "Hello", "-s", seed, "-n", "300", "--json-schema", schema});
    EXPECT_EQ(json.at("finish_reason"), "stop");
    const Json answer = parse_json(json.at("text").get<std::string>(), "the answer");
    EXPECT_TRUE(answer.at("name").is_string());
    EXPECT_TRUE(answer.at("count") >= 3 && answer.at("count") <= 20) << answer.dump();
  }
  const std::string bad = write("bad.json", R"({"type": "string", "pattern": "a+"})");
  const Outcome refused = minicpm({"run", hf_, "-p", "Hello", "--json-schema", bad});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, HasSubstr("\"pattern\" is not supported"));
}

TEST_F(RunTest, ReasoningIsNotPartOfTheAnswer) {
  const std::vector<std::string> words = {"-p", "x", "--think", "on", "--greedy", "--min-tokens", "12"};
  const Json json = run(hf_, words);
  ASSERT_TRUE(json.contains("reasoning"));
  const Outcome plain = minicpm({"run", hf_, "-n", "12", "-p", "x", "--think", "on", "--greedy", "--min-tokens", "12"});
  EXPECT_EQ(plain.exit_code, 0);
  EXPECT_EQ(plain.out, json.at("text").get<std::string>() + "\n");
  EXPECT_THAT(plain.err, HasSubstr(json.at("reasoning").get<std::string>()));
  EXPECT_EQ(plain.err.find('\033'), std::string::npos) << "no colours outside a terminal";
}

TEST_F(RunTest, VerboseTellsWhereTheTimeWent) {
  const Outcome outcome = minicpm({"run", hf_, "-p", "x", "-n", "3", "--verbose"});
  EXPECT_EQ(outcome.exit_code, 0);
  for (const char* word :
       {"load", "preprocess", "vision", "prefill", "first token", "decode", "activations", "cpu ("}) {
    EXPECT_THAT(outcome.err, HasSubstr(word));
  }
}

TEST_F(RunTest, CtrlCEndsTheAnswer) {
  const std::vector<std::string> words = {"run", hf_, "-p", "x", "-n", "8000", "--min-tokens", "8000"};
  const Outcome once = minicpm(words, {.interrupts = 1});
  EXPECT_EQ(once.exit_code, 130);
  EXPECT_FALSE(once.out.empty());
  EXPECT_TRUE(once.out.ends_with('\n')) << "what had been said stays, with its line ended";
  EXPECT_EQ(once.err, "");
  EXPECT_EQ(minicpm(words, {.interrupts = 2}).exit_code, 130);
}

TEST_F(RunTest, FullDiskIsAnError) {
  for (const std::vector<std::string>& how : {std::vector<std::string>{}, {"--json"}, {"--no-stream"}}) {
    std::vector<std::string> words = {"run", hf_, "-p", "x", "-n", "3", "--min-tokens", "3"};
    words.insert(words.end(), how.begin(), how.end());
    expect_error(minicpm(words, {.output_file = "/dev/full"}), 5, "No space left on device");
  }
}

TEST_F(RunTest, BenchGivesTheTable) {
  const Outcome outcome = minicpm({"bench", hf_, "--json", "-p", "16", "-p", "8", "-n", "4", "-b", "1,2", "-d", "8",
                                   "--image", "64x48", "-r", "1"});
  expect_ok(outcome);
  const Json json = parse_json(outcome.out, "bench");
  std::vector<std::string> names;
  for (const Json& test : json) {
    names.push_back(test.at("test").get<std::string>());
    EXPECT_TRUE(test.contains("tokens_per_second") || test.contains("ms"));
    for (const char* key : {"threads", "model", "type", "peak_rss_bytes"})
      EXPECT_TRUE(test.contains(key)) << key;
    EXPECT_GT(test.at("peak_rss_bytes").get<int64_t>(), 1 << 20);
    EXPECT_EQ(test.at("type"), "F32");
  }
  EXPECT_THAT(names, ::testing::ElementsAre("pp16@d8", "pp8@d8", "tg4@d8", "tg4x2@d8", "vision-64x48"));
  const Outcome table = minicpm({"bench", gguf_, "-p", "8", "-n", "0", "--image", "64x64", "-r", "2", "-t", "1"});
  expect_ok(table);
  EXPECT_THAT(table.out, HasSubstr("pp8 "));
  EXPECT_THAT(table.out, HasSubstr("vision-64 "));
  EXPECT_EQ(table.out.find("tg"), std::string::npos);
}

TEST_F(RunTest, InspectKnowsTheModel) {
  for (const std::string& model : {hf_, gguf_}) {
    const Json json = parse_json(minicpm({"inspect", model, "--json"}).out, "inspect");
    EXPECT_EQ(json.at("model"), "MiniCPM-V 4.5");
    EXPECT_TRUE(json.at("missing").empty()) << json.at("missing").dump();
    EXPECT_THAT(json.at("tokenizer").get<std::string>(), HasSubstr("bpe (qwen2), 512 tokens"));
    int64_t bytes = 0;
    for (const Json& tensor : json.at("tensors"))
      bytes += tensor.at("bytes").get<int64_t>();
    EXPECT_EQ(json.at("bytes"), bytes);
    EXPECT_FALSE(json.at("metadata").empty());
    const Outcome text = minicpm({"inspect", model, "--tensors"});
    expect_ok(text);
    EXPECT_THAT(text.out, HasSubstr(json.at("tensors").back().at("name").get<std::string>()));
  }
  const Outcome projector = minicpm({"inspect", find_gguf(std::filesystem::path(gguf_).parent_path(), true)});
  expect_ok(projector);
  EXPECT_THAT(projector.out, HasSubstr("projector"));
  expect_ok(minicpm({"inspect", hf_ + "/model.safetensors"}));
}

TEST_F(RunTest, AnswersDoNotDependOnWhereTheWeightsLie) {
  for (const std::string& model : {hf_, gguf_}) {
    const auto tokens = [&](const char* mmap) {
      return run(model, {"-p", "Hello", "--greedy", "--mmap", mmap}).at("tokens");
    };
    const Json mapped = tokens("on");
    EXPECT_EQ(tokens("off"), mapped);
    EXPECT_EQ(tokens("auto"), mapped);
    const auto plan = [&](const char* mmap) {
      return parse_json(minicpm({"plan", model, "--mmap", mmap, "--json"}).out, "plan");
    };
    EXPECT_EQ(plan("on").at("weights_mapped"), true);
    EXPECT_EQ(plan("off").at("weights_mapped"), false);
    // What is read is the whole of the files.
    EXPECT_GE(plan("off").at("weights_bytes").get<int64_t>(), plan("on").at("weights_bytes").get<int64_t>());
  }
  EXPECT_THAT(minicpm({"plan", gguf_, "--mmap", "off"}).out, HasSubstr("read from the files"));
}

TEST_F(RunTest, BenchHoldsSpeedsAgainstTheLimits) {
  const Outcome outcome =
      minicpm({"bench", hf_, "--limits", "--json", "-p", "8", "-n", "2", "--image", "56x56", "-r", "1"});
  expect_ok(outcome);
  const Json json = parse_json(outcome.out, "bench");
  ASSERT_EQ(json.size(), 4u);
  EXPECT_EQ(json[0].at("test"), "limits");
  EXPECT_GT(json[0].at("read_bytes_per_second").get<double>(), 0);
  EXPECT_EQ(json[2].at("limit"), "memory");
  EXPECT_GT(json[2].at("limit_share").get<double>(), 0);
  EXPECT_NEAR(json[2].at("limit_share").get<double>() * json[2].at("limit_tokens_per_second").get<double>(),
              json[2].at("tokens_per_second").get<double>(), 1e-6 * json[2].at("tokens_per_second").get<double>());
  EXPECT_FALSE(json[3].contains("limit"));  // pictures
}

TEST_F(RunTest, PlanAddsUp) {
  const Json json = parse_json(minicpm({"plan", hf_, "-c", "1024", "--json"}).out, "plan");
  EXPECT_EQ(json.at("context_tokens"), 1024);
  EXPECT_GT(json.at("weights_bytes").get<int64_t>(), 1 << 20);
  int64_t sum = 0;
  for (const char* key : {"weights_bytes", "converted_bytes", "kv_bytes", "activations_bytes"}) {
    sum += json.at(key).get<int64_t>();
  }
  EXPECT_EQ(json.at("total_bytes"), sum);
  EXPECT_EQ(json.at("fits"), true);
  const Json wide = parse_json(minicpm({"plan", hf_, "-c", "1024", "--kv-type", "f32", "--json"}).out, "plan");
  EXPECT_EQ(wide.at("kv_bytes").get<int64_t>(), 2 * json.at("kv_bytes").get<int64_t>());
  const Outcome text = minicpm({"plan", gguf_});
  expect_ok(text);
  EXPECT_THAT(text.out, HasSubstr("KV cache"));
}

TEST_F(RunTest, TokensGoThereAndBack) {
  for (const std::string& model : {hf_, gguf_}) {
    for (const std::string text : {"Hello, world", "  two\n\nlines\t", "naïve 你好 🙂"}) {
      const Outcome ids = minicpm({"tokenize", model, "--ids"}, {.input = text});
      expect_ok(ids);
      EXPECT_EQ(minicpm({"detokenize", model}, {.input = ids.out}).out, text + "\n");
      const Json json = parse_json(minicpm({"tokenize", model, "-p", text, "--json"}).out, "tokenize");
      EXPECT_EQ(json.at("count"), json.at("tokens").size());
      EXPECT_EQ(minicpm({"tokenize", model, "-f", write("t", text), "--ids"}).out, ids.out);
    }
  }
  const std::string mark = "<|im_end|>";
  EXPECT_EQ(parse_json(minicpm({"tokenize", hf_, "-p", mark, "--special", "--json"}).out, "").at("count"), 1);
  EXPECT_GT(parse_json(minicpm({"tokenize", hf_, "-p", mark, "--json"}).out, "").at("count").get<int>(), 1);
  expect_error(minicpm({"detokenize", hf_, "999999"}), 2, "outside the vocabulary");
  expect_error(minicpm({"detokenize", hf_}, {.input = "1 2 three"}), 2, "three");
}

}  // namespace
}  // namespace minicpm::e2e

// Adapters as a user has them: run --lora, merge, and what is said about bad ones.
#include <filesystem>
#include <fstream>

#include "base/file_map.h"
#include "base/json.h"
#include "e2e/support.h"
#include "io/safetensors.h"
#include "models/lora_writer.h"
#include "support/random_lora.h"

namespace minicpm::e2e {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

class LoraRunTest : public ModelTest {
 protected:
  void SetUp() override {
    ModelTest::SetUp();
    if (IsSkipped()) return;
    LoraConfig config;
    config.r = 8;
    config.alpha = 16;
    config.target_regex = testing::kAllLinear;
    config.modules_to_save = {"resampler"};
    config.base_model = "a/base";
    lora_ = testing::random_lora(read_hf_config(fs::path(hf_) / "config.json", {}), config, 5);
    adapter_ = path("adapter");
    write_peft_adapter(adapter_, lora_.adapter);
    picture_ = write_picture("p.bmp", 300, 200);
  }

  Json run(const std::string& model, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words = {"run",     model,    "--json",   "-n",      "16",        "-p", "What is it?",
                                      "--image", picture_, "--greedy", "--exact", "--kv-type", "f32"};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome outcome = minicpm(words);
    expect_ok(outcome);
    return parse_json(outcome.out, "the output");
  }

  testing::RandomLora lora_;
  std::string adapter_, picture_;
};

TEST_F(LoraRunTest, UnmergedAndMergedAnswerAlike) {
  const Json plain = run(hf_), tuned = run(hf_, {"--lora", adapter_});
  EXPECT_NE(tuned.at("tokens"), plain.at("tokens"));
  EXPECT_EQ(tuned.at("lora"), adapter_);
  EXPECT_FALSE(plain.contains("lora"));

  const std::string out = path("merged");
  const Outcome merged = minicpm({"merge", hf_, "--lora", adapter_, "--out", out + "/", "--json"});
  expect_ok(merged);
  const Json report = parse_json(merged.out, "the report");
  EXPECT_EQ(report.at("adapted").get<size_t>(), lora_.adapter.layers.size());
  EXPECT_EQ(report.at("replaced").get<size_t>(), lora_.adapter.whole.size());
  EXPECT_EQ(report.at("scale"), 2.0);
  EXPECT_EQ(report.at("out"), out + "/");
  for (const char* key : {"model", "lora", "tensors", "bytes", "files", "seconds"})
    EXPECT_TRUE(report.contains(key)) << key;
  EXPECT_EQ(run(out).at("tokens"), tuned.at("tokens"));

  // Half as strong is another model, and merging takes the strength along.
  const Json half = run(hf_, {"--lora", adapter_, "--lora-scale", "0.5"});
  EXPECT_NE(half.at("tokens"), tuned.at("tokens"));
  expect_ok(minicpm({"merge", hf_, "--lora", adapter_, "--lora-scale", "0.5", "-o", path("half"), "--json"}));
  EXPECT_EQ(run(path("half")).at("tokens"), half.at("tokens"));
}

TEST_F(LoraRunTest, GgufFilesTakeTheSameAdapter) {
  const std::string f32 = find_gguf(fs::path(MINICPM_E2E_MODELS) / "v45-gguf-f32", false);
  ASSERT_FALSE(f32.empty());
  EXPECT_EQ(run(f32, {"--lora", adapter_}).at("tokens"), run(hf_, {"--lora", adapter_}).at("tokens"));
  EXPECT_NE(run(gguf_, {"--lora", adapter_}).at("tokens"), run(gguf_).at("tokens"));
}

TEST_F(LoraRunTest, MergeSpeaksAndConverts) {
  const Outcome outcome = minicpm({"merge", hf_, "--lora", adapter_, "--out", path("b"), "--type", "bf16"});
  expect_ok(outcome);
  EXPECT_THAT(outcome.out, HasSubstr("matrices adapted"));
  const Json config = parse_json(read_file(path("b") + "/config.json", 1 << 20), "config");
  EXPECT_EQ(config.at("torch_dtype"), "bfloat16");
  EXPECT_TRUE(fs::exists(path("b") + "/tokenizer.json"));
  EXPECT_EQ(open_safetensors_folder(path("b"))->find("llm.lm_head.weight")->view.dtype, DType::kBF16);
  expect_ok(minicpm({"run", path("b"), "-p", "Hello", "-n", "4", "--no-stream", "--greedy"}));
}

TEST_F(LoraRunTest, PlanAndBenchTakeIt) {
  const auto total = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"plan", hf_, "--json", "-c", "512"});
    return parse_json(minicpm(words).out, "plan").at("weights_bytes").get<int64_t>();
  };
  EXPECT_GT(total({"--lora", adapter_}), total({}));
  expect_ok(minicpm({"bench", hf_, "--lora", adapter_, "-p", "8", "-n", "2", "--image", "56x56", "-r", "1"}));
}

TEST_F(LoraRunTest, RefusesWithOneSentence) {
  const auto run_error = [&](int code, const std::string& text) {
    expect_error(minicpm({"run", hf_, "--lora", adapter_, "-p", "x"}), code, text);
  };
  expect_error(minicpm({"run", hf_, "--lora", path("none"), "-p", "x"}), 3, "there is no such folder");
  expect_error(minicpm({"run", hf_, "--lora-scale", "2", "-p", "x"}), 2, "--lora-scale needs an adapter");
  expect_error(minicpm({"run", other_, "--lora", adapter_, "-p", "x"}), 4, "the adapter was trained for a/base");
  expect_error(minicpm({"merge", gguf_, "--lora", adapter_, "--out", path("o")}), 4, "is a GGUF file; merge the");
  expect_error(minicpm({"merge", hf_, "--lora", adapter_, "--out", hf_}), 2, "is not an empty folder");
  expect_error(minicpm({"merge", hf_, "--lora", adapter_, "--out", "/proc/none/x"}), 3, "cannot make the folder");
  expect_error(minicpm({"merge", hf_, "--lora", adapter_}), 2, "needs a DIR");
  expect_error(minicpm({"merge", hf_, "--out", path("o")}), 2, "needs a DIR");

  const std::string weights = adapter_ + "/adapter_model.safetensors", config = adapter_ + "/adapter_config.json";
  const std::string bytes = read_all(weights), text = read_all(config);
  const auto put = [](const std::string& file, const std::string& content) {
    std::ofstream(file, std::ios::binary) << content;
  };
  put(weights, bytes.substr(0, bytes.size() / 2));
  run_error(4, "outside the");
  put(weights, bytes);
  Json json = parse_json(text, "config");
  json["r"] = 0;
  put(config, json.dump());
  run_error(4, "\"r\" must be a whole number");
  json["r"] = 8;
  json["use_dora"] = true;
  put(config, json.dump());
  run_error(4, "use_dora");
  put(config, "{");
  run_error(4, "not valid JSON");
  fs::remove(config);
  run_error(3, "adapter_config.json is missing");

  lora_.adapter.layers[3].b.dims[0] /= 2;
  write_peft_adapter(adapter_, lora_.adapter);
  run_error(4, "lora_B.weight has shape");
  EXPECT_FALSE(fs::exists(path("o")));
}

}  // namespace
}  // namespace minicpm::e2e

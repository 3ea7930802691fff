#include "train/train_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"

namespace minicpm {
namespace {

using ::testing::HasSubstr;

template <typename Fn>
std::string error_of(Fn fn) {
  try {
    fn();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TrainConfig parse(const std::string& text) {
  return parse_train_config(parse_json(text, "run.json"), "run.json");
}

TrainConfig whole() {
  TrainConfig config = parse(R"({
    "model": "m", "out": "o", "dtype": "bf16", "seed": 7, "max_slices": 4, "cell_classes": 9,
    "optimizer": {"kind": "muon", "weight_decay": 0.02},
    "lora": {"r": 8, "modules_to_save": ["resampler"]},
    "stages": [{"name": "a", "data": "x.jsonl", "schedule": "wsd", "warmup": 10, "rate_scale": {"vpm.": 0}},
               {"name": "b", "data": {"plugin": "p.so", "options": {"k": [1, 2]}}, "batch": 3, "cell_loss": 0.5}],
    "eval": [{"name": "held", "data": "y.jsonl", "samples": 5}]})");
  return config;
}

TEST(TrainConfig, ReadsWhatItWrites) {
  const TrainConfig config = whole();
  EXPECT_EQ(config.stages.size(), 2u);
  EXPECT_EQ(config.stages[0].data.file, "x.jsonl");
  EXPECT_EQ(config.stages[0].schedule.kind, ScheduleConfig::kWarmupStableDecay);
  EXPECT_EQ(config.stages[0].rate_scale[0].first, "vpm.");
  EXPECT_EQ(config.stages[1].data.plugin, "p.so");
  EXPECT_EQ(config.max_slices, 4);
  EXPECT_EQ(config.lora->r, 8);
  const Json json = train_config_json(config);
  EXPECT_EQ(train_config_json(parse_train_config(json, "again")), json);
}

TEST(TrainConfig, NamesWhatIsWrong) {
  EXPECT_THAT(error_of([] { parse(R"({"stagse": []})"); }), HasSubstr("run.json: there is no setting \"stagse\""));
  EXPECT_THAT(error_of([] { parse(R"({"stages": [{"batch": "many"}]})"); }),
              HasSubstr("stages[0]: \"batch\" cannot be"));
  EXPECT_THAT(error_of([] { parse(R"({"optimizer": {"lr": 1}})"); }), HasSubstr("optimizer: there is no setting"));
  EXPECT_THAT(error_of([] { parse(R"([1])"); }), HasSubstr("expected an object"));
  EXPECT_THAT(error_of([] { parse(R"({"stages": [{"schedule": "fast"}]})"); }), HasSubstr("fast"));
}

TEST(TrainConfig, ChecksValues) {
  EXPECT_EQ(error_of([] {
              TrainConfig config = whole();
              check_train_config(config);
            }),
            "no error");
  const auto broken = [](auto change) {
    return error_of([&] {
      TrainConfig config = whole();
      change(config);
      check_train_config(config);
    });
  };
  EXPECT_THAT(broken([](TrainConfig& c) { c.stages.clear(); }), HasSubstr("data"));
  EXPECT_THAT(broken([](TrainConfig& c) { c.out = ""; }), HasSubstr("--out"));
  EXPECT_THAT(broken([](TrainConfig& c) { c.dtype = "int8"; }), HasSubstr("int8"));
  EXPECT_THAT(broken([](TrainConfig& c) { c.from_scratch = true; }), HasSubstr("adapter"));
  EXPECT_THAT(broken([](TrainConfig& c) { c.cell_classes = 0; }), HasSubstr("cell_classes"));
  EXPECT_THAT(broken([](TrainConfig& c) { c.stages[0].batch = 0; }), HasSubstr("stage \"a\": batch"));
  EXPECT_THAT(broken([](TrainConfig& c) { c.stages[1].data.file = "z"; }), HasSubstr("plug-in"));
  EXPECT_THAT(broken([](TrainConfig& c) { c.optimizer.beta1 = 1; }), HasSubstr("betas"));
  EXPECT_THAT(broken([](TrainConfig& c) { c.stages[0].answer_loss = 0; }), HasSubstr("no loss"));
}

TEST(TrainConfig, PathsAreRelativeToTheFile) {
  const auto folder = std::filesystem::path(::testing::TempDir()) / "train_config_test";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "run.json") << R"({"model": "start", "stages": [{"data": "/abs/x.jsonl"},
    {"data": {"plugin": "../lib/p.so"}}], "eval": [{"data": "y.jsonl"}]})";
  const TrainConfig config = read_train_config(folder / "run.json");
  EXPECT_EQ(config.model, (folder / "start").string());
  EXPECT_EQ(config.stages[0].data.file, "/abs/x.jsonl");
  EXPECT_EQ(config.stages[1].data.plugin, (folder / "../lib/p.so").lexically_normal().string());
  EXPECT_EQ(config.eval[0].data.file, (folder / "y.jsonl").string());
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace minicpm

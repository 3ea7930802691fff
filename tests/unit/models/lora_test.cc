#include "models/lora.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/file_map.h"
#include "io/safetensors.h"
#include "models/lora_merge.h"
#include "models/lora_writer.h"
#include "support/random_lora.h"
#include "support/random_model.h"

namespace minicpm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

class LoraTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "minicpm-lora-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path write(const std::string& name, const std::string& content) const {
    std::ofstream(folder_ / name, std::ios::binary) << content;
    return folder_ / name;
  }

  /// An adapter_config.json as PEFT writes it, with one key changed.
  fs::path config_file(const std::string& key = "", const Json& value = {}) const {
    Json json = {{"alpha_pattern", Json::object()},
                 {"auto_mapping", nullptr},
                 {"base_model_name_or_path", "openbmb/x"},
                 {"bias", "none"},
                 {"corda_config", nullptr},
                 {"exclude_modules", nullptr},
                 {"fan_in_fan_out", false},
                 {"inference_mode", true},
                 {"init_lora_weights", true},
                 {"layer_replication", nullptr},
                 {"layers_pattern", nullptr},
                 {"layers_to_transform", nullptr},
                 {"loftq_config", Json::object()},
                 {"lora_alpha", 16},
                 {"lora_bias", false},
                 {"lora_dropout", 0.05},
                 {"megatron_config", nullptr},
                 {"modules_to_save", {"embed_tokens", "resampler"}},
                 {"peft_type", "LORA"},
                 {"r", 4},
                 {"rank_pattern", Json::object()},
                 {"revision", nullptr},
                 {"target_modules", std::string(kLoraTargets)},
                 {"task_type", "CAUSAL_LM"},
                 {"use_dora", false},
                 {"use_rslora", false}};
    if (!key.empty()) json[key] = value;
    return write("adapter_config.json", json.dump());
  }

  /// The message of the error that reading this configuration ends with.
  std::string config_error(const std::string& key, const Json& value) const {
    return error_of([&] { read_lora_config(config_file(key, value)); });
  }

  template <typename Call>
  static std::string error_of(Call&& call, std::optional<ErrorCode> code = std::nullopt) {
    try {
      call();
    } catch (const Error& e) {
      EXPECT_EQ(static_cast<int>(e.code()), static_cast<int>(code.value_or(e.code()))) << e.what();
      return e.what();
    }
    ADD_FAILURE() << "no error";
    return "";
  }

  /// A small valid adapter of the attention's q and v and the resampler.
  testing::RandomLora small_lora() const {
    LoraConfig config;
    config.r = 4;
    config.alpha = 8;
    config.target_regex = R"(llm\..*self_attn\.(q_proj|v_proj))";
    config.modules_to_save = {"resampler"};
    return testing::random_lora(testing::tiny_config(), config, 7);
  }

  /// Binding to the tiny model after `change` has been at the adapter.
  template <typename Change>
  std::string bind_error(Change&& change) const {
    testing::RandomLora lora = small_lora();
    change(lora.adapter);
    write_peft_adapter(folder_ / "adapter", lora.adapter);
    return error_of([&] { Lora::open(folder_ / "adapter")->bind(testing::tiny_config()); });
  }

  fs::path folder_;
};

TEST_F(LoraTest, ReadsWhatPeftWrites) {
  const LoraConfig config = read_lora_config(config_file());
  EXPECT_EQ(config.r, 4);
  EXPECT_EQ(config.alpha, 16.0f);
  EXPECT_FLOAT_EQ(config.dropout, 0.05f);
  EXPECT_EQ(config.scale(), 4.0f);
  EXPECT_EQ(config.target_regex, kLoraTargets);
  EXPECT_THAT(config.modules_to_save, ElementsAre("embed_tokens", "resampler"));
  EXPECT_EQ(config.base_model, "openbmb/x");
  EXPECT_EQ(read_lora_config(config_file("use_rslora", true)).scale(), 8.0f);
  EXPECT_TRUE(read_lora_config(config_file("modules_to_save", nullptr)).modules_to_save.empty());
  EXPECT_EQ(read_lora_config(config_file("init_lora_weights", "gaussian")).r, 4);
}

TEST_F(LoraTest, RefusesOtherKindsOfAdapters) {
  EXPECT_THAT(config_error("r", 0), HasSubstr("\"r\" must be a whole number between 1 and 65536, but is 0"));
  EXPECT_THAT(config_error("r", nullptr), HasSubstr("is missing"));
  EXPECT_THAT(config_error("r", "four"), HasSubstr("\"r\""));
  EXPECT_THAT(config_error("lora_alpha", nullptr), HasSubstr("lora_alpha"));
  EXPECT_THAT(config_error("lora_alpha", 1e300), HasSubstr("finite"));
  EXPECT_THAT(config_error("use_dora", true), HasSubstr("use_dora"));
  EXPECT_THAT(config_error("fan_in_fan_out", true), HasSubstr("fan_in_fan_out"));
  EXPECT_THAT(config_error("bias", "lora_only"), HasSubstr("\"bias\" is \"lora_only\""));
  EXPECT_THAT(config_error("rank_pattern", {{"q_proj", 8}}), HasSubstr("rank_pattern"));
  EXPECT_THAT(config_error("peft_type", "IA3"), HasSubstr("only LORA"));
  EXPECT_THAT(config_error("init_lora_weights", "pissa"), HasSubstr("changes the base model"));
  EXPECT_THAT(config_error("modules_to_save", "resampler"), HasSubstr("must be a list of strings"));
  EXPECT_THAT(config_error("target_modules", Json::array({1})), HasSubstr("must be a list of strings"));
}

TEST_F(LoraTest, SelectsModules) {
  LoraConfig config;
  config.modules_to_save = {"embed_tokens", "resampler"};
  const LoraSelection official(config);
  EXPECT_TRUE(official.adapts("llm.model.layers.35.self_attn.o_proj"));
  EXPECT_FALSE(official.adapts("llm.model.layers.35.mlp.up_proj"));
  EXPECT_FALSE(official.adapts("vpm.encoder.layers.0.self_attn.q_proj"));
  EXPECT_FALSE(official.adapts("llm.model.layers.35.self_attn.q_proj.weight"));  // the whole name counts
  EXPECT_TRUE(official.saves_whole("llm.model.embed_tokens.weight"));
  EXPECT_TRUE(official.saves_whole("resampler.attn.in_proj_bias"));
  EXPECT_FALSE(official.saves_whole("llm.lm_head.weight"));

  config = read_lora_config(config_file("target_modules", {"q_proj", "mlp.fc1", "a+b"}));
  const LoraSelection list(config);
  EXPECT_TRUE(list.adapts("q_proj"));
  EXPECT_TRUE(list.adapts("vpm.encoder.layers.0.self_attn.q_proj"));
  EXPECT_TRUE(list.adapts("vpm.encoder.layers.0.mlp.fc1"));
  EXPECT_TRUE(list.adapts("x.a+b"));
  EXPECT_FALSE(list.adapts("x.aab"));
  EXPECT_FALSE(list.adapts("llm.xq_proj"));

  config.target_regex = "llm.(";
  EXPECT_THAT(error_of([&] { LoraSelection{config}; }), HasSubstr("is not a valid regular expression"));
  config.target_regex = "(a|a)*(a|a)*(a|a)*b";  // does not take for ever
  const LoraSelection slow(config);
  EXPECT_THAT(error_of([&] { slow.adapts(std::string(60, 'a') + "bc"); }), HasSubstr("too many steps"));
}

TEST_F(LoraTest, WritesWhatItReads) {
  const testing::RandomLora lora = small_lora();
  write_peft_adapter(folder_ / "a" / "b", lora.adapter);
  const auto file = open_safetensors(folder_ / "a" / "b" / "adapter_model.safetensors");
  const StoredTensor* a = file->find("base_model.model.llm.model.layers.0.self_attn.q_proj.lora_A.weight");
  const StoredTensor* b = file->find("base_model.model.llm.model.layers.1.self_attn.v_proj.lora_B.weight");
  ASSERT_TRUE(a != nullptr && b != nullptr);
  EXPECT_THAT(a->view.shape(), ElementsAre(4, 128));
  EXPECT_THAT(b->view.shape(), ElementsAre(64, 4));
  EXPECT_NE(file->find("base_model.model.resampler.attn.in_proj_weight"), nullptr);
  EXPECT_NE(file->find("base_model.model.resampler.query"), nullptr);
  const Json json = parse_json(read_file(folder_ / "a" / "b" / "adapter_config.json", 1 << 20), "config");
  EXPECT_EQ(json.at("r"), 4);
  EXPECT_EQ(json.at("lora_alpha").dump(), "8");
  EXPECT_EQ(json.at("lora_dropout").dump(), "0.05");
  EXPECT_EQ(json.at("peft_type"), "LORA");
  EXPECT_EQ(json.at("target_modules"), R"(llm\..*self_attn\.(q_proj|v_proj))");

  const auto read = Lora::open(folder_ / "a" / "b", 0.5f);
  EXPECT_EQ(read->scale(), 1.0f);
  EXPECT_EQ(read->adapter().layers.size(), lora.adapter.layers.size());
  EXPECT_EQ(read->adapter().whole.size(), lora.adapter.whole.size());
  read->bind(testing::tiny_config());
  const LowRank* low_rank = read->low_rank("llm.model.layers.0.self_attn.q_proj.weight");
  ASSERT_NE(low_rank, nullptr);
  EXPECT_EQ(low_rank->a.rows(), 4);
  EXPECT_EQ(low_rank->scale, 1.0f);
  EXPECT_EQ(read->low_rank("llm.model.layers.0.self_attn.k_proj.weight"), nullptr);
  EXPECT_NE(read->whole("resampler.proj"), nullptr);
}

TEST_F(LoraTest, NamesWhatDoesNotFit) {
  EXPECT_THAT(bind_error([](LoraAdapter& a) { a.layers[0].module = "llm.model.layers.9.self_attn.q_proj"; }),
              HasSubstr("changes llm.model.layers.9.self_attn.q_proj, which tiny (MiniCPM-V 4.5) does not have"));
  EXPECT_THAT(bind_error([](LoraAdapter& a) { a.layers[0].a.dims[1] = 96; }),
              HasSubstr("q_proj.lora_A.weight has shape [4, 96], but tiny (MiniCPM-V 4.5) needs [4, 128]"));
  EXPECT_THAT(bind_error([](LoraAdapter& a) { a.layers[0].b.dims[0] = 64; }), HasSubstr("needs [128, 4]"));
  EXPECT_THAT(bind_error([](LoraAdapter& a) { a.layers[0].module = "llm.model.embed_tokens"; }),
              HasSubstr("is an embedding, which has to be saved whole"));
  EXPECT_THAT(bind_error([](LoraAdapter& a) { a.layers[0].module = "llm.model.norm"; }),
              HasSubstr("is not a linear layer"));
  EXPECT_THAT(bind_error([](LoraAdapter& a) { a.whole[0].name = "resampler.nothing"; }),
              HasSubstr("changes resampler.nothing"));
  EXPECT_THAT(bind_error([](LoraAdapter& a) { a.whole[0].view.dims[0] = 8; }), HasSubstr("has shape [8, 128]"));
  EXPECT_THAT(bind_error([](LoraAdapter& a) {
                a.layers.clear();
                a.whole.clear();
              }),
              HasSubstr("empty"));
}

TEST_F(LoraTest, NamesDamage) {
  const auto open_error = [&](ErrorCode code) { return error_of([&] { Lora::open(folder_); }, code); };
  EXPECT_THAT(error_of([&] { Lora::open(folder_ / "none"); }, ErrorCode::kNotFound), HasSubstr("no such folder"));
  EXPECT_THAT(open_error(ErrorCode::kNotFound), HasSubstr("adapter_config.json is missing"));
  config_file();
  EXPECT_THAT(open_error(ErrorCode::kNotFound), HasSubstr("adapter_model.safetensors is missing"));
  write("adapter_model.bin", "x");
  EXPECT_THAT(open_error(ErrorCode::kUnsupported), HasSubstr("Python pickle"));

  testing::RandomLora lora = small_lora();
  write_peft_adapter(folder_, lora.adapter);
  const std::string bytes = read_file(folder_ / "adapter_model.safetensors", 1 << 24);
  write("adapter_model.safetensors", bytes.substr(0, bytes.size() - 100));
  EXPECT_THAT(open_error(ErrorCode::kBadFile), HasSubstr("outside the"));
  write("adapter_model.safetensors", bytes.substr(0, 50));
  open_error(ErrorCode::kBadFile);

  // Another rank than the configuration's, a matrix without its other half, and numbers that are none.
  write("adapter_model.safetensors", bytes);
  config_file("r", 8);
  EXPECT_THAT(open_error(ErrorCode::kBadFile), HasSubstr("does not fit the rank 8"));
  config_file();
  const LoraLayer& layer = lora.adapter.layers[0];
  const std::string prefix = "base_model.model." + layer.module;
  const auto write_tensors = [&](std::vector<std::pair<std::string, Weight>> tensors) {
    write_safetensors(folder_ / "adapter_model.safetensors", tensors);
  };
  write_tensors({{prefix + ".lora_A.weight", layer.a}});
  EXPECT_THAT(open_error(ErrorCode::kBadFile), HasSubstr("has no lora_B.weight beside it"));
  write_tensors({{prefix + ".lora_B.weight", layer.b}});
  EXPECT_THAT(open_error(ErrorCode::kBadFile), HasSubstr("has no lora_A.weight beside it"));
  write_tensors({{layer.module + ".lora_A.weight", layer.a}, {layer.module + ".lora_B.weight", layer.b}});
  EXPECT_THAT(open_error(ErrorCode::kBadFile), HasSubstr("does not start with base_model.model."));
  write_tensors({{prefix + ".lora_embedding_A", layer.a}});
  EXPECT_THAT(open_error(ErrorCode::kUnsupported), HasSubstr("of a kind that is not supported"));
  std::vector<float> bad(static_cast<size_t>(layer.b.rows() * 4), 0.0f);
  bad[70] = std::nanf("");
  const Weight b = as_weight(Tensor(bad.data(), DType::kF32, {layer.b.rows(), 4}));
  write_tensors({{prefix + ".lora_A.weight", layer.a}, {prefix + ".lora_B.weight", b}});
  EXPECT_THAT(open_error(ErrorCode::kBadFile), HasSubstr("values that are not numbers"));
}

/// Folders to merge, with random weights.
class MergeTest : public LoraTest {
 protected:
  void SetUp() override {
    LoraTest::SetUp();
    base_ = folder_ / "base";
    fs::create_directories(base_ / "assets");
    fs::create_directories(base_ / ".cache");
    config_ = testing::tiny_config();
    write("base/config.json", write_hf_config(config_).dump(2));
    write("base/tokenizer.json", "{\"a\": 1}");
    write("base/assets/voice.pt", "sound");
    write("base/.cache/note", "x");
    write("base/pytorch_model.bin", "x");
    source_ = testing::random_weights(config_, 3, DType::kBF16);
    std::vector<std::pair<std::string, Weight>> tensors;
    for (const StoredTensor& tensor : source_->tensors())
      tensors.emplace_back(tensor.name, tensor.view);
    write_safetensors(base_ / "model.safetensors", tensors);
    LoraConfig settings;
    settings.r = 5;
    settings.alpha = 7;
    settings.target_regex = testing::kAllLinear;
    settings.modules_to_save = {"resampler", "embed_tokens"};
    lora_ = testing::random_lora(config_, settings, 4);
    write_peft_adapter(folder_ / "adapter", lora_.adapter);
  }

  MergeReport merge(MergeOptions options) const {
    options.base = base_;
    options.out = folder_ / "out";
    return merge_lora(*Lora::open(folder_ / "adapter"), options);
  }

  fs::path base_;
  ModelConfig config_;
  std::unique_ptr<MemorySource> source_;
  testing::RandomLora lora_;
};

TEST_F(MergeTest, AddsTheProductAndRoundsOnce) {
  const auto expected = testing::merged_weights(*source_, lora_.adapter);
  for (const std::optional<DType> type :
       {std::optional<DType>(), std::optional(DType::kF32), std::optional(DType::kF16)}) {
    const MergeReport report = merge({.type = type, .shard_bytes = 0});
    const auto merged = open_safetensors_folder(folder_ / "out");
    ASSERT_EQ(merged->tensors().size(), source_->tensors().size());
    EXPECT_EQ(report.tensors, static_cast<int64_t>(source_->tensors().size()));
    EXPECT_EQ(report.adapted, static_cast<int64_t>(lora_.adapter.layers.size()));
    EXPECT_EQ(report.replaced, static_cast<int64_t>(lora_.adapter.whole.size()));
    for (const StoredTensor& want : expected->tensors()) {
      const StoredTensor* got = merged->find(want.name);
      ASSERT_NE(got, nullptr) << want.name;
      const DType own = source_->find(want.name)->view.dtype;
      EXPECT_EQ(got->view.dtype, type.value_or(own)) << want.name;
      const auto exact = testing::values_of(want.view), stored = testing::values_of(got->view);
      const float step = got->view.dtype == DType::kF32 ? 1e-6f : got->view.dtype == DType::kF16 ? 0x1p-11f : 0x1p-8f;
      for (size_t i = 0; i < exact.size(); ++i)
        ASSERT_NEAR(stored[i], exact[i], step * std::abs(exact[i]) + 1e-6f) << want.name << " at " << i;
    }
    fs::remove_all(folder_ / "out");
  }
}

TEST_F(MergeTest, CopiesEverythingElse) {
  const MergeReport report = merge({.type = DType::kF16, .shard_bytes = 200'000});
  EXPECT_GT(report.files, 1);
  const fs::path out = folder_ / "out";
  EXPECT_TRUE(fs::exists(out / "model.safetensors.index.json"));
  EXPECT_EQ(read_file(out / "tokenizer.json", 100), "{\"a\": 1}");
  EXPECT_EQ(read_file(out / "assets/voice.pt", 100), "sound");
  EXPECT_FALSE(fs::exists(out / ".cache"));
  EXPECT_FALSE(fs::exists(out / "pytorch_model.bin"));
  EXPECT_FALSE(fs::exists(out / "model.safetensors"));
  EXPECT_EQ(parse_json(read_file(out / "config.json", 1 << 20), "config").at("torch_dtype"), "float16");
  EXPECT_EQ(open_safetensors_folder(out)->tensors().size(), source_->tensors().size());
  for (const auto& entry : fs::directory_iterator(folder_))
    EXPECT_FALSE(entry.path().filename().string().starts_with("out.")) << entry.path();
}

TEST_F(MergeTest, LeavesNothingBehindWhenItFails) {
  const auto names = [&] {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder_))
      found.push_back(entry.path().filename().string());
    return found.size();
  };
  const size_t before = names();
  MergeOptions options;
  options.base = base_;
  options.out = folder_ / "out";
  const auto lora = Lora::open(folder_ / "adapter");
  EXPECT_EQ(error_of([&] {
              merge_lora(*lora, options, [](int64_t done, int64_t total) {
                if (done > total / 2) fail(ErrorCode::kCancelled, "stop");
              });
            }),
            "stop");
  EXPECT_EQ(names(), before);
  options.out = base_;
  EXPECT_THAT(error_of([&] { merge_lora(*lora, options); }), HasSubstr("is not an empty folder"));

  // The product makes values that f16 cannot hold.
  lora_.adapter.config.alpha = 1e8f;
  write_peft_adapter(folder_ / "adapter", lora_.adapter);
  EXPECT_THAT(error_of([&] { merge({.type = DType::kF16}); }, ErrorCode::kInvalidRequest),
              HasSubstr("use --type bf16"));
  EXPECT_EQ(names(), before);
}

}  // namespace
}  // namespace minicpm

#include "models/tables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <set>

#include "base/file_map.h"
#include "models/model_config.h"
#include "support/random_model.h"

namespace minicpm {
namespace {

using ::testing::HasSubstr;

/// Parameters of a published version, by its real sizes.
int64_t count_parameters(ModelConfig config, bool q_norm, bool qkv_bias) {
  int64_t total = 0;
  std::set<std::string> seen;
  for (const PartSpec& part : tensor_specs(config)) {
    const std::string& name = part.spec.hf;
    if (!q_norm && (name.ends_with("q_norm.weight") || name.ends_with("k_norm.weight"))) continue;
    const bool llm_bias = name.starts_with("llm.") && name.ends_with(".bias");
    if (llm_bias && !qkv_bias) continue;
    if (!seen.insert(name).second) continue;  // thirds of one stored tensor
    int64_t count = 1;
    for (int64_t size : part.spec.hf_shape())
      count *= size;
    total += count;
  }
  return total;
}

ModelConfig published(const char* key, int64_t hidden, int64_t layers, int64_t heads, int64_t kv_heads, int64_t ffn,
                      int64_t vocab) {
  ModelConfig config;
  config.version = version_by_key(key);
  config.decoder.hidden_size = hidden;
  config.decoder.num_layers = layers;
  config.decoder.num_heads = heads;
  config.decoder.num_kv_heads = kv_heads;
  config.decoder.head_dim = 128;
  config.decoder.intermediate_size = ffn;
  config.decoder.vocab_size = vocab;
  config.decoder.max_positions = 32768;
  config.decoder.finish(key);
  VisionConfig vision;
  vision.hidden_size = 1152;
  vision.num_layers = 27;
  vision.num_heads = 16;
  vision.intermediate_size = 4304;
  vision.finish(key);
  ResamplerConfig resampler;
  resampler.embed_dim = hidden;
  resampler.vision_dim = 1152;
  resampler.finish(key);
  config.vision = vision;
  config.resampler = resampler;
  return config;
}

// The index files of the published checkpoints state their total bytes (two per parameter): 17391790560 for V 4.5 and
// 16198350304 for V 2.6. The tables must account for every one of them.
TEST(Tables, AccountForEveryParameterOfV45) {
  EXPECT_EQ(count_parameters(published("v45", 4096, 36, 32, 8, 12288, 151748), true, false), 17391790560 / 2);
}

TEST(Tables, AccountForEveryParameterOfV26) {
  EXPECT_EQ(count_parameters(published("v26", 3584, 28, 28, 4, 18944, 151666), false, true), 16198350304 / 2);
}

TEST(Tables, NamesAreUniqueWithinEachFile) {
  const ModelConfig config = testing::tiny_config();
  std::set<std::pair<ModelPart, std::string>> gguf;
  for (const PartSpec& part : tensor_specs(config)) {
    EXPECT_TRUE(gguf.insert({part.part, part.spec.gguf}).second) << part.spec.gguf;
  }
}

TEST(Loading, NamesAMissingTensor) {
  const ModelConfig config = testing::tiny_config();
  auto whole = testing::random_weights(config, 1);
  auto partial = std::make_unique<MemorySource>("partial");
  const std::string left_out = "llm.model.layers.1.mlp.up_proj.weight";
  for (const StoredTensor& tensor : whole->tensors()) {
    if (tensor.name == left_out) continue;
    const auto shape = tensor.view.shape();
    const auto* values = static_cast<const float*>(tensor.view.data);
    partial->add(tensor.name, {values, static_cast<size_t>(tensor.view.rows() * tensor.view.cols())},
                 {shape.begin(), shape.end()});
  }
  try {
    LoadedModel::load_networks(config, std::move(partial), nullptr);
    FAIL() << "loaded";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadFile);
    EXPECT_THAT(error.what(), HasSubstr(left_out));
  }
}

TEST(Loading, NamesAMisshapenTensor) {
  ModelConfig config = testing::tiny_config();
  auto weights = testing::random_weights(config, 1);
  config.decoder.intermediate_size += 32;
  try {
    LoadedModel::load_networks(config, std::move(weights), nullptr);
    FAIL() << "loaded";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("mlp.gate_proj.weight has shape [96, 128], expected [128, 128]"));
  }
}

TEST(Loading, NamesAnExtraTensor) {
  const ModelConfig config = testing::tiny_config();
  auto weights = testing::random_weights(config, 1);
  const float value = 1;
  weights->add("llm.model.layers.7.input_layernorm.weight", {&value, 1}, {1});
  try {
    LoadedModel::load_networks(config, std::move(weights), nullptr);
    FAIL() << "loaded";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("llm.model.layers.7.input_layernorm.weight does not belong"));
  }
}

TEST(Loading, LetsTensorsOfPartsPassThatAreNotRun) {
  ModelConfig config = testing::tiny_config();
  config.version = version_by_key("o26");
  auto weights = testing::random_weights(config, 1);
  const float value = 1;
  weights->add("apm.conv1.bias", {&value, 1}, {1});
  EXPECT_NO_THROW(LoadedModel::load_networks(config, std::move(weights), nullptr));
}

// Converters of different age call the two matrices of the tower's MLP ffn_down and ffn_up the other way round.
TEST(Loading, TakesBothNamingsOfTheTowersMlp) {
  for (bool legacy : {true, false}) {
    ModelConfig config = testing::tiny_config();
    config.gguf = true;
    config.legacy_ffn = legacy;
    const auto load = [&](bool loaded_as_legacy) {
      auto language = std::make_unique<MemorySource>("language");
      auto projector = std::make_unique<MemorySource>("projector");
      for (const PartSpec& part : tensor_specs(config)) {
        const TensorSpec& spec = part.spec;
        if (spec.presence == Presence::kOptional && spec.gguf.ends_with(".bias")) continue;
        const std::vector<float> zeros(spec.numel());
        (part.part == ModelPart::kLanguage ? language : projector)->add(spec.gguf, zeros, spec.shape);
      }
      ModelConfig other = config;
      other.legacy_ffn = loaded_as_legacy;
      return LoadedModel::load_networks(other, std::move(language), std::move(projector));
    };
    EXPECT_NO_THROW(load(legacy));
    EXPECT_THROW(load(!legacy), Error);
  }
}

TEST(PositionBuckets, FollowTheReferencesRounding) {
  EXPECT_EQ(position_buckets(1, 70), std::vector<int32_t>{0});
  const auto of_25 = position_buckets(25, 70);
  EXPECT_EQ(of_25[5], 13);  // 14 in exact arithmetic
  EXPECT_EQ(of_25[6], 16);
  const auto of_32 = position_buckets(32, 70);
  for (int i = 0; i < 32; ++i)
    EXPECT_EQ(of_32[i], 70 * i / 32);
  for (int64_t n : {71, 1000, 20000}) {
    const auto buckets = position_buckets(n, 70);
    EXPECT_TRUE(std::ranges::is_sorted(buckets)) << n;
    EXPECT_EQ(buckets.front(), 0);
    EXPECT_EQ(buckets.back(), 69) << n;
  }
}

TEST(Config, SurvivesWritingAndReading) {
  ModelConfig config = testing::tiny_config();
  config.slices.max_slice_nums = 5;
  const auto folder = std::filesystem::temp_directory_path() / fmt::format("minicpm_config_test_{}", ::getpid());
  std::filesystem::create_directories(folder);
  write_file_atomically(folder / "config.json", write_hf_config(config).dump());
  write_file_atomically(folder / "preprocessor_config.json", write_preprocessor_config(config).dump());
  const ModelConfig again = read_hf_config(folder / "config.json", folder / "preprocessor_config.json");
  std::filesystem::remove_all(folder);
  EXPECT_EQ(again.version, config.version);
  for (const auto& row : decoder_params()) {
    if (row.integer != nullptr) {
      EXPECT_EQ(again.decoder.*row.integer, config.decoder.*row.integer) << row.hf;
    }
    if (row.real != nullptr) {
      EXPECT_EQ(again.decoder.*row.real, config.decoder.*row.real) << row.hf;
    }
  }
  for (const auto& row : vision_params()) {
    if (row.integer != nullptr) {
      EXPECT_EQ((*again.vision).*row.integer, (*config.vision).*row.integer) << row.hf;
    }
  }
  EXPECT_EQ(again.slices.max_slice_nums, 5);
  EXPECT_EQ(again.slices.scale_resolution, 112);
  EXPECT_EQ(again.resampler->query_num, 16);
}

}  // namespace
}  // namespace minicpm

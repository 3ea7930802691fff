// An adapter that is applied as it is gives the logits of the weights it stands for.
#include "models/lora.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "models/lora_writer.h"
#include "support/machine.h"
#include "support/random_lora.h"
#include "support/random_model.h"

namespace minicpm {
namespace {

using testing::kAllLinear;
using testing::Machine;
using testing::picture_prompt;
using testing::relative_l2;
using testing::text_prompt;

class UnmergedLora : public ::testing::Test {
 protected:
  UnmergedLora()
      : folder_(std::filesystem::temp_directory_path() /
                fmt::format("minicpm_lora_{}_{}", getpid(),
                            ::testing::UnitTest::GetInstance()->current_test_info()->name())) {}
  ~UnmergedLora() override { std::filesystem::remove_all(folder_); }

  /// Through the files, as a program would get it.
  std::unique_ptr<Lora> stored(const LoraAdapter& adapter, float strength = 1.0f) const {
    write_peft_adapter(folder_, adapter);
    return Lora::open(folder_, strength);
  }

  std::filesystem::path folder_;
};

LoraConfig everything(int64_t r = 8) {
  LoraConfig config;
  config.r = r;
  config.alpha = 12;
  config.target_regex = kAllLinear;
  config.modules_to_save = {"embed_tokens", "resampler", "post_layernorm", "embeddings"};
  return config;
}

std::vector<float> logits(const LoadedModel& model, Precision precision = Precision::kExact) {
  Machine machine(model, 2, 64, precision);
  return machine.last_logits(model.has_vision() ? picture_prompt(5) : text_prompt(70, 5));
}

/// The tensors of a Hugging Face source under their GGUF names, in their GGUF layouts.
std::unique_ptr<MemorySource> as_gguf(const ModelConfig& config, const WeightSource& source, DType matrix_type) {
  auto gguf = std::make_unique<MemorySource>("gguf");
  for (const PartSpec& part : tensor_specs(config)) {
    const TensorSpec& spec = part.spec;
    const StoredTensor* stored = source.find(spec.hf);
    if (stored == nullptr) continue;
    const std::vector<float> from = testing::values_of(stored->view);
    std::vector<float> to(static_cast<size_t>(spec.numel()));
    const int64_t rows = spec.shape[0], cols = spec.numel() / rows, head_dim = config.decoder.head_dim;
    const bool reordered =
        config.decoder.rope_style == RopeStyle::kNeighbours &&
        (spec.hf.ends_with("self_attn.q_proj.weight") || spec.hf.ends_with("self_attn.k_proj.weight")) &&
        part.part == ModelPart::kLanguage;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < cols; ++c) {
        int64_t at = r * cols + c;
        if (spec.layout == Layout::kTransposed) at = c * rows + r;
        if (spec.layout == Layout::kSecondThird) at += rows * cols;
        if (spec.layout == Layout::kLastThird) at += 2 * rows * cols;
        // Neighbouring rows 2 j and 2 j + 1 of a head are j and j + head_dim / 2 of the Hugging Face matrix.
        if (reordered) {
          const int64_t in_head = r % head_dim;
          at = (r - in_head + in_head / 2 + in_head % 2 * head_dim / 2) * cols + c;
        }
        to[static_cast<size_t>(r * cols + c)] = from[static_cast<size_t>(at)];
      }
    }
    const bool matrix = spec.role == Role::kLinear && cols % info(matrix_type).block_elements == 0;
    gguf->add(spec.gguf, to, spec.shape, matrix ? matrix_type : DType::kF32);
  }
  return gguf;
}

TEST_F(UnmergedLora, EqualsMergedWeights) {
  const ModelConfig config = testing::tiny_config();
  for (int64_t r : {1, 3, 8, 40}) {
    const auto base = testing::random_weights(config, 21);
    const auto lora = testing::random_lora(config, everything(r), 22);
    ASSERT_EQ(lora.adapter.layers.size(), 2 * 7 + 1 + 2 * 6 + 2u);  // with lm_head and two of the resampler
    const auto merged = LoadedModel::load_networks(config, testing::merged_weights(*base, lora.adapter), nullptr);
    const auto unmerged =
        LoadedModel::load_networks(config, testing::random_weights(config, 21), nullptr, stored(lora.adapter));
    const auto plain = testing::random_model(config, 21);
    EXPECT_LT(relative_l2(logits(*unmerged), logits(*merged)), 1e-5) << "rank " << r;
    EXPECT_GT(relative_l2(logits(*unmerged), logits(*plain)), 0.1) << "rank " << r;
  }
}

TEST_F(UnmergedLora, EveryTargetCounts) {
  const ModelConfig config = testing::tiny_config();
  const auto plain = logits(*testing::random_model(config, 31));
  for (const char* target : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                             "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj", "lm_head", "self_attn.out_proj",
                             "mlp.fc1", "mlp.fc2", "resampler.kv_proj", "resampler.attn.out_proj"}) {
    LoraConfig only = everything();
    only.target_regex = "(.*\\.)?" + regex_escaped(target);
    only.modules_to_save = {};
    const auto lora = testing::random_lora(config, only, 32);
    ASSERT_FALSE(lora.adapter.layers.empty()) << target;
    const auto base = testing::random_weights(config, 31);
    const auto merged = LoadedModel::load_networks(config, testing::merged_weights(*base, lora.adapter), nullptr);
    const auto unmerged =
        LoadedModel::load_networks(config, testing::random_weights(config, 31), nullptr, stored(lora.adapter));
    const auto got = logits(*unmerged);
    EXPECT_LT(relative_l2(got, logits(*merged)), 1e-5) << target;
    EXPECT_GT(relative_l2(got, plain), 1e-3) << target;
  }
}

TEST_F(UnmergedLora, HalfPrecisionAndRankStabilised) {
  const ModelConfig config = testing::tiny_config();
  LoraConfig settings = everything();
  settings.rslora = true;
  for (DType type : {DType::kBF16, DType::kF16}) {
    const auto lora = testing::random_lora(config, settings, 42, type);
    const auto base = testing::random_weights(config, 41, type);
    const auto merged = LoadedModel::load_networks(config, testing::merged_weights(*base, lora.adapter), nullptr);
    const auto unmerged =
        LoadedModel::load_networks(config, testing::random_weights(config, 41, type), nullptr, stored(lora.adapter));
    const auto expected = logits(*merged);
    EXPECT_LT(relative_l2(logits(*unmerged), expected), 1e-5) << name(type);
    EXPECT_LT(relative_l2(logits(*unmerged, Precision::kFast), expected), 0.03) << name(type);
  }
}

TEST_F(UnmergedLora, StrengthScalesTheProductOnly) {
  const ModelConfig config = testing::tiny_text_config();
  LoraConfig settings = everything();
  settings.modules_to_save = {};
  auto lora = testing::random_lora(config, settings, 52);
  const auto with = [&](float strength) {
    const auto model = LoadedModel::load_networks(config, testing::random_weights(config, 51), nullptr,
                                                  stored(lora.adapter, strength));
    return logits(*model);
  };
  EXPECT_EQ(with(0.0f), logits(*testing::random_model(config, 51)));
  const auto half = with(0.5f);
  lora.adapter.config.alpha /= 2;
  EXPECT_EQ(with(1.0f), half);
}

/// Random weights; without the norms of q and k, which models whose files reorder those rows do not have.
std::unique_ptr<MemorySource> base_weights(const ModelConfig& config, bool qk_norms) {
  auto all = testing::random_weights(config, 61);
  if (qk_norms) return all;
  auto some = std::make_unique<MemorySource>("random");
  for (const StoredTensor& stored : all->tensors()) {
    if (stored.name.ends_with("q_norm.weight") || stored.name.ends_with("k_norm.weight")) continue;
    some->add(stored.name, testing::values_of(stored.view), {stored.view.shape().begin(), stored.view.shape().end()});
  }
  return some;
}

TEST_F(UnmergedLora, FitsGgufFiles) {
  for (const bool neighbours : {false, true}) {  // MiniCPM-V 4.5, and the row order of Llama's files
    ModelConfig config = testing::tiny_config();
    if (neighbours) config.version = version_by_key("v40");
    ModelConfig gguf = config;
    gguf.gguf = true;
    if (neighbours) gguf.decoder.rope_style = RopeStyle::kNeighbours;
    auto base = base_weights(config, !neighbours);
    auto blocks = as_gguf(gguf, *base, DType::kF32);
    const auto lora = testing::random_lora(config, everything(), 62);
    const auto hf = LoadedModel::load_networks(config, std::move(base), nullptr, stored(lora.adapter));
    const auto from_gguf = LoadedModel::load_networks(gguf, std::move(blocks), nullptr, stored(lora.adapter));
    EXPECT_LT(relative_l2(logits(*from_gguf), logits(*hf)), 1e-5) << "neighbours " << neighbours;
  }
}

TEST_F(UnmergedLora, FitsQuantisedBases) {
  ModelConfig config = testing::tiny_text_config();
  config.gguf = true;
  const auto base = testing::random_weights(config, 71);
  const auto lora = testing::random_lora(config, everything(), 72);
  for (DType type : {DType::kQ8_0, DType::kQ4_0}) {
    // The same codes once as blocks and once as the f32 values they stand for, with the product added.
    const auto blocks = as_gguf(config, *base, type);
    MemorySource values("values");
    for (const PartSpec& part : tensor_specs(config)) {
      const StoredTensor* stored = blocks->find(part.spec.gguf);
      if (stored != nullptr) values.add(part.spec.hf, testing::values_of(stored->view), part.spec.shape);
    }
    ModelConfig hf = config;
    hf.gguf = false;
    const auto merged = LoadedModel::load_networks(hf, testing::merged_weights(values, lora.adapter), nullptr);
    const auto unmerged =
        LoadedModel::load_networks(config, as_gguf(config, *base, type), nullptr, stored(lora.adapter));
    const auto expected = logits(*merged);
    EXPECT_LT(relative_l2(logits(*unmerged), expected), 1e-5) << name(type);
    EXPECT_LT(relative_l2(logits(*unmerged, Precision::kFast), expected), 0.05) << name(type);
  }
}

}  // namespace
}  // namespace minicpm

// The torch model against the engine, and its gradients against finite differences.
#include "train/torch/model.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/file_map.h"
#include "eval/case_data.h"
#include "io/safetensors.h"
#include "support/machine.h"
#include "support/random_model.h"

namespace minicpm::train {
namespace {

namespace fs = std::filesystem;

/// What the engine computes for a whole prompt.
std::vector<float> engine_logits(const LoadedModel& model, Sequence sequence) {
  struct Last : Tracer {
    void record(std::string_view name, const minicpm::Tensor& value) override {
      if (name == "logits") logits.assign(value.f32(), value.f32() + value.numel());
    }
    std::vector<float> logits;
  } tracer;
  testing::Machine machine(model, 2, sequence.prompt_tokens, Precision::kExact);
  machine.runner.set_tracer(&tracer);
  machine.runner.set_all_logits(true);
  machine.scheduler.add(sequence);
  machine.runner.run(machine.scheduler.next());
  machine.scheduler.remove(sequence);
  return tracer.logits;
}

EncodedSample encoded(const Sequence& sequence) {
  EncodedSample sample;
  sample.input.tokens = sequence.tokens;
  sample.input.media = sequence.media;
  sample.labels = sequence.tokens;
  sample.labels[0] = kIgnoreLabel;
  return sample;
}

Tensor torch_logits(const TorchModel& model, const Batch& batch) {
  Tensor rows, sounds;
  if (batch.has_pictures()) rows = model.resample(batch, model.tower(batch));
  if (batch.has_sound()) sounds = model.hear(batch);
  return model.logits(model.decode(batch, rows, sounds), at::arange(batch.sequences * batch.length));
}

std::vector<float> values(const Tensor& x) {
  const Tensor copy = x.to(at::kFloat).contiguous();
  return {copy.data_ptr<float>(), copy.data_ptr<float>() + copy.numel()};
}

void add_spans(MediaItem& item, const std::vector<int64_t>& bounds) {
  for (size_t i = 0; i < bounds.size(); i += 2) {
    item.spans.push_back(bounds[i]);
    item.span_rows.push_back(bounds[i + 1] - bounds[i]);
  }
}

/// The prompt of a reference case with its pictures and its sound.
Sequence reference_prompt(const WeightSource& inputs, const Json& json, const ModelConfig& config) {
  Sequence prompt;
  for (int64_t id : read_ints(inputs, "input_ids"))
    prompt.tokens.push_back(static_cast<int32_t>(id));
  prompt.prompt_tokens = static_cast<int64_t>(prompt.tokens.size());
  if (inputs.find("image_bound") != nullptr) {
    auto item =
        std::make_shared<MediaItem>(read_case_media(inputs, json, "", "temporal_ids", config.vision->patch_size));
    add_spans(*item, read_ints(inputs, "image_bound"));
    prompt.media.push_back(item);
  }
  if (inputs.find("audio_bounds") != nullptr) {
    const std::vector<float> features = read_floats(inputs, "audio_features");  // [1, bins, frames]
    auto item = std::make_shared<MediaItem>();
    MelFrames& mel = item->sounds.emplace_back();
    mel.bins = config.audio->mel_bins;
    mel.frames = static_cast<int64_t>(features.size()) / mel.bins;
    for (int64_t t = 0; t < mel.frames; ++t) {
      for (int64_t b = 0; b < mel.bins; ++b)
        mel.values.push_back(features[b * mel.frames + t]);
    }
    add_spans(*item, read_ints(inputs, "audio_bounds"));
    prompt.media.push_back(item);
  }
  prompt.media_rows.resize(prompt.media.size());
  return prompt;
}

fs::path golden_folder() {
  if (const char* folder = std::getenv("MINICPM_GOLDEN")) return folder;
  const fs::path source = MINICPM_SOURCE_DIR;
  const fs::path shared = source / "../shared/golden";
  return fs::exists(shared) ? shared : source / "tests/golden";
}

TEST(TorchModel, AgreesWithTheEngineOnRandomModels) {
  for (const bool tied : {false, true}) {
    ModelConfig config = testing::tiny_config();
    config.decoder.tied_embeddings = tied;
    const auto source = testing::random_weights(config, 3);
    const auto engine = LoadedModel::load_networks(config, testing::random_weights(config, 3), nullptr);
    const Parameters parameters = Parameters::load(config, *source);
    at::NoGradGuard no_grad;
    const TorchModel model(config, parameters, {});
    const Sequence prompt = testing::picture_prompt(5);
    const EncodedSample sample = encoded(prompt);
    const EncodedSample* list[] = {&sample};
    const auto logits = values(torch_logits(model, make_batch(config, list)));
    EXPECT_LT(testing::relative_l2(logits, engine_logits(*engine, prompt)), 1e-5) << "tied: " << tied;
  }
}

TEST(TorchModel, AgreesWithTheEngineOnReferenceCheckpoints) {
  int cases = 0;
  for (const char* name : {"v45-full", "v45-llm", "v45-video", "v26-full", "o26-full"}) {
    const fs::path folder = golden_folder() / name;
    if (!fs::exists(folder / "case.json")) continue;
    const Json json = parse_json(read_file(folder / "case.json", 64u << 20), name);
    const auto from = [&](const char* key) {
      return json.contains(key) ? golden_folder() / json.at(key).get<std::string>() : folder;
    };
    const ModelConfig config = read_hf_config(from("config_from") / "config.json", {});
    const fs::path weights = from("weights_from") / "model.safetensors";
    const auto engine = LoadedModel::load_networks(config, open_safetensors(weights), nullptr);
    const auto inputs = open_safetensors(folder / "inputs.safetensors");
    const Sequence prompt = reference_prompt(*inputs, json, config);
    const Parameters parameters = Parameters::load(config, *open_safetensors(weights));
    at::NoGradGuard no_grad;
    const TorchModel model(config, parameters, {});
    const EncodedSample sample = encoded(prompt);
    const EncodedSample* list[] = {&sample};
    const auto logits = values(torch_logits(model, make_batch(config, list)));
    EXPECT_LT(testing::relative_l2(logits, engine_logits(*engine, prompt)), 1e-5) << name;
    ++cases;
  }
  if (cases == 0) GTEST_SKIP() << "no reference checkpoint under " << golden_folder();
}

TEST(TorchModel, AgreesWithTheEngineOnReferencePictures) {
  const fs::path folder = golden_folder() / "v45-vision";
  if (!fs::exists(folder / "case.json")) GTEST_SKIP() << "no reference case at " << folder;
  const Json json = parse_json(read_file(folder / "case.json", 64u << 20), "v45-vision");
  const fs::path weights = golden_folder() / json.at("weights_from").get<std::string>();
  const ModelConfig config = read_hf_config(weights / "config.json", {});
  const Parameters parameters = Parameters::load(config, *open_safetensors(weights / "model.safetensors"));
  const auto engine = LoadedModel::load_networks(config, open_safetensors(weights / "model.safetensors"), nullptr);
  const auto inputs = open_safetensors(folder / "inputs.safetensors");
  at::NoGradGuard no_grad;
  const TorchModel model(config, parameters, {});
  const auto backend = make_cpu_backend({.num_threads = 2, .isa = ""});
  for (const char* name : {"single", "single_tid", "batch", "video", "video_mixed"}) {
    auto item = std::make_shared<MediaItem>(read_case_media(
        *inputs, json, std::string(name) + "/", std::string("temporal_ids_") + name, config.vision->patch_size));
    // Query rows stand one group after another, so that the text rows give the order of the groups.
    EncodedSample sample;
    const int64_t queries = config.resampler->query_num, groups = static_cast<int64_t>(item->groups.size());
    sample.input.tokens.assign(groups * queries, 0);
    sample.labels.assign(groups * queries, kIgnoreLabel);
    for (int64_t g = 0; g < groups; ++g)
      item->spans.push_back(g * queries);
    item->span_rows.assign(static_cast<size_t>(groups), queries);
    sample.input.media = {item};
    const EncodedSample* list[] = {&sample};
    const Batch batch = make_batch(config, list);
    const Tensor rows = model.resample(batch, model.tower(batch));
    const Tensor ordered = at::empty_like(rows).index_copy_(0, batch.image_rows, rows);

    std::vector<const Patches*> slices;
    for (const Patches& slice : item->slices)
      slices.push_back(&slice);
    Arena arena;
    Context ctx{*backend, arena, Precision::kExact, nullptr};
    const minicpm::Tensor expected = engine->encode(ctx, slices, item->groups);
    EXPECT_LT(testing::relative_l2(values(ordered), std::span(expected.f32(), expected.numel())), 1e-5) << name;
  }
}

TEST(TorchModel, PaddingAndOrderDoNotChangeASample) {
  const ModelConfig config = testing::tiny_config();
  const Parameters parameters = Parameters::load(config, *testing::random_weights(config, 3));
  at::NoGradGuard no_grad;
  const TorchModel model(config, parameters, {});
  const EncodedSample pictures = encoded(testing::picture_prompt(5)), text = encoded(testing::text_prompt(40, 6));
  const EncodedSample* one[] = {&text};
  const EncodedSample* both[] = {&pictures, &text};
  const Tensor alone = torch_logits(model, make_batch(config, one));
  const Batch batch = make_batch(config, both);
  const Tensor second = torch_logits(model, batch).narrow(0, batch.length, 40);
  EXPECT_LT(testing::relative_l2(values(second), values(alone)), 1e-6);
}

/// A sample of three questions that share the first tokens and the picture of `base`, and each of them alone.
struct Branched {
  EncodedSample joined;
  std::vector<EncodedSample> alone;
};
Branched branched(const Sequence& base, size_t shared) {
  Branched result;
  std::vector<int32_t> tokens(base.tokens.begin(), base.tokens.begin() + static_cast<ptrdiff_t>(shared));
  for (size_t b = 0; b < 3; ++b) {
    std::vector<int32_t> own(5 + 4 * b);
    for (size_t i = 0; i < own.size(); ++i)
      own[i] = static_cast<int32_t>((7 * b + 3 * i + 1) % 250);
    Sequence alone = base;
    alone.tokens.resize(shared);
    alone.tokens.insert(alone.tokens.end(), own.begin(), own.end());
    result.alone.push_back(encoded(alone));
    result.joined.branches.push_back(static_cast<int64_t>(tokens.size()));
    tokens.insert(tokens.end(), own.begin(), own.end());
  }
  Sequence all = base;
  all.tokens = tokens;
  const auto branches = std::move(result.joined.branches);
  result.joined = encoded(all);
  result.joined.branches = branches;
  return result;
}

TEST(TorchModel, IndependentQuestionsAnswerAsIfAlone) {
  const ModelConfig config = testing::tiny_config();
  const Parameters parameters = Parameters::load(config, *testing::random_weights(config, 3));
  at::NoGradGuard no_grad;
  const TorchModel model(config, parameters, {});
  const Sequence base = testing::picture_prompt(5);
  const auto shared = static_cast<int64_t>(base.tokens.size()) - 2;
  const Branched sample = branched(base, static_cast<size_t>(shared));
  const EncodedSample text = encoded(testing::text_prompt(90, 6));
  const EncodedSample* list[] = {&text, &sample.joined};  // the other one is longer: padding
  const Batch batch = make_batch(config, list);
  const Tensor all = torch_logits(model, batch);
  for (size_t b = 0; b < sample.alone.size(); ++b) {
    const EncodedSample* one[] = {&sample.alone[b]};
    const auto own = static_cast<int64_t>(sample.alone[b].input.tokens.size()) - shared;
    const Tensor expected = torch_logits(model, make_batch(config, one)).narrow(0, shared, own);
    const Tensor found = all.narrow(0, batch.length + sample.joined.branches[b], own);
    EXPECT_LT(testing::relative_l2(values(found), values(expected)), 1e-5) << "question " << b;
  }
}

/// MiniCPM-o 2.6's structure at the same size; `chunk`: seconds of a piece of attention.
ModelConfig tiny_omni_config(float chunk) {
  ModelConfig config = testing::tiny_config();
  config.version = version_by_key("o26");
  AudioConfig audio;
  audio.hidden_size = 48;
  audio.num_layers = 2;
  audio.num_heads = 3;
  audio.intermediate_size = 64;
  audio.mel_bins = 8;
  audio.output_size = config.decoder.hidden_size;
  audio.chunk_seconds = chunk;
  audio.finish("tiny");
  config.audio = audio;
  return config;
}

/// Tokens with a sound of these pieces (mel frames) in two places; one row is left over.
Sequence sound_prompt(const ModelConfig& config, const std::vector<int64_t>& pieces, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  auto item = std::make_shared<MediaItem>();
  int64_t rows = -1;
  for (const int64_t frames : pieces) {
    MelFrames& mel = item->sounds.emplace_back(MelFrames{frames, config.audio->mel_bins, {}});
    for (int64_t i = 0; i < frames * mel.bins; ++i)
      mel.values.push_back(normal(random));
    rows += config.audio->rows(AudioConfig::encoder_frames(frames));
  }
  Sequence prompt = testing::text_prompt(static_cast<int>(rows) + 12, seed);
  item->spans = {3, 5 + rows / 2};
  item->span_rows = {rows / 2, rows - rows / 2};
  prompt.media = {item};
  prompt.media_rows.resize(1);
  return prompt;
}

TEST(TorchModel, HearsAsTheEngineDoes) {
  for (const float chunk : {0.0f, 0.5f, 1.0f}) {
    const ModelConfig config = tiny_omni_config(chunk);
    const auto engine = testing::random_model(config, 3);
    const Parameters parameters = Parameters::load(config, *testing::random_weights(config, 3));
    at::NoGradGuard no_grad;
    const TorchModel model(config, parameters, {});
    // Odd lengths, several pieces of which the shorter ones see the silence behind them, and two samples of a batch.
    const std::vector<std::vector<int64_t>> sounds = {{120}, {33}, {301, 45, 130}, {2, 201}};
    std::vector<EncodedSample> samples;
    for (const auto& pieces : sounds)
      samples.push_back(encoded(sound_prompt(config, pieces, 7)));
    std::vector<const EncodedSample*> list;
    for (const EncodedSample& sample : samples)
      list.push_back(&sample);
    const Batch batch = make_batch(config, list);
    const Tensor logits = torch_logits(model, batch);
    for (size_t i = 0; i < samples.size(); ++i) {
      const auto length = static_cast<int64_t>(samples[i].input.tokens.size());
      const Tensor own = logits.narrow(0, static_cast<int64_t>(i) * batch.length, length);
      EXPECT_LT(testing::relative_l2(values(own), engine_logits(*engine, sound_prompt(config, sounds[i], 7))), 1e-5)
          << "sound " << i << ", pieces of " << chunk << " s";
    }
  }
}

double loss_of(const TorchModel& model, const Batch& batch, Tensor* out = nullptr) {
  Tensor rows, sounds;
  if (batch.has_pictures()) rows = model.resample(batch, model.tower(batch));
  if (batch.has_sound()) sounds = model.hear(batch);
  const Tensor logits = model.logits(model.decode(batch, rows, sounds), batch.loss_rows);
  const Tensor weights = at::full({batch.targets.size(0)}, 0.01, at::kDouble);
  const Tensor loss = fn::cross_entropy(logits, batch.targets, weights).value;
  if (out != nullptr) *out = loss;
  return loss.item<double>();
}

/// Central differences in double along a random direction of every parameter tensor.
TEST(TorchModel, GradientsAreThoseOfFiniteDifferences) {
  const ModelConfig config = tiny_omni_config(0.5f);
  Parameters parameters = Parameters::load(config, *testing::random_weights(config, 3), at::kDouble);
  LoraConfig lora;
  lora.r = 3;
  parameters.add_lora(lora, 4);
  torch::manual_seed(8);
  for (const auto& [name, value] : parameters.all()) {
    if (name.ends_with("lora_B")) at::NoGradGuard(), value.copy_(0.1 * at::randn_like(value));
    // Far from the kink of relu, every other unit on: finite differences across it are no derivatives.
    if (name == "audio_projection_layer.linear1.bias") {
      at::NoGradGuard(), value.copy_(at::arange(value.numel(), at::kDouble).remainder(2) * 16 - 8);
    }
    value.set_requires_grad(true);
  }
  for (const bool checkpointing : {false, true}) {
    ModelOptions options;
    options.compute = at::kDouble;
    options.gradient_checkpointing = checkpointing;
    options.lora_scale = 1.5;
    const TorchModel model(config, parameters, options);
    const Sequence prompt = testing::picture_prompt(5);
    const EncodedSample sample = encoded(prompt), three = branched(prompt, prompt.tokens.size() - 2).joined;
    const EncodedSample sound = encoded(sound_prompt(config, {93, 40}, 7));
    const EncodedSample* list[] = {&sample, &three, &sound};
    const Batch batch = make_batch(config, list, at::kDouble);
    Tensor loss;
    loss_of(model, batch, &loss);
    for (const auto& [name, value] : parameters.all())
      value.mutable_grad() = Tensor();
    loss.backward();
    at::NoGradGuard no_grad;
    for (const auto& [name, value] : parameters.all()) {
      ASSERT_TRUE(value.grad().defined()) << name;
      const Tensor direction = at::randn_like(value) / std::sqrt(static_cast<double>(value.numel()));
      constexpr double kStep = 1e-4;
      value.add_(direction, kStep);
      const double above = loss_of(model, batch);
      value.sub_(direction, 2 * kStep);
      const double below = loss_of(model, batch);
      value.add_(direction, kStep);
      const double expected = (above - below) / (2 * kStep), found = (value.grad() * direction).sum().item<double>();
      EXPECT_NEAR(found, expected, 1e-6 * (std::abs(expected) + 1e-3)) << name << ", checkpointing " << checkpointing;
    }
  }
}

}  // namespace
}  // namespace minicpm::train

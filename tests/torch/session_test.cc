// Whole runs on a tiny checkpoint: learning, resuming, adapters, and what may go wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/file_map.h"
#include "dist/communicator.h"
#include "engine/chat.h"
#include "io/safetensors.h"
#include "media/wav.h"
#include "train/torch/checkpoint.h"
#include "train/torch/session.h"

namespace minicpm::train {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr const char* kAnswers[] = {"a cat", "two dogs", "blue", "nothing", "seven", "left", "it is red", "7 + 8 = 15"};

class SessionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    make_model("tiny_model.json");
    write_data();
  }
  void make_model(const std::string& sizes) {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(::testing::TempDir()) / (std::string("session_") + info->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    model_ = folder_ / "model";
    const std::string command = std::string(MINICPM_BINARY_DIR) + "/bin/make_pico --model " + MINICPM_SOURCE_DIR +
                                "/tests/torch/" + sizes + " --words " + MINICPM_SOURCE_DIR +
                                "/recipes/pico/words.txt --random-weights 3 --out " + model_.string() + " > /dev/null";
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
  }
  void TearDown() override { fs::remove_all(folder_); }

  /// Eight samples: six with pictures of one colour each (one of them sliced), two of text.
  void write_data() {
    std::ofstream out(folder_ / "data.jsonl");
    for (int i = 0; i < 8; ++i) {
      const std::string picture = "p" + std::to_string(i) + ".bmp";
      if (i < 6) write_picture(folder_ / picture, i, i == 5 ? 260 : 90, 90);
      const Json line = {
          {"messages",
           {{{"role", "user"},
             {"content", std::string(i < 6 ? "<image>" : "") + "What is it, " + std::to_string(i) + "?"}},
            {{"role", "assistant"}, {"content", kAnswers[i]}}}},
          {"images", i < 6 ? Json::array({picture}) : Json::array()}};
      out << line.dump() << '\n';
    }
  }

  /// An uncompressed bitmap of stripes.
  static void write_picture(const fs::path& path, int kind, int width, int height) {
    const int stride = (3 * width + 3) / 4 * 4, bytes = stride * height;
    std::string file(54, '\0');
    const auto put = [&](size_t at, uint32_t value) {
      for (int b = 0; b < 4; ++b)
        file[at + b] = static_cast<char>(value >> (8 * b));
    };
    file[0] = 'B', file[1] = 'M';
    put(2, 54 + bytes), put(10, 54), put(14, 40), put(18, width), put(22, height);
    file[26] = 1, file[28] = 24;
    put(34, bytes);
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < stride; ++x)
        file += static_cast<char>((x / (6 + 5 * kind) + y / 9) % 2 ? 40 * kind : 255);
    }
    std::ofstream(path, std::ios::binary) << file;
  }

  TrainConfig config(const std::string& out, int64_t samples) const {
    TrainConfig config;
    config.model = model_.string();
    config.out = (folder_ / out).string();
    config.stages.emplace_back();
    StageConfig& stage = config.stages[0];
    stage.data.file = (folder_ / "data.jsonl").string();
    stage.samples = samples;
    stage.batch = 4;
    stage.accumulation = 2;
    stage.sort_batches = 2;
    stage.learning_rate = 3e-3;
    config.optimizer.weight_decay = 0;
    config.threads = 2;
    config.log_every = 1;
    config.save_dtype = "f32";
    config.max_tokens = 512;
    return config;
  }

  TrainResult run(const TrainConfig& config) {
    const auto communicator = make_communicator();
    TrainHooks hooks;
    hooks.message = [this](std::string_view line) { messages_ += std::string(line) + "\n"; };
    return Session(config, hooks, *communicator).run();
  }

  std::string error_of(const TrainConfig& config) {
    try {
      run(config);
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  }

  std::string read(const fs::path& file) const { return read_file(folder_ / file, 1u << 30); }

  /// The log without what depends on the clock.
  std::string curve(const std::string& out) const {
    std::string result;
    std::istringstream lines(read(out + "/log.jsonl"));
    for (std::string line; std::getline(lines, line);) {
      Json json = parse_json(line, "log.jsonl");
      json.erase("seconds");
      json.erase("tokens_per_second");
      result += json.dump() + "\n";
    }
    return result;
  }

  std::string ask(Engine& engine, int i) const {
    ChatRequest request;
    Message message{"user", {}};
    if (i < 6) {
      message.content.push_back(
          ContentPart::from_image(std::make_shared<Image>(load_image(folder_ / ("p" + std::to_string(i) + ".bmp")))));
    }
    message.content.push_back(ContentPart::from_text("What is it, " + std::to_string(i) + "?"));
    request.messages = {message};
    request.sampling.do_sample = false;
    request.sampling.max_tokens = 24;
    return engine.chat(request).text;
  }

  void expect_learned(const std::string& model, const std::string& lora) {
    ModelSpec spec;
    spec.model = model;
    spec.lora = lora;
    EngineOptions options;
    options.backend.num_threads = 2;
    options.precision = Precision::kExact;
    const auto engine = Engine::load(spec, options);
    for (int i = 0; i < 8; ++i)
      EXPECT_EQ(ask(*engine, i), kAnswers[i]) << i;
  }

  fs::path folder_, model_;
  std::string messages_;
};

TEST_F(SessionTest, LearnsAFewSamplesByHeartAndTheEngineAnswersThem) {
  const TrainResult result = run(config("full", 8 * 60));
  EXPECT_TRUE(result.finished);
  EXPECT_EQ(result.steps, 60);
  EXPECT_LT(result.loss, 0.05);
  expect_learned((folder_ / "full").string(), "");
  EXPECT_TRUE(fs::exists(folder_ / "full/loss.svg"));
}

TEST_F(SessionTest, LearnsThroughAnAdapter) {
  TrainConfig c = config("adapter", 8 * 60);
  c.lora.emplace();
  c.lora->r = 8;
  c.lora->alpha = 16;
  c.lora->dropout = 0;
  c.lora->modules_to_save = {"embed_tokens", "resampler"};
  EXPECT_LT(run(c).loss, 0.05);
  expect_learned(model_.string(), (folder_ / "adapter").string());
}

TEST_F(SessionTest, LearnsFromNothingInBf16WithMuonAndCheckpointing) {
  TrainConfig c = config("scratch", 8 * 120);
  c.from_scratch = true;
  c.dtype = "bf16";
  c.optimizer.kind = "muon";
  c.gradient_checkpointing = true;
  EXPECT_LT(run(c).loss, 0.05);
}

TEST_F(SessionTest, ResumedRunsHaveTheSameCurve) {
  TrainConfig c = config("whole", 8 * 6);
  c.lora.emplace();  // dropout is random, too
  c.lora->modules_to_save = {"resampler"};
  run(c);
  c.out = (folder_ / "parts").string();
  for (int part = 0; part < 3; ++part) {
    c.stop_after = part < 2 ? 2 + part : 0;
    c.resume = part > 0;
    EXPECT_EQ(run(c).finished, part == 2);
  }
  EXPECT_EQ(curve("parts"), curve("whole"));
  EXPECT_EQ(read("parts/adapter_model.safetensors"), read("whole/adapter_model.safetensors"));
}

TEST_F(SessionTest, StartingAnewOverCheckpointsIsRefused) {
  TrainConfig c = config("again", 8 * 2);
  c.stop_after = 1;
  run(c);
  EXPECT_THAT(error_of(c), HasSubstr("--resume"));
  c.resume = true;
  c.stages[0].learning_rate = 1;
  EXPECT_THAT(error_of(c), HasSubstr("other settings"));
}

TEST_F(SessionTest, UnfinishedCheckpointsAreNoCheckpoints) {
  TrainConfig c = config("torn", 8 * 4);
  c.stop_after = 2;
  run(c);
  fs::create_directories(folder_ / "torn/checkpoints/step-00000009.tmp");
  fs::create_directories(folder_ / "torn/checkpoints/step-00000008");  // without its state
  EXPECT_EQ(newest_checkpoint(folder_ / "torn")->filename(), "step-00000002");
  std::ofstream(folder_ / "torn/checkpoints/step-00000002/training.safetensors") << "short";
  c.resume = true;
  EXPECT_THAT(error_of(c), HasSubstr("training.safetensors"));
}

TEST_F(SessionTest, BadSamplesStopTheRunOrAreCounted) {
  std::ofstream(folder_ / "data.jsonl", std::ios::app)
      << R"({"messages":[{"role":"user","content":"<image>?"},{"role":"assistant","content":"x"}],"images":["no.png"]})"
         "\n";
  TrainConfig c = config("bad", 9);
  EXPECT_THAT(error_of(c), ::testing::AllOf(HasSubstr("data.jsonl:9"), HasSubstr("no.png")));
  fs::remove_all(folder_ / "bad");
  c.skip_bad = true;
  const TrainResult result = run(c);
  EXPECT_TRUE(result.finished);
  EXPECT_GT(result.skipped_samples, 0);
  EXPECT_THAT(messages_, HasSubstr("data.jsonl:9"));
}

TEST_F(SessionTest, FrozenPartsKeepTheirBits) {
  TrainConfig c = config("frozen", 8 * 3);
  c.tune_vision = c.tune_llm = false;
  run(c);
  const auto before = open_safetensors_folder(model_), after = open_safetensors_folder(folder_ / "frozen");
  for (const StoredTensor& tensor : after->tensors()) {
    const StoredTensor* old = before->find(tensor.name);
    ASSERT_NE(old, nullptr) << tensor.name;
    const Tensor a = to_torch(tensor.view, {tensor.view.shape().begin(), tensor.view.shape().end()}, at::kFloat),
                 b = to_torch(old->view, {old->view.shape().begin(), old->view.shape().end()}, at::kFloat);
    EXPECT_EQ(at::equal(a, b), !tensor.name.starts_with("resampler.")) << tensor.name;
  }
}

TEST_F(SessionTest, EverythingFrozenIsRefused) {
  TrainConfig c = config("none", 8);
  c.tune_vision = c.tune_llm = c.tune_resampler = false;
  EXPECT_THAT(error_of(c), HasSubstr("nothing to train"));
}

TEST_F(SessionTest, EvaluationCountsExactAnswers) {
  TrainConfig c = config("eval", 8 * 60);
  c.eval.push_back({"held", {(folder_ / "data.jsonl").string(), "", {}, ""}, 8});
  run(c);
  EXPECT_THAT(messages_, HasSubstr("held 100.0 %"));
}

/// MiniCPM-o 2.6's structure, and six sounds of one pitch each.
class SoundSessionTest : public SessionTest {
 protected:
  void SetUp() override {
    make_model("tiny_omni_model.json");
    std::ofstream out(folder_ / "data.jsonl");
    for (int i = 0; i < 6; ++i) {
      const std::string name = "s" + std::to_string(i) + ".wav";
      std::ofstream(folder_ / name, std::ios::binary) << wav_file(tone(i), 16000);
      const Json line = {
          {"messages",
           {{{"role", "user"}, {"content", "<audio>Which?"}}, {{"role", "assistant"}, {"content", kAnswers[i]}}}},
          {"audios", {name}},
          {"spoken", kAnswers[i]}};
      out << line.dump() << '\n';
    }
  }
  static std::vector<float> tone(int kind) {
    std::vector<float> samples(16000 + 1600 * kind);
    for (size_t i = 0; i < samples.size(); ++i)
      samples[i] = 0.5f * std::sin(0.05f * static_cast<float>((kind + 1) * static_cast<int>(i)));
    return samples;
  }
  void add_tensor(const std::string& name) const {
    const auto source = open_safetensors_folder(model_);
    std::vector<TensorToWrite> tensors;
    for (const StoredTensor& tensor : source->tensors())
      tensors.push_back(tensor_to_write(tensor.name, tensor.view));
    tensors.push_back(torch_to_write(name, at::full({3}, 7.0), DType::kF32));
    write_safetensors(model_ / "more.safetensors", std::move(tensors));
    fs::rename(model_ / "more.safetensors", model_ / "model.safetensors");
  }
};

TEST_F(SoundSessionTest, LearnsSoundsByHeartAndTheEngineHearsThem) {
  TrainConfig c = config("full", 8 * 130);
  c.stages[0].speech_loss = 0.2;
  EXPECT_LT(run(c).loss, 0.3);
  EXPECT_THAT(read("full/log.jsonl"), HasSubstr("speech_loss"));
  EngineOptions options;
  options.backend.num_threads = 2;
  options.precision = Precision::kExact;
  const auto engine = Engine::load({(folder_ / "full").string(), ""}, options);
  for (int i = 0; i < 6; ++i) {
    ChatRequest request;
    request.messages = {{"user", {ContentPart::from_sound(tone(i)), ContentPart::from_text("Which?")}}};
    request.sampling.do_sample = false;
    request.sampling.max_tokens = 24;
    EXPECT_EQ(engine->chat(request).text, kAnswers[i]) << i;
  }
}

TEST_F(SoundSessionTest, TunesTheSoundEncoderAloneAndKeepsTheSpeechDecoder) {
  add_tensor("tts.emb_text.weight");
  TrainConfig c = config("ear", 8 * 2);
  c.tune_vision = c.tune_resampler = c.tune_llm = false;
  run(c);
  const auto before = open_safetensors_folder(model_), after = open_safetensors_folder(folder_ / "ear");
  EXPECT_EQ(after->tensors().size(), before->tensors().size());
  for (const StoredTensor& tensor : after->tensors()) {
    const StoredTensor* old = before->find(tensor.name);
    ASSERT_NE(old, nullptr) << tensor.name;
    const Tensor a = to_torch(tensor.view, {tensor.view.shape().begin(), tensor.view.shape().end()}, at::kFloat),
                 b = to_torch(old->view, {old->view.shape().begin(), old->view.shape().end()}, at::kFloat);
    const bool of_sound = tensor.name.starts_with("apm.") || tensor.name.starts_with("audio_projection_layer.");
    EXPECT_EQ(at::equal(a, b), !of_sound) << tensor.name;
  }
}

TEST_F(SoundSessionTest, TakesPartsOfOtherModels) {
  TrainConfig c = config("parts", 8);
  c.from_scratch = true;
  c.tune_vision = false;
  c.parts = {{"vpm.", model_.string()}};
  run(c);
  const auto from = open_safetensors_folder(model_), after = open_safetensors_folder(folder_ / "parts");
  for (const StoredTensor& tensor : after->tensors()) {
    const StoredTensor* old = from->find(tensor.name);
    const Tensor a = to_torch(tensor.view, {tensor.view.shape().begin(), tensor.view.shape().end()}, at::kFloat),
                 b = to_torch(old->view, {old->view.shape().begin(), old->view.shape().end()}, at::kFloat);
    if (tensor.name.starts_with("vpm.")) {
      EXPECT_TRUE(at::equal(a, b)) << tensor.name;
    } else if (tensor.name.ends_with("q_proj.weight")) {
      EXPECT_FALSE(at::equal(a, b)) << tensor.name;
    }
  }
  c.out = (folder_ / "none").string();
  c.parts = {{"nothing.", model_.string()}};
  EXPECT_THAT(error_of(c), HasSubstr("no tensor whose name begins with nothing."));
}

}  // namespace
}  // namespace minicpm::train

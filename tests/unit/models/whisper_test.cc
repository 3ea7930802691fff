// The sound encoder against itself: pieces, chunks, batches and streams. Its numbers are held by the reference cases.
#include "models/whisper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "backend/registry.h"
#include "base/error.h"
#include "models/loaded_model.h"
#include "support/machine.h"
#include "support/random_model.h"

namespace minicpm {
namespace {

using ::testing::HasSubstr;

ModelConfig hearing_config() {
  ModelConfig config = testing::tiny_config();
  config.version = version_by_key("o26");
  AudioConfig audio;
  audio.hidden_size = 32;
  audio.num_layers = 2;
  audio.num_heads = 4;
  audio.intermediate_size = 48;
  audio.mel_bins = 20;
  audio.output_size = config.decoder.hidden_size;
  audio.finish("tiny");
  config.audio = audio;
  return config;
}

MelFrames random_mel(int64_t frames, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  MelFrames mel{frames, 20, std::vector<float>(static_cast<size_t>(frames * 20))};
  for (float& value : mel.values)
    value = normal(random);
  return mel;
}

MelFrames first_frames(const MelFrames& mel, int64_t frames) {
  return {frames, mel.bins, {mel.values.begin(), mel.values.begin() + frames * mel.bins}};
}

class WhisperTest : public ::testing::Test {
 protected:
  std::vector<float> rows(const AudioEncoder& encoder, std::vector<const MelFrames*> pieces) {
    Arena arena;
    Context ctx{*backend_, arena, Precision::kExact, nullptr};
    const Tensor out = encoder.forward(ctx, pieces);
    return {out.f32(), out.f32() + out.numel()};
  }
  std::vector<float> part(const MelFrames& mel, AudioCache& cache) {
    Arena arena;
    Context ctx{*backend_, arena, Precision::kExact, nullptr};
    const Tensor out = model_->audio().forward(ctx, mel, cache);
    return {out.f32(), out.f32() + out.numel()};
  }
  void expect_close(std::span<const float> a, std::span<const float> b) {
    ASSERT_EQ(a.size(), b.size());
    EXPECT_LT(testing::relative_l2(a, b), 1e-5);
  }

  const int64_t width_ = hearing_config().decoder.hidden_size;
  std::unique_ptr<LoadedModel> model_ =
      LoadedModel::load_networks(hearing_config(), testing::random_weights(hearing_config(), 3), nullptr);
  std::unique_ptr<Backend> backend_ = make_cpu_backend({.num_threads = 2, .isa = ""});
};

TEST_F(WhisperTest, RowsOfALength) {
  const AudioConfig& config = model_->audio().config();
  EXPECT_EQ(config.rows_of_samples(16000), 25);
  EXPECT_EQ(config.rows_of_samples(8000), 12);
  EXPECT_EQ(config.rows_of_samples(480000), 750);
  EXPECT_EQ(config.rows_of_samples(160), 0);
  for (const int64_t frames : {1, 2, 3, 4, 5, 99, 100, 101, 230}) {
    const MelFrames mel = random_mel(frames, 1);
    EXPECT_EQ(rows(model_->audio(), {&mel}).size(), static_cast<size_t>(config.rows((frames + 1) / 2) * width_))
        << frames;
  }
}

TEST_F(WhisperTest, EarlierSecondsDoNotSeeLaterOnes) {
  const MelFrames whole = random_mel(260, 2), start = first_frames(whole, 200);
  const auto all = rows(model_->audio(), {&whole}), two = rows(model_->audio(), {&start});
  // The convolutions of the second's last frame look two frames ahead.
  const size_t same = static_cast<size_t>(25 * width_);
  expect_close(std::span(all).first(same), std::span(two).first(same));
  const AudioEncoder open = model_->audio().with_chunks(0);
  const auto seen = rows(open, {&whole});
  EXPECT_GT(testing::relative_l2(std::span(seen).first(same), std::span(all).first(same)), 1e-3);
}

TEST_F(WhisperTest, TheLongestOfABatchIsAsAlone) {
  const MelFrames a = random_mel(130, 3), b = random_mel(205, 4);
  const auto both = rows(model_->audio(), {&a, &b}), alone = rows(model_->audio(), {&b});
  expect_close(std::span(both).last(alone.size()), alone);
  // The shorter one sees the silence behind it in its last second only.
  const auto short_alone = rows(model_->audio(), {&a});
  expect_close(std::span(both).first(static_cast<size_t>(25 * width_)),
               std::span(short_alone).first(static_cast<size_t>(25 * width_)));
}

TEST_F(WhisperTest, AStreamOfOnePartIsAWholePieceThatSeesItself) {
  const MelFrames mel = random_mel(150, 5);
  AudioCache cache;
  expect_close(part(mel, cache), rows(model_->audio().with_chunks(0), {&mel}));
  EXPECT_EQ(cache.frames, 75);
}

TEST_F(WhisperTest, AStreamRemembersAndBeginsAnew) {
  AudioCache cache, fresh;
  const MelFrames second = random_mel(100, 6);
  const auto first = part(second, cache);
  EXPECT_GT(testing::relative_l2(part(second, cache), first), 1e-3);  // other positions, and something before it
  for (int i = 2; i < 29; ++i)
    part(second, cache);
  EXPECT_EQ(cache.frames, 1450);
  expect_close(part(second, cache), first);
  EXPECT_EQ(cache.frames, 50);
  EXPECT_TRUE(part({0, 20, {}}, fresh).empty());
}

TEST_F(WhisperTest, ChecksSizes) {
  AudioConfig config = *hearing_config().audio;
  config.num_heads = 5;
  try {
    config.finish("file");
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("file: sound encoder: 5 heads do not divide the hidden size 32"));
  }
  config = *hearing_config().audio;
  config.max_positions = 100;
  EXPECT_THROW(config.finish("file"), Error);
}

}  // namespace
}  // namespace minicpm

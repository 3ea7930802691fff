// The voices of a model's folder.
#include "server/model_voices.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "media/log_mel.h"
#include "media/wav.h"

namespace minicpm::server {
namespace {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

class ModelVoicesTest : public ::testing::Test {
 protected:
  ModelVoicesTest() { model_.folder = folder_; }
  ~ModelVoicesTest() override { fs::remove_all(folder_); }
  void put(const fs::path& name, const std::string& bytes) const {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
  }

  const fs::path folder_ =
      fs::path(::testing::TempDir()) /
      ("voices-" + std::to_string(::getpid()) + "-" + ::testing::UnitTest::GetInstance()->current_test_info()->name());
  ServedModel model_;
};

TEST_F(ModelVoicesTest, AModelWithoutTheFilesOfSpeechHasNone) {
  EXPECT_EQ(voice_names(ServedModel()), Names());
  EXPECT_EQ(voice_names(model_), Names());
  put("assets/vocos.safetensors", "");
  EXPECT_FALSE(can_speak(model_));
  put("assets/chattts_tokenizer/tokenizer.json", "");
  EXPECT_TRUE(can_speak(model_));
  EXPECT_EQ(voice_names(model_), Names{"default"});
}

TEST_F(ModelVoicesTest, ClipsOfTheFolderAreVoices) {
  put("Vocos.pt", "");
  put("assets/chattts_tokenizer/tokenizer.json", "");
  put("assets/ref_audios/male_example.wav", wav_file(std::vector<float>(kAudioRate, 0.25f), kAudioRate));
  put("assets/ref_audios/other_example.wav", "no sound");
  EXPECT_EQ(voice_names(model_), (Names{"default", "male"}));
  const auto clip = voice_clip(model_, "male");
  ASSERT_TRUE(clip.has_value());
  EXPECT_EQ(clip->size(), static_cast<size_t>(kAudioRate));
  EXPECT_NEAR((*clip)[100], 0.25f, 1e-3f);
  for (const char* none : {"female", "default", "other", "../ref_audios/male", ""})
    EXPECT_FALSE(voice_clip(model_, none).has_value()) << none;
}

}  // namespace
}  // namespace minicpm::server

// Speaking with the small speech decoder of the reference case; its words are made up here.
#include "engine/speech.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/json.h"

namespace minicpm {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> segments(std::string_view text, int64_t most) {
  // A token a character.
  return speech_segments(text, most, [](std::string_view part) { return static_cast<int64_t>(part.size()); });
}

TEST(SpeechSegments, EndWhereSentencesDo) {
  EXPECT_THAT(segments("Hello.", 20), ElementsAre("Hello."));
  EXPECT_THAT(segments("One. Two. Three.", 10), ElementsAre("One. Two.", " Three."));
  EXPECT_THAT(segments("It costs 3.50 now. Yes!", 20), ElementsAre("It costs 3.50 now.", " Yes!"));
  EXPECT_THAT(segments("first part, second part", 15), ElementsAre("first part,", " second part"));
  EXPECT_THAT(segments("aaaa bbbb cccc", 10), ElementsAre("aaaa bbbb ", "cccc"));
  EXPECT_THAT(segments("abcdefghij", 4), ElementsAre("abcd", "efgh", "ij"));
  EXPECT_THAT(segments("你好。再见。", 9), ElementsAre("你好。", "再见。"));
  EXPECT_TRUE(segments(" \n", 4).empty());
}

class SpeechTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* given = std::getenv("MINICPM_GOLDEN");
    const fs::path source = MINICPM_SOURCE_DIR;
    const fs::path golden = given != nullptr ? fs::path(given) : source / "../shared/golden";
    if (!fs::exists(golden / "o26-tts/model.safetensors"))
      GTEST_SKIP() << "no reference case at " << golden / "o26-tts";
    folder_ = fs::temp_directory_path() / fs::path("minicpm-speech-XXXXXX");
    std::string pattern = folder_.string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    fs::create_directories(folder_ / "assets/chattts_tokenizer");
    for (const char* name : {"config.json", "model.safetensors"})
      fs::create_symlink(fs::absolute(golden / "o26-tts" / name), folder_ / name);
    fs::create_symlink(fs::absolute(golden / "o26-tts/vocos.safetensors"), folder_ / "assets/vocos.safetensors");
    Json vocab;
    int id = 0;
    for (const char* token : {"[PAD]", "[UNK]", "[Stts]", "hello", "world", ".", "##s", "[spk_emb]"})
      vocab[token] = id++;
    const Json words = {{"added_tokens", Json::array()},
                        {"normalizer", {{"type", "BertNormalizer"}}},
                        {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
                        {"model", {{"type", "WordPiece"}, {"vocab", vocab}}}};
    std::ofstream(folder_ / "assets/chattts_tokenizer/tokenizer.json") << words.dump();
    for (int i = 0; i < 128; ++i)
      speaker_.push_back(static_cast<float>(i % 7) - 3);
    options_.max_frames = 120;
  }
  void TearDown() override {
    std::error_code ignored;
    if (!folder_.empty()) fs::remove_all(folder_, ignored);
  }

  std::vector<float> say(std::string_view text, SpeechResult* result = nullptr) {
    std::vector<float> samples;
    const auto maker = SpeechMaker::load(folder_, {.num_threads = 2, .isa = ""});
    const SpeechResult said = maker->say(text, speaker_, options_, [&](std::span<const float> part) {
      samples.insert(samples.end(), part.begin(), part.end());
    });
    EXPECT_EQ(said.samples, static_cast<int64_t>(samples.size()));
    if (result != nullptr) *result = said;
    return samples;
  }

  fs::path folder_;
  std::vector<float> speaker_;
  SpeechOptions options_;
};

TEST_F(SpeechTest, SaysTheSameForTheSameSeed) {
  SpeechResult result;
  const auto first = say("Hello worlds.", &result);
  EXPECT_EQ(result.segments, 1);
  EXPECT_EQ(result.samples, result.frames * 512);
  EXPECT_EQ(first, say("Hello worlds."));
  options_.seed = 2;
  EXPECT_NE(first, say("Hello worlds."));
}

TEST_F(SpeechTest, AStreamHasAllSamplesAndBeginsLikeTheWhole) {
  SpeechResult whole, stream;
  const auto all = say("Hello world.", &whole);
  options_.streaming = true;
  const auto parts = say("Hello world.", &stream);
  EXPECT_EQ(stream.frames, whole.frames);
  ASSERT_EQ(parts.size(), all.size());
  // Networks that look a few frames ahead: the beginning of the first piece is that of the whole.
  double error = 0, norm = 0;
  for (size_t i = 0; i < 2048; ++i) {
    error += std::pow(parts[i] - all[i], 2);
    norm += std::pow(all[i], 2);
  }
  EXPECT_LT(error, 1e-6 * norm);
}

TEST_F(SpeechTest, ASpeakerIsHeard) {
  const auto first = say("Hello.");
  speaker_[0] += 40;
  EXPECT_NE(first, say("Hello."));
  speaker_.pop_back();
  EXPECT_THROW(say("Hello."), Error);
}

TEST_F(SpeechTest, RefusesNothingAndWhatIsMissing) {
  SpeechResult nothing;
  EXPECT_TRUE(say(" \n", &nothing).empty());
  EXPECT_EQ(nothing.segments, 0);
  std::atomic<bool> cancel = true;
  const auto maker = SpeechMaker::load(folder_, {.num_threads = 1, .isa = ""});
  EXPECT_THROW(maker->say(
                   "Hello.", speaker_, options_, [](auto) {}, &cancel),
               Error);
  fs::remove(folder_ / "assets/vocos.safetensors");
  try {
    SpeechMaker::load(folder_);
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("the vocoder's weights are missing"));
  }
}

}  // namespace
}  // namespace minicpm

// Speaking with the small speech decoder of the reference case; its words are made up here.
#include "engine/speech.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>

#include "base/error.h"
#include "base/json.h"
#include "engine/speech_thread.h"
#include "io/safetensors.h"
#include "models/model_config.h"
#include "models/tensor_loader.h"
#include "support/torch_writer.h"

namespace minicpm {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

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
    const auto maker = SpeechMaker::load(files(), {.num_threads = 2, .isa = ""});
    const SpeechResult said = maker->say(text, speaker_, options_, [&](std::span<const float> part) {
      samples.insert(samples.end(), part.begin(), part.end());
    });
    EXPECT_EQ(said.samples, static_cast<int64_t>(samples.size()));
    EXPECT_EQ(said.samples, said.frames * 512);
    if (result != nullptr) *result = said;
    return samples;
  }

  /// The samples piece by piece of a text that comes in these pieces.
  std::vector<std::vector<float>> stream(const std::vector<std::string>& pieces, SpeechResult* result = nullptr) {
    std::vector<std::vector<float>> parts;
    const auto maker = SpeechMaker::load(files(), {.num_threads = 1, .isa = ""});
    const auto speech = maker->stream(
        speaker_, options_, [&](std::span<const float> part) { parts.emplace_back(part.begin(), part.end()); });
    for (const std::string& piece : pieces)
      speech->push(piece);
    const SpeechResult said = speech->finish();
    EXPECT_EQ(said.samples, static_cast<int64_t>(joined(parts).size()));
    EXPECT_EQ(said.samples, said.frames * 512);
    if (result != nullptr) *result = said;
    return parts;
  }
  static std::vector<float> joined(const std::vector<std::vector<float>>& parts) {
    std::vector<float> all;
    for (const std::vector<float>& part : parts)
      all.insert(all.end(), part.begin(), part.end());
    return all;
  }
  static std::vector<std::string> bytes_of(const std::string& text) {
    std::vector<std::string> bytes;
    for (const char c : text)
      bytes.emplace_back(1, c);
    return bytes;
  }

  static std::string many(std::string_view text, int times) {
    std::string all;
    for (int i = 0; i < times; ++i)
      all += text;
    return all;
  }

  ModelFiles files() const {
    ModelFiles files;
    files.folder = folder_;
    return files;
  }

  fs::path folder_;
  std::vector<float> speaker_;
  SpeechOptions options_;
};

TEST_F(SpeechTest, SaysTheSameForTheSameSeed) {
  SpeechResult result;
  const auto first = say("Hello worlds.", &result);
  EXPECT_EQ(result.segments, 1);
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

TEST_F(SpeechTest, SoundDoesNotDependOnThePieces) {
  // Three segments of at most 39 tokens.
  const std::string text = many("Hello worlds hello. ", 18);
  SpeechResult whole, by_bytes;
  const auto parts = stream({text}, &whole);
  EXPECT_EQ(joined(stream(bytes_of(text), &by_bytes)), joined(parts));
  EXPECT_GT(whole.segments, 2);
  EXPECT_EQ(by_bytes.segments, whole.segments);
  options_.streaming = true;
  EXPECT_EQ(say(text), joined(parts));
  const unsigned seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::vector<std::string> pieces;
  for (size_t at = 0; at < text.size();) {
    pieces.push_back(text.substr(at, random() % 40));
    at += pieces.back().size();
  }
  EXPECT_EQ(joined(stream(pieces)), joined(parts));
}

TEST_F(SpeechTest, SpeaksWhileTheTextIsWritten) {
  const auto maker = SpeechMaker::load(files(), {.num_threads = 1, .isa = ""});
  std::vector<size_t> pieces;
  const auto speech =
      maker->stream(speaker_, options_, [&](std::span<const float> part) { pieces.push_back(part.size()); });
  speech->push(many("hello ", 10));
  // Ten tokens give 25 frames, of which the last four are held back for the joint; each piece after that what it joins.
  EXPECT_THAT(pieces, ElementsAre(21 * 512));
  speech->push(many("hello ", 9));
  EXPECT_THAT(pieces, ElementsAre(21 * 512));
  speech->push("world ");
  EXPECT_THAT(pieces, ElementsAre(21 * 512, 4 * 512));
  speech->push(many("hello ", 10));
  EXPECT_THAT(pieces, ElementsAre(21 * 512, 4 * 512, 25 * 512));
  EXPECT_GE(speech->finish().frames, 85);
}

TEST_F(SpeechTest, TheFirstPieceMayWaitForTheSecond) {
  const auto at_once = stream({many("hello ", 20)});
  options_.hold_first = true;
  const auto together = stream({many("hello ", 20)});
  ASSERT_GT(together.size(), 1u);
  EXPECT_EQ(at_once[0].size(), 21u * 512);
  EXPECT_EQ(together[0].size(), 25u * 512);
  EXPECT_EQ(joined(together).size(), joined(at_once).size());
}

/// The decoding loop of 300 places with all their padding, chunk by chunk, for one text.
class Reference {
 public:
  explicit Reference(const fs::path& folder)
      : weights_(open_safetensors_folder(folder)),
        vocos_weights_(open_safetensors(folder / "assets/vocos.safetensors")),
        backend_(make_cpu_backend({.num_threads = 1, .isa = ""})),
        decoder_(read_speech_config(folder / "config.json"), *weights_, store_),
        dvae_(*weights_, store_),
        vocos_(*vocos_weights_, store_) {}

  std::vector<float> say(const std::vector<int32_t>& text, std::span<const float> state, const SpeechOptions& options,
                         int32_t start, int32_t padding) {
    Arena arena;
    Context ctx{*backend_, arena, Precision::kExact, nullptr};
    const SpeechConfig& c = decoder_.config();
    std::vector<int32_t> ids = {start, static_cast<int32_t>(c.speaker_id)};
    ids.insert(ids.end(), text.begin(), text.end());
    ids.push_back(static_cast<int32_t>(c.text_end_id));
    ids.resize(static_cast<size_t>(c.slots()), padding);
    const std::vector<float> voice = decoder_.speaker(ctx, state);
    std::mt19937_64 random(options.seed);
    SpeechCache cache(c);
    std::vector<CodeFrame> frames;
    bool ended = false;
    const auto text_tokens = static_cast<int64_t>(text.size());
    for (int64_t round = 0; !ended && static_cast<int64_t>(frames.size()) < options.max_frames; ++round) {
      const int64_t begin = round == 0 ? 0 : std::min(2 + 10 * round, c.slots());
      const int64_t end = std::min(12 + 10 * round, c.slots());
      if (begin < end) {
        decoder_.prefill_text(ctx, cache,
                              std::span(ids).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)),
                              begin, voice);
      }
      for (int i = 0; i < 25 && !ended && static_cast<int64_t>(frames.size()) < options.max_frames; ++i) {
        const Tensor logits = decoder_.step(ctx, cache, frames.empty() ? nullptr : &frames.back(), text_tokens);
        CodeFrame frame;
        for (int q = 0; q < kCodebooks; ++q) {
          // No end in the first ten frames of a round, nor while chunks of ten are still to come.
          const bool open = i < 10 || 10 * (round + 1) <= text_tokens;
          const auto p = code_probabilities(std::span(logits.f32_row(q), static_cast<size_t>(logits.dim(1))), q, frames,
                                            options.sampling, open ? c.end_code() : -1);
          frame[static_cast<size_t>(q)] = draw(p, random);
          ended = ended || frame[static_cast<size_t>(q)] == c.end_code();
        }
        if (!ended) frames.push_back(frame);
      }
    }
    return vocos_.decode(ctx, dvae_.decode(ctx, frames));
  }

 private:
  static int32_t draw(const std::vector<float>& p, std::mt19937_64& random) {
    double total = 0;
    for (const float x : p)
      total += x;
    double at = static_cast<double>(random() >> 11) * 0x1p-53 * total;
    int32_t last = 0;
    for (size_t i = 0; i < p.size(); ++i) {
      if (p[i] <= 0) continue;
      last = static_cast<int32_t>(i);
      if (at < p[i]) break;
      at -= p[i];
    }
    return last;
  }

  std::unique_ptr<WeightSource> weights_, vocos_weights_;
  std::unique_ptr<Backend> backend_;
  ConvertedStore store_;
  SpeechDecoder decoder_;
  Dvae dvae_;
  Vocos vocos_;
};

TEST_F(SpeechTest, TextThatComesInPiecesGetsTheCodesOfThePaddedWhole) {
  Reference reference(folder_);
  for (const size_t words : {1, 9, 10, 11, 15}) {
    // The words of a row are tokens 3 in the vocabulary of this test.
    const std::vector<int32_t> tokens(words, 3);
    const auto expected = reference.say(tokens, speaker_, options_, 2, 0);
    const auto got = say(many("hello ", static_cast<int>(words)));
    ASSERT_EQ(got.size(), expected.size()) << words;
    double error = 0, norm = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      error += std::pow(got[i] - expected[i], 2);
      norm += std::pow(expected[i], 2);
    }
    EXPECT_LT(error, 1e-8 * norm) << words;
  }
}

TEST_F(SpeechTest, LongTextsGoOnInSegments) {
  SpeechResult sentences, words, commas;
  say(many("hello world. ", 24), &sentences);  // 72 tokens: cuts from 16 on, of which 5 are carried over
  EXPECT_GE(sentences.segments, 4);
  say(many("hello ", 100), &words);  // cuts at 32
  EXPECT_GE(words.segments, 3);
  EXPECT_LE(words.segments, 4);
  // Without any white space nothing is lost either.
  SpeechResult row;
  say(many("..........", 10), &row);
  EXPECT_GE(row.segments, 3);
}

TEST_F(SpeechTest, ChecksWhatItMakes) {
  options_.check = true;
  SpeechResult result;
  const auto first = say("Hello worlds.", &result);
  EXPECT_EQ(first, say("Hello worlds."));
}

TEST_F(SpeechTest, AThreadSpeaksTheSame) {
  const std::string text = many("Hello worlds. ", 12);
  const auto expected = joined(stream({text}));
  const auto maker = SpeechMaker::load(files(), {.num_threads = 1, .isa = ""});
  std::vector<float> samples;
  const auto take = [&](std::span<const float> part) { samples.insert(samples.end(), part.begin(), part.end()); };
  {
    SpeechThread thread(maker->stream(speaker_, options_, take));
    for (const std::string& byte : bytes_of(text))
      thread.push(byte);
    EXPECT_EQ(thread.finish().samples, static_cast<int64_t>(expected.size()));
  }
  EXPECT_EQ(samples, expected);
  // What is abandoned ends without the rest; errors come back.
  {
    SpeechThread abandoned(maker->stream(speaker_, options_, take));
    abandoned.push("Hello.");
  }
  std::atomic<bool> cancel = true;
  SpeechThread cancelled(maker->stream(speaker_, options_, take, &cancel));
  EXPECT_THROW(
      {
        cancelled.push("Hello.");
        cancelled.finish();
      },
      Error);
}

TEST_F(SpeechTest, TheVocoderComesFromATorchFileToo) {
  const auto expected = say("Hello.");
  std::vector<TorchEntry> entries;
  {
    const auto source = open_safetensors(folder_ / "assets/vocos.safetensors");
    for (const StoredTensor& tensor : source->tensors()) {
      const auto shape = tensor.view.shape();
      entries.push_back(
          {tensor.name,
           "FloatStorage",
           {shape.begin(), shape.end()},
           {},
           0,
           std::string(static_cast<const char*>(tensor.view.data), static_cast<size_t>(tensor.view.bytes()))});
    }
  }
  fs::remove(folder_ / "assets/vocos.safetensors");
  std::ofstream(folder_ / "assets/Vocos.pt", std::ios::binary) << torch_file(entries);
  EXPECT_EQ(say("Hello."), expected);
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
  const auto maker = SpeechMaker::load(files(), {.num_threads = 1, .isa = ""});
  EXPECT_THROW(maker->say(
                   "Hello.", speaker_, options_, [](auto) {}, &cancel),
               Error);
  fs::remove(folder_ / "assets/vocos.safetensors");
  try {
    SpeechMaker::load(files());
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("the vocoder's weights are missing"));
  }
}

}  // namespace
}  // namespace minicpm

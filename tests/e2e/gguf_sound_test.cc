// GGUF pairs that hear and speak: made from a checkpoint in MiniCPM-o 2.6's layout, they must do what its folder does.
#include <cmath>

#include "backend/context.h"
#include "backend/registry.h"
#include "base/json.h"
#include "e2e/support.h"
#include "engine/speech.h"
#include "io/model_files.h"
#include "media/log_mel.h"
#include "media/wav.h"
#include "models/loaded_model.h"
#include "models/model_config.h"
#include "models/speech_files.h"

namespace minicpm::e2e {
namespace {

using ::testing::HasSubstr;

std::vector<float> sweep(double seconds) {
  std::vector<float> samples(static_cast<size_t>(std::lround(seconds * 16000)));
  for (size_t i = 0; i < samples.size(); ++i) {
    const double t = static_cast<double>(i) / 16000;
    samples[i] = static_cast<float>(0.4 * std::sin(2 * 3.14159265 * (200 * t + 300 * t * t)));
  }
  return samples;
}

/// |a - b| / |a|.
double distance(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double error = 0, size = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    error += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    size += double{a[i]} * a[i];
  }
  return std::sqrt(error / size);
}

class GgufSoundTest : public ModelTest {
 protected:
  void SetUp() override {
    ModelTest::SetUp();
    folder_model_ = std::string(MINICPM_E2E_MODELS) + "/o26-hf";
    pair_ = find_gguf(std::string(MINICPM_E2E_MODELS) + "/o26-gguf", false);
    sound_ = write("a.wav", wav_file(sweep(2.5), 16000));
  }

  /// The pair in another type.
  std::string converted(const std::string& type) const {
    const std::string out = path(type + ".gguf");
    const Outcome outcome =
        run_program((std::filesystem::path(minicpm_path()).parent_path() / "convert_checkpoint").string(),
                    {folder_model_, "--type", type, "--mmproj-type", type, "--out", out});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "");  // nothing was left out
    return out;
  }

  std::string folder_model_, pair_, sound_;
};

TEST_F(GgufSoundTest, HearsAndSpeaksLikeTheFolder) {
  const auto output = [&](std::vector<std::string> words, const std::string& model) {
    words.insert(words.begin() + 1, model);
    const Outcome outcome = minicpm(words);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return parse_json(outcome.out, "the output");
  };
  const auto both = [&](const std::vector<std::string>& words, const char* field) {
    const Json folder = output(words, folder_model_), pair = output(words, pair_);
    const Json& a = folder.is_array() ? folder[0] : folder;
    const Json& b = pair.is_array() ? pair[0] : pair;
    EXPECT_EQ(a.at(field), b.at(field)) << words[0];
    EXPECT_FALSE(a.at(field).empty());
  };
  both({"run", "--audio", sound_, "-p", "What is said?", "-n", "8", "--greedy", "--json"}, "tokens");
  both({"transcribe", sound_, "-n", "6", "--window", "1", "--json"}, "segments");
  both({"speak", "-p", "Hello. Good mornings.", "--seed", "7", "--json", "-o", path("a.wav")}, "frames");
  const std::string from_pair = read_all(path("a.wav"));
  both({"speak", "-p", "Hello. Good mornings.", "--seed", "7", "--json", "-o", path("a.wav"), "--voice", sound_},
       "frames");
  EXPECT_NE(read_all(path("a.wav")), from_pair);
  output({"speak", "-p", "Hello. Good mornings.", "--seed", "7", "--json", "-o", path("b.wav")}, folder_model_);
  EXPECT_EQ(read_all(path("b.wav")), from_pair);
}

TEST_F(GgufSoundTest, LiveSessionsTakeThePair) {
  std::vector<float> talk = sweep(1.5);
  talk.resize(talk.size() + 2 * 16000);
  const std::string file = write("talk.wav", wav_file(talk, 16000));
  std::vector<std::string> texts;
  for (const std::string& model : {folder_model_, pair_}) {
    const Outcome outcome = minicpm({"live", model, "-n", "8", "--seed", "3", "--vad", "energy", "--audio-in", file,
                                     "--audio-out", path("answer.wav"), "--json"});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_THAT(outcome.out, HasSubstr("answer_ends"));
    texts.push_back(read_all(path("answer.wav")));
  }
  EXPECT_GT(texts[0].size(), 44u);
  EXPECT_EQ(texts[0], texts[1]);
}

/// Rows of the sound encoder, and logits of the speech decoder behind some text.
TEST_F(GgufSoundTest, ErrorsAreThoseOfTheTypes) {
  const auto backend = make_cpu_backend({.num_threads = 2, .isa = ""});
  const auto heard = [&](const std::string& model) {
    const auto loaded = LoadedModel::load(find_model_files(model, ""));
    const MelFrames mel = LogMel(loaded->config().audio->mel_bins).extract(sweep(2.5));
    Arena arena;
    Context ctx{*backend, arena, Precision::kExact};
    const MelFrames* const pieces[] = {&mel};
    const Tensor rows = loaded->audio().forward(ctx, pieces);
    return std::vector<float>(rows.f32(), rows.f32() + rows.numel());
  };
  const auto spoken = [&](const std::string& model) {
    SpeechSources sources = open_speech(find_model_files(model, ""));
    ConvertedStore store;
    const SpeechDecoder decoder(sources.config, *sources.weights, store);
    Arena arena;
    Context ctx{*backend, arena, Precision::kExact};
    std::vector<float> state(static_cast<size_t>(sources.config.llm_dim));
    for (size_t i = 0; i < state.size(); ++i)
      state[i] = static_cast<float>(i % 7) - 3;
    SpeechCache cache(sources.config);
    decoder.prefill_text(ctx, cache, std::vector<int32_t>{2, 5, 6, 7, 8, 9, 10}, 0, decoder.speaker(ctx, state));
    const Tensor logits = decoder.step(ctx, cache, nullptr, 5);
    return std::vector<float>(logits.f32(), logits.f32() + logits.numel());
  };
  const std::vector<float> rows = heard(folder_model_), logits = spoken(folder_model_);
  EXPECT_EQ(heard(pair_), rows);
  EXPECT_EQ(spoken(pair_), logits);
  const std::pair<const char*, double> limits[] = {{"F16", 2e-3}, {"Q8_0", 2e-2}, {"Q4_0", 0.25}};
  for (const auto& [type, limit] : limits) {
    const std::string model = converted(type);
    const double of_rows = distance(rows, heard(model)), of_logits = distance(logits, spoken(model));
    EXPECT_GT(of_rows, 0) << type;
    EXPECT_LT(of_rows, limit) << type;
    EXPECT_LT(of_logits, limit) << type;
  }
}

TEST_F(GgufSoundTest, TellsWhatAPairLacks) {
  expect_error(minicpm({"run", other_, "-p", "x", "--audio", sound_}), 2, "cannot hear sound");
  expect_error(minicpm({"speak", other_, "-p", "Hello.", "-o", path("b.wav")}), 2, "does not speak");
  // The language model without its projector.
  std::filesystem::copy_file(pair_, path("alone.gguf"));
  expect_error(minicpm({"speak", path("alone.gguf"), "-p", "Hello.", "-o", path("b.wav")}), 2, "does not speak");
  expect_error(minicpm({"transcribe", path("alone.gguf"), sound_}), 2, "cannot hear");
  // Named, it is found again.
  const Outcome named =
      minicpm({"speak", path("alone.gguf"), "--mmproj", find_gguf(std::string(MINICPM_E2E_MODELS) + "/o26-gguf", true),
               "-p", "Hello.", "-o", path("c.wav")});
  EXPECT_EQ(named.exit_code, 0) << named.err;
  const Json facts = parse_json(minicpm({"show", pair_, "--json"}).out, "the facts");
  EXPECT_TRUE(facts.at("hears").get<bool>());
  const auto speech = [](const std::string& model) {
    return parse_json(minicpm({"plan", model, "--json"}).out, "the plan").at("speech_bytes").get<int64_t>();
  };
  EXPECT_GT(speech(pair_), 0);
  EXPECT_EQ(speech(pair_), speech(folder_model_));
  EXPECT_EQ(speech(other_), 0);
}

}  // namespace
}  // namespace minicpm::e2e

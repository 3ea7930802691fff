// `run` with sound, on a checkpoint in MiniCPM-o 2.6's layout.
#include <cmath>

#include "base/json.h"
#include "e2e/support.h"

namespace minicpm::e2e {
namespace {

using ::testing::HasSubstr;

class AudioTest : public ModelTest {
 protected:
  void SetUp() override {
    ModelTest::SetUp();
    hearing_ = std::string(MINICPM_E2E_MODELS) + "/o26-hf";
  }

  /// Mono, 16 bits.
  std::string write_tone(const std::string& name, double seconds, double hz, int rate = 16000) const {
    std::string data;
    for (int i = 0; i < static_cast<int>(std::lround(seconds * rate)); ++i) {
      const auto value = static_cast<int16_t>(9000 * std::sin(6.283185307 * hz * i / rate));
      data += static_cast<char>(value & 255);
      data += static_cast<char>(value >> 8);
    }
    const auto u32 = [](size_t value) {
      std::string bytes;
      for (int shift = 0; shift < 32; shift += 8)
        bytes += static_cast<char>(value >> shift);
      return bytes;
    };
    const std::string format = std::string("\x01\0\x01\0", 4) + u32(static_cast<size_t>(rate)) +
                               u32(static_cast<size_t>(2 * rate)) + std::string("\x02\0\x10\0", 4);
    return write(name,
                 "RIFF" + u32(36 + data.size()) + "WAVEfmt " + u32(16) + format + "data" + u32(data.size()) + data);
  }

  std::string sound_name() const { return path("voice.wav"); }

  /// Ended well; notes and progress are on standard error.
  static void expect_done(const Outcome& outcome) { EXPECT_EQ(outcome.exit_code, 0) << outcome.err; }

  Json run(std::vector<std::string> arguments, const Setting& setting = {}) {
    std::vector<std::string> words = {"run", hearing_, "--json", "-n", "8", "--greedy", "-p", "What is said?"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    const Outcome outcome = minicpm(words, setting);
    expect_ok(outcome);
    return outcome.exit_code == 0 ? parse_json(outcome.out, "the output") : Json();
  }
  static int tokens(const Json& answer) { return answer.at("usage").at("audio_tokens").get<int>(); }
  static int prompt(const Json& answer) { return answer.at("usage").at("prompt_tokens").get<int>(); }

  std::string hearing_;
};

TEST_F(AudioTest, TwentyFiveRowsASecondAndTwoMarksForEach) {
  const Json none = run({});
  EXPECT_EQ(tokens(none), 0);
  const Json one = run({"--audio", write_tone("one.wav", 1, 440)});
  const Json two = run({"--audio", write_tone("two.wav", 2.5, 440)});
  EXPECT_EQ(tokens(one), 25);
  EXPECT_EQ(tokens(two), 62);
  EXPECT_EQ(prompt(two) - prompt(one), 37 + 2 * 2);
  // More than one window of the encoder.
  EXPECT_EQ(tokens(run({"--audio", write_tone("long.wav", 31, 440)})), 775);
}

TEST_F(AudioTest, WhatIsHeardCounts) {
  const std::string low = write_tone("low.wav", 1, 200), high = write_tone("high.wav", 1, 3000);
  const Json first = run({"--audio", low});
  EXPECT_EQ(first.at("tokens"), run({"--audio", low}).at("tokens"));
  EXPECT_NE(first.at("tokens"), run({"--audio", high}).at("tokens"));
  // Sounds and pictures together, sound from standard input, another rate.
  EXPECT_EQ(tokens(run({"--audio", low, "--audio", high, "--image", write_picture("p.bmp", 40, 30)})), 50);
  EXPECT_EQ(run({"--audio", "-"}, {.input = read_all(low)}).at("tokens"), first.at("tokens"));
  EXPECT_EQ(tokens(run({"--audio", write_tone("cd.wav", 1, 200, 44100)})), 25);
}

TEST_F(AudioTest, TheQuestionMayBeSpoken) {
  const std::string low = write_tone("low.wav", 1, 200);
  const Outcome spoken = minicpm({"run", hearing_, "--json", "-n", "4", "--greedy", "-p", "", "--audio", low});
  expect_ok(spoken);
  const Json answer = parse_json(spoken.out, "the output");
  EXPECT_EQ(tokens(answer), 25);
  EXPECT_LT(prompt(answer), prompt(run({"--audio", low})));
  expect_error(minicpm({"run", hearing_, "-p", ""}), 2, "the question is empty");
}

TEST_F(AudioTest, RefusesWhatCannotBeHeard) {
  const std::string sound = write_tone("a.wav", 1, 440);
  expect_error(minicpm({"run", hearing_, "-p", "x", "--audio", path("none.wav")}), 3, "none.wav");
  expect_error(minicpm({"run", hearing_, "-p", "x", "--audio", write("text.wav", "no sound")}), 4, "text.wav");
  expect_error(minicpm({"run", hearing_, "-p", "x", "--audio", write_tone("short.wav", 0.01, 440)}), 2, "too short");
  expect_error(minicpm({"run", hf_, "-p", "x", "--audio", sound}), 2, "MiniCPM-V 4.5 cannot hear sound");
}

TEST_F(AudioTest, TranscribesFiles) {
  const std::string one = write_tone("one.wav", 2, 440), two = write_tone("two.wav", 3, 800);
  const auto transcribe = [&](std::vector<std::string> arguments) {
    std::vector<std::string> words = {"transcribe", hearing_, "-n", "6"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    return minicpm(words);
  };
  const Json both = parse_json(transcribe({one, two, "--json"}).out, "the output");
  ASSERT_EQ(both.size(), 2u);
  EXPECT_EQ(both[0].at("file"), one);
  EXPECT_NEAR(both[1].at("seconds").get<double>(), 3, 1e-6);
  ASSERT_EQ(both[0].at("segments").size(), 1u);
  EXPECT_EQ(both[0].at("segments")[0].at("end"), 2.0);
  const Outcome parts = transcribe({two, "--json", "--window", "1"});
  EXPECT_GE(parse_json(parts.out, "the output")[0].at("segments").size(), 3u);

  const Outcome written = transcribe({one, two, "-o", path("out"), "--format", "srt"});
  EXPECT_EQ(written.exit_code, 0) << written.err;
  EXPECT_EQ(written.out, "");
  EXPECT_THAT(read_all(path("out/one.srt")), HasSubstr("00:00:00,000 --> 00:00:02,000"));
  EXPECT_FALSE(std::filesystem::exists(path("out/one.srt.part")));
  // What is there stays; unfinished work goes on.
  write("out/one.srt", "mine");
  const Outcome again = transcribe({one, two, "-o", path("out"), "--format", "srt"});
  EXPECT_THAT(again.err, HasSubstr("is there already"));
  EXPECT_EQ(read_all(path("out/one.srt")), "mine");
}

TEST_F(AudioTest, TranscriptsGoOnWhereTheyWere) {
  const std::string sound = write_tone("a.wav", 3, 440);
  const auto transcribe = [&] {
    return minicpm({"transcribe", hearing_, sound, "-n", "4", "--window", "1", "--format", "json", "-o", path("out")});
  };
  expect_done(transcribe());
  Json whole = parse_json(read_all(path("out/a.json")), "the transcript");
  // As if the program had ended after the first part, in the middle of a line.
  std::filesystem::remove(path("out/a.json"));
  const Json head = {{"samples", 48000},
                     {"window", 1.0},
                     {"instruction", "Please listen to the audio snippet carefully and transcribe the content."},
                     {"model", hearing_}};
  const Json& first = whole.at("segments")[0];
  const Json known = {{"begin", first.at("begin")}, {"end", first.at("end")}, {"text", "known"}, {"cut_short", false}};
  write("out/a.json.part", head.dump() + "\n" + known.dump() + "\n{\"begin\": 1.");
  expect_done(transcribe());
  const Json resumed = parse_json(read_all(path("out/a.json")), "the transcript");
  EXPECT_EQ(resumed.at("segments")[0].at("text"), "known");
  EXPECT_EQ(resumed.at("segments").size(), whole.at("segments").size());
  EXPECT_EQ(resumed.at("segments")[1], whole.at("segments")[1]);
  // Work of other settings is not used.
  std::filesystem::remove(path("out/a.json"));
  write("out/a.json.part", "{}\n" + known.dump() + "\n");
  expect_done(transcribe());
  EXPECT_EQ(parse_json(read_all(path("out/a.json")), "the transcript"), whole);
}

TEST_F(AudioTest, TranscribeRefuses) {
  const std::string sound = write_tone("a.wav", 1, 440);
  expect_error(minicpm({"transcribe", hearing_, path("none.wav")}), 3, "none.wav: no such file");
  expect_error(minicpm({"transcribe", hearing_, sound, "--window", "31"}), 2, "1 to 30 seconds");
  expect_error(minicpm({"transcribe", hearing_, sound, "--language", "fr"}), 2, "--language");
  expect_error(minicpm({"transcribe", hearing_}), 2, "FILE");
  EXPECT_EQ(minicpm({"transcribe", hf_, sound}).exit_code, 2);
}

TEST_F(AudioTest, SpeaksTexts) {
  const auto speak = [&](std::vector<std::string> arguments) {
    std::vector<std::string> words = {"speak", hearing_, "-p", "Hello. Good mornings."};
    words.insert(words.end(), arguments.begin(), arguments.end());
    return minicpm(words);
  };
  const Outcome outcome = speak({"-o", path("a.wav"), "--seed", "7", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json said = parse_json(outcome.out, "the output");
  EXPECT_EQ(said.at("segments"), 1);
  const std::string file = read_all(path("a.wav"));
  EXPECT_EQ(file.size(), 44 + 2 * 512 * said.at("frames").get<size_t>());
  EXPECT_TRUE(file.starts_with("RIFF"));
  // The same seed gives the same speech, another one or another voice another.
  expect_done(speak({"-o", path("b.wav"), "--seed", "7"}));
  EXPECT_EQ(read_all(path("b.wav")), file);
  expect_done(speak({"-o", path("c.wav"), "--seed", "8"}));
  EXPECT_NE(read_all(path("c.wav")), file);
  expect_done(speak({"-o", path("d.wav"), "--seed", "7", "--voice", write_tone("voice.wav", 2, 300)}));
  EXPECT_NE(read_all(path("d.wav")), file);
  // What was said can be heard.
  EXPECT_GT(tokens(run({"--audio", path("a.wav")})), 0);
  const Outcome raw = speak({"-o", "-", "--seed", "7"});
  EXPECT_EQ(raw.exit_code, 0);
  EXPECT_EQ(raw.out.size(), file.size() - 44);
}

TEST_F(AudioTest, AnswersCanBeSpoken) {
  const auto ask = [&](std::vector<std::string> arguments) {
    std::vector<std::string> words = {"run", hearing_, "-n", "40", "--seed", "3", "--json", "-p", "Hello"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    return minicpm(words);
  };
  const Outcome outcome = ask({"--speak", path("a.wav")});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_GT(read_all(path("a.wav")).size(), 44u);
  const Outcome other = ask({"--speak", path("b.wav"), "--voice", write_tone("voice.wav", 1, 300)});
  ASSERT_EQ(other.exit_code, 0) << other.err;
  EXPECT_NE(read_all(path("b.wav")), read_all(path("a.wav")));
  expect_error(minicpm({"run", hearing_, "-p", "x", "--speak", "a.txt"}), 2, "written as .wav, .mp3");
  expect_error(minicpm({"run", hearing_, "-p", "x", "--voice", sound_name()}), 2, "--voice goes with --speak");
  expect_error(minicpm({"run", hearing_, "--speak", path("c.wav")}), 2, "needs a question");
}

TEST_F(AudioTest, SpeechHasTheFormatOfItsFile) {
  const std::string wav = path("a.wav"), flac = path("a.flac");
  for (const std::string& file : {wav, flac}) {
    const Outcome outcome = minicpm({"speak", hearing_, "-p", "Hello. Good mornings.", "-o", file, "--seed", "7"});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  }
  EXPECT_TRUE(read_all(flac).starts_with("fLaC"));
  // Lossless: what is heard is the same.
  EXPECT_EQ(run({"--audio", flac}).at("tokens"), run({"--audio", wav}).at("tokens"));
}

TEST_F(AudioTest, SpeechFollowsItsOptions) {
  const auto speak = [&](const std::string& text, std::vector<std::string> arguments) {
    std::vector<std::string> words = {"speak", hearing_, "-o", path("a.wav"), "--seed", "7", "--json", "-p", text};
    words.insert(words.end(), arguments.begin(), arguments.end());
    const Outcome outcome = minicpm(words);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return read_all(path("a.wav"));
  };
  const std::string plain = speak("Hello.", {});
  EXPECT_EQ(speak("Hello.", {"--numbers", "digits"}), plain);  // there are none
  EXPECT_NE(speak("Hello.", {"--instruct", "Speak like an old sailor."}), plain);
  EXPECT_NE(speak("Hello.", {"--language", "zh"}), plain);
  speak("Hello.", {"--check-speech"});
}

TEST_F(AudioTest, ModesBringTheirPrompts) {
  const std::string sound = write_tone("a.wav", 1, 440);
  const auto ask = [&](std::vector<std::string> arguments) {
    std::vector<std::string> words = {"run", hearing_, "--json", "-n", "8", "--greedy"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    const Outcome outcome = minicpm(words);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return parse_json(outcome.out, "the output");
  };
  // The published prompt of a mode is what one could write oneself.
  const Json mode = ask({"--mode", "asr", "--audio", sound});
  const Json written =
      ask({"-p", "Please listen to the audio snippet carefully and transcribe the content.\n", "--audio", sound});
  EXPECT_EQ(mode.at("tokens"), written.at("tokens"));
  EXPECT_EQ(prompt(mode), prompt(written));
  EXPECT_NE(prompt(ask({"--mode", "asr", "--language", "zh", "--audio", sound})), prompt(mode));
  EXPECT_EQ(tokens(ask({"--mode", "role-play", "--voice", sound, "--audio", sound})), 50);
  EXPECT_EQ(tokens(ask({"--mode", "role-play", "-p", "Who are you?"})), 0);
  EXPECT_EQ(tokens(ask({"--mode", "mimick", "--audio", sound, "--speak", path("b.wav")})), 25);

  expect_error(minicpm({"run", hearing_, "--mode", "asr"}), 2, "needs a sound");
  expect_error(minicpm({"run", hearing_, "--mode", "asr", "--audio", sound, "-p", "x"}), 2, "takes no text");
  expect_error(minicpm({"run", hearing_, "--mode", "asr", "--audio", sound, "--voice", sound}), 2, "takes no --voice");
  expect_error(minicpm({"run", hearing_, "--mode", "voice-clone", "-p", "x"}), 2, "needs a clip");
  expect_error(minicpm({"run", hearing_, "--mode", "opera", "-p", "x"}), 2, "--mode");
  expect_error(minicpm({"run", hearing_, "-p", "x", "--check-speech"}), 2, "go with --speak");
}

TEST_F(AudioTest, SpeakRefuses) {
  expect_error(minicpm({"speak", hearing_, "-p", "Hello.", "-o", path("a.txt")}), 2, "written as .wav, .mp3");
  expect_error(minicpm({"speak", hearing_, "-p", "Hello.", "-o", path("a.wav"), "--voice", "female"}), 3,
               "female_example.wav: no such file");
  expect_error(
      minicpm({"speak", hearing_, "-p", "x", "-o", path("a.wav"), "--voice", "v.wav", "--instruct", "Slowly."}), 2,
      "exclude each other");
  expect_error(minicpm({"speak", hearing_, "-p", " ", "-o", path("a.wav")}), 2, "nothing to speak");
  expect_error(minicpm({"speak", gguf_, "-p", "Hello.", "-o", path("a.wav")}), 2, "does not speak");
  expect_error(minicpm({"speak", hearing_, "-p", "Hello.", "-o", path("a.wav"), "--voice", path("none.wav")}), 3,
               "none.wav");
  EXPECT_NE(minicpm({"speak", hf_, "-p", "Hello.", "-o", path("a.wav")}).exit_code, 0);
  EXPECT_FALSE(std::filesystem::exists(path("a.wav")));
}

TEST_F(AudioTest, TheChatTakesSound) {
  const Outcome outcome = minicpm({"run", hearing_, "-n", "4", "--greedy"},
                                  {.input = "/audio " + write_tone("a.wav", 1, 440) + "\nWhat is it?\n/quit\n"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.err, HasSubstr("1.0 s of sound"));
}

}  // namespace
}  // namespace minicpm::e2e

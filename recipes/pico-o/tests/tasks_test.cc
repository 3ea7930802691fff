// pico-o's samples: the same on every run, and their answers right.
#include "pico-o/tasks.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <sstream>

#include "pico-o/phrases.h"
#include "pico-o/source.h"
#include "pico-o/voice.h"

namespace minicpm::pico_o {
namespace {

std::vector<std::string> split(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;)
    words.push_back(word);
  return words;
}

TEST(PicoO, TheSameNumberGivesTheSameSample) {
  for (const std::string_view task : {"digits", "commands", "ask_sum"}) {
    const TrainingSample first = make(task, Split::kTrain, 3, 5, {}), other = make(task, Split::kTrain, 3, 6, {}),
                         again = make(task, Split::kTrain, 3, 5, {}), test = make(task, Split::kTest, 3, 5, {});
    const auto& sound = *first.messages[0].content.back().sound;
    EXPECT_EQ(sound, *again.messages[0].content.back().sound) << task;
    EXPECT_EQ(first.messages[1].content[0].text, again.messages[1].content[0].text);
    EXPECT_NE(sound, *other.messages[0].content.back().sound);
    EXPECT_NE(sound, *test.messages[0].content.back().sound);
    EXPECT_GT(sound.size(), 16000u / 4);
    EXPECT_LT(sound.size(), 16000u * 8);
  }
}

TEST(PicoO, EveryVoiceSpeaks) {
  pico::Random random(1);
  std::map<std::string, size_t> lengths;
  for (int i = 0; i < 40; ++i) {
    const Voice voice = draw_voice(random, i % 4 == 0, 1);
    lengths[voice.name] = say("turn left", voice).size();
  }
  EXPECT_GT(lengths.size(), 20u);
  for (const auto& [name, samples] : lengths)
    EXPECT_GT(samples, 16000u / 4) << name;
}

TEST(PicoO, SumsAreRight) {
  const std::vector<std::string> names = {"zero", "one",   "two",   "three", "four", "five",
                                          "six",  "seven", "eight", "nine",  "ten"};
  const auto number = [&](const std::string& name) {
    return static_cast<int>(std::ranges::find(names, name) - names.begin());
  };
  pico::Random random(2);
  for (int i = 0; i < 200; ++i) {
    const Phrase phrase = sum(random);
    const auto words = split(phrase.text);
    ASSERT_EQ(words.size(), 5u) << phrase.text;
    const int a = number(words[2]), b = number(words[4]);
    ASSERT_LE(std::max(a, b), 10) << phrase.text;
    const int expected = words[3] == "plus" ? a + b : words[3] == "minus" ? a - b : a * b;
    EXPECT_EQ(std::atoi(phrase.answer.c_str()), expected) << phrase.text;
  }
}

TEST(PicoO, AllThatIsSaidIsInTheListOfWords) {
  pico::Random random(3);
  for (int i = 0; i < 300; ++i) {
    for (const Phrase& phrase : {digits(random), command(random), sum(random), color_question(random)}) {
      for (const std::string& word : split(phrase.text))
        EXPECT_TRUE(std::ranges::binary_search(words(), word)) << word << " in " << phrase.text;
    }
  }
}

TEST(PicoO, RefusesWhatItDoesNotKnow) {
  EXPECT_ANY_THROW(make("poems", Split::kTrain, 1, 1, {}));
  EXPECT_ANY_THROW(make_source(R"({"mix": [{"task": "poems"}]})"));
  EXPECT_ANY_THROW(make_source(R"({"mix": [{"task": "digits", "difficulty": 2}]})"));
  EXPECT_ANY_THROW(make_source(R"({"mix": [], "seed": 1})"));
  EXPECT_EQ(make_source(R"({"size": 7, "mix": [{"task": "digits"}]})")->size(), 7);
}

}  // namespace
}  // namespace minicpm::pico_o

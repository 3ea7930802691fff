#include "scores.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace minicpm::pico {
namespace {

using ::testing::HasSubstr;

TEST(ScoresTest, EditDistance) {
  EXPECT_EQ(edit_distance("", ""), 0);
  EXPECT_EQ(edit_distance("abc", ""), 3);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("sitting", "kitten"), 3);
  EXPECT_EQ(edit_distance("word", "Word"), 1);
}

TEST(ScoresTest, KindsOfQuestions) {
  EXPECT_EQ(question_kind("How many red circles are there?", "3"), "count");
  EXPECT_EQ(question_kind("What color is the star?", "red"), "color");
  EXPECT_EQ(question_kind("What color is the star?", "I can't see that."), "absent");
  EXPECT_EQ(question_kind("Which way does the red ring move?", "left"), "motion");
  EXPECT_EQ(question_kind("Which bar is the largest?", "B"), "largest or smallest");
  EXPECT_EQ(question_kind("Read line 2.", "abc"), "line of text");
  EXPECT_EQ(question_kind("Whatever?", "yes"), "other");
}

TEST(ScoresTest, AnswersAreComparedWithoutOuterBlanks) {
  EXPECT_TRUE((Outcome{"word", "text", "", "abc ", "\nabc", 0}).exact());
  EXPECT_FALSE((Outcome{"word", "text", "", "abc", "Abc", 0}).exact());
}

TEST(ScoresTest, TalliesBecomeAPage) {
  Scores scores{"pico", 7, 3, {}};
  TaskScores word{"word", {}, {}, {}};
  word.add({"word", "text", "Read the word.", "abcd", "abcd", 0.5});
  word.add({"word", "text", "Read the word.", "abcdefgh", "abcxefgh", 1.5});
  word.add({"word", "text", "Read the word.", "abc", "abcabcabcabcabc", 1.0});  // counts as three wrong characters
  EXPECT_EQ(word.all.questions, 3);
  EXPECT_EQ(word.all.exact, 1);
  EXPECT_DOUBLE_EQ(word.all.character_error_rate(), 4.0 / 15.0);
  EXPECT_DOUBLE_EQ(word.all.seconds_per_answer(), 1.0);
  EXPECT_EQ(word.lengths["3 to 6"].questions, 2);
  EXPECT_EQ(word.lengths["7 to 10"].exact, 0);
  scores.tasks.push_back(word);
  const Json json = scores_json(scores);
  const std::string page = scores_markdown(json);
  EXPECT_THAT(page, HasSubstr("| word | 3 | 33.3 % | 26.7 % |  |  | 1.000 |"));
  EXPECT_THAT(page, HasSubstr("| word, 3 to 6 characters | 2 | 50.0 % | 42.9 % | 85 % | 92 % | 0.750 |"));
  EXPECT_THAT(fill_model_card("a\n{scores}\nb\n", json), HasSubstr("| word | 3 | 33.3 %"));
  EXPECT_THAT(scores_text(scores), HasSubstr("7 to 10 characters"));
}

}  // namespace
}  // namespace minicpm::pico

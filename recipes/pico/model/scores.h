// What an evaluation of pico counts, and how it is written down.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace minicpm::pico {

/// Insertions, deletions and replacements of characters (bytes) that turn one text into the other.
int64_t edit_distance(std::string_view from, std::string_view to);

/// Without white space at both ends.
std::string_view trimmed(std::string_view text);

/// What a question asks for: "color", "count", "place", "text", ...; "absent" where the right answer refuses.
std::string question_kind(std::string_view question, std::string_view expected);

/// One question and what became of it.
struct Outcome {
  std::string task, kind, question, expected, answer;
  double seconds = 0;

  bool exact() const { return trimmed(expected) == trimmed(answer); }
};

struct Tally {
  int64_t questions = 0, exact = 0;
  int64_t characters = 0, errors = 0;  // of the expected answers; edit distance, at most their length each
  double seconds = 0;

  void add(const Outcome& outcome);
  double share() const { return questions == 0 ? 0.0 : static_cast<double>(exact) / static_cast<double>(questions); }
  double character_error_rate() const {
    return characters == 0 ? 0.0 : static_cast<double>(errors) / static_cast<double>(characters);
  }
  double seconds_per_answer() const { return questions == 0 ? 0.0 : seconds / static_cast<double>(questions); }
};

struct TaskScores {
  std::string task;
  Tally all;
  std::map<std::string, Tally> lengths;  // of read words and numbers: "3 to 6", "7 to 10"
  std::map<std::string, Tally> kinds;

  void add(const Outcome& outcome);
};

struct Scores {
  std::string model;
  uint64_t seed = 0;
  int64_t samples = 0;  // of each generated task
  std::vector<TaskScores> tasks;
};

Json scores_json(const Scores& scores);
/// The page of docs/.
std::string scores_markdown(const Json& scores);
/// Tables of `scores` for a terminal.
std::string scores_text(const Scores& scores);
/// `card` with the line `{scores}` replaced by the table of tasks.
std::string fill_model_card(std::string card, const Json& scores);

}  // namespace minicpm::pico

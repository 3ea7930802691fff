#include "scores.h"

#include <fmt/format.h>

#include <algorithm>

namespace minicpm::pico {
namespace {

struct KindRow {
  std::string_view part;  // of the question
  std::string_view kind;
};

/// The first row that fits decides.
constexpr KindRow kKindRows[] = {
    {"How many", "count"},
    {"Count", "count"},
    {"number of", "count"},
    {"bigger or smaller", "size, one of two"},
    {"Which picture", "which picture"},
    {"differ", "difference"},
    {"same", "difference"},
    {"trend", "trend"},
    {"go up or down", "trend"},
    {"bar chart or", "kind of chart"},
    {"value", "value"},
    {"highest", "largest or smallest"},
    {"lowest", "largest or smallest"},
    {"largest", "largest or smallest"},
    {"smallest", "largest or smallest"},
    {"bigger", "size"},
    {"smaller", "size"},
    {"appears", "order"},
    {"move", "motion"},
    {"Where", "place"},
    {"left or right", "place, one of two"},
    {"above or below", "place, one of two"},
    {"left", "place"},
    {"right", "place"},
    {"top", "place"},
    {"bottom", "place"},
    {"above", "place"},
    {"below", "place"},
    {"color", "color"},
    {"result", "arithmetic"},
    {"Calculate", "arithmetic"},
    {"Solve", "arithmetic"},
    {"line", "line of text"},
    {"say", "text"},
    {"Read", "text"},
    {"written", "text"},
    {"text", "text"},
    {"word", "text"},
    {"What number", "text"},
    {"Which number", "text"},
    {"shape", "shape"},
    {"Describe", "description"},
    {"see", "description"},
    {"What is in", "description"},
};

/// Tasks whose answers are copied from the picture, so that single characters can be wrong.
constexpr std::string_view kTextTasks[] = {"letters", "word",          "digits",      "lines",
                                           "page",    "foreign words", "foreign page"};

/// What a task should reach, in percent of exact answers; 0: nothing was set.
struct GoalRow {
  std::string_view task, lengths;
  int ship, aim;
};
constexpr GoalRow kGoals[] = {
    {"shape_one", "", 97, 97},      {"shapes_two", "", 92, 95}, {"count", "", 90, 95}, {"word", "3 to 6", 85, 92},
    {"word", "7 to 10", 70, 92},    {"digits", "", 85, 85},     {"video", "", 85, 85}, {"two_pictures", "", 85, 85},
    {"chart", "", 0, 90},           {"arithmetic", "", 0, 85},  {"absent", "", 0, 90}, {"foreign words", "", 70, 70},
    {"foreign shapes", "", 90, 90},
};

bool is_text_task(std::string_view task) {
  return std::ranges::find(kTextTasks, task) != std::end(kTextTasks);
}

const GoalRow* goal_of(std::string_view task, std::string_view lengths) {
  const auto* row =
      std::ranges::find_if(kGoals, [&](const GoalRow& goal) { return goal.task == task && goal.lengths == lengths; });
  return row == std::end(kGoals) ? nullptr : row;
}

std::string length_group(std::string_view task, std::string_view expected) {
  if (task != "word" && task != "digits" && task != "foreign words") return "";
  return expected.size() <= 6 ? "3 to 6" : "7 to 10";
}

Json tally_json(const Tally& tally) {
  return {{"questions", tally.questions},
          {"exact", tally.share()},
          {"character_error_rate", tally.character_error_rate()},
          {"seconds_per_answer", tally.seconds_per_answer()}};
}

Json tallies_json(const std::map<std::string, Tally>& tallies) {
  Json out = Json::object();
  for (const auto& [name, tally] : tallies)
    out[name] = tally_json(tally);
  return out;
}

std::string percent(const Json& tally) {
  return fmt::format("{:.1f} %", 100.0 * tally["exact"].get<double>());
}

std::string goal_text(int goal) {
  return goal == 0 ? "" : fmt::format("{} %", goal);
}

std::string task_row(const std::string& task, const std::string& lengths, const Json& tally) {
  const GoalRow* goal = goal_of(task, lengths);
  const std::string name = task + (lengths.empty() ? "" : fmt::format(", {} characters", lengths));
  const std::string error_rate =
      is_text_task(task) ? fmt::format("{:.1f} %", 100.0 * tally["character_error_rate"].get<double>()) : "";
  return fmt::format("| {} | {} | {} | {} | {} | {} | {:.3f} |\n", name, tally["questions"].get<int64_t>(),
                     percent(tally), error_rate, goal_text(goal != nullptr ? goal->ship : 0),
                     goal_text(goal != nullptr ? goal->aim : 0), tally["seconds_per_answer"].get<double>());
}

std::string task_table(const Json& scores) {
  std::string out =
      "| task | questions | exact | wrong characters | to ship | aim | seconds |\n|---|---|---|---|---|---|---|\n";
  for (const Json& task : scores["tasks"]) {
    const std::string name = task["task"];
    out += task_row(name, "", task["all"]);
    for (const auto& [lengths, tally] : task["lengths"].items())
      out += task_row(name, lengths, tally);
  }
  return out;
}

}  // namespace

int64_t edit_distance(std::string_view from, std::string_view to) {
  std::vector<int64_t> row(to.size() + 1);
  for (size_t j = 0; j <= to.size(); ++j)
    row[j] = static_cast<int64_t>(j);
  for (size_t i = 1; i <= from.size(); ++i) {
    int64_t diagonal = row[0];
    row[0] = static_cast<int64_t>(i);
    for (size_t j = 1; j <= to.size(); ++j) {
      const int64_t replaced = diagonal + (from[i - 1] == to[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

std::string question_kind(std::string_view question, std::string_view expected) {
  if (expected.find("can't see") != expected.npos) return "absent";
  for (const KindRow& row : kKindRows) {
    if (question.find(row.part) != question.npos) return std::string(row.kind);
  }
  return "other";
}

void Tally::add(const Outcome& outcome) {
  const std::string_view expected = trimmed(outcome.expected), answer = trimmed(outcome.answer);
  const auto length = static_cast<int64_t>(expected.size());
  ++questions;
  exact += expected == answer ? 1 : 0;
  characters += length;
  // An answer that runs on counts as wholly wrong, not as worse than that.
  errors += std::min(length, edit_distance(expected, answer));
  seconds += outcome.seconds;
}

void TaskScores::add(const Outcome& outcome) {
  all.add(outcome);
  kinds[outcome.kind].add(outcome);
  const std::string group = length_group(task, trimmed(outcome.expected));
  if (!group.empty()) lengths[group].add(outcome);
}

Json scores_json(const Scores& scores) {
  Json tasks = Json::array();
  Tally total;
  for (const TaskScores& task : scores.tasks) {
    tasks.push_back({{"task", task.task},
                     {"all", tally_json(task.all)},
                     {"lengths", tallies_json(task.lengths)},
                     {"kinds", tallies_json(task.kinds)}});
    total.questions += task.all.questions;
    total.seconds += task.all.seconds;
  }
  return {{"model", scores.model},
          {"seed", scores.seed},
          {"samples", scores.samples},
          {"questions", total.questions},
          {"seconds_per_answer", total.seconds_per_answer()},
          {"tasks", tasks}};
}

std::string scores_markdown(const Json& scores) {
  std::string out = fmt::format(
      "# Scores of pico\n\n"
      "Written by `pico_eval --write`; the same numbers are in `recipes/pico/scores.json`. Each generated task has {} "
      "held-out\nsamples (split `test`: other random numbers and other fonts than in training, seed {}); tasks called "
      "*foreign* are\npictures that other programs drew. Every question is asked by itself, greedily, and counts as "
      "exact when the whole\nanswer is right, upper and lower case included. *Wrong characters* is the edit distance "
      "as "
      "a share of the right\ncharacters. *Seconds* is the time of one answer on one core.\n\n",
      scores["samples"].get<int64_t>(), scores["seed"].get<uint64_t>());
  out += task_table(scores);
  out += "\n## By kind of question\n\n| task | kind | questions | exact |\n|---|---|---|---|\n";
  for (const Json& task : scores["tasks"]) {
    if (task["kinds"].size() < 2) continue;
    for (const auto& [kind, tally] : task["kinds"].items()) {
      out += fmt::format("| {} | {} | {} | {} |\n", task["task"].get<std::string>(), kind,
                         tally["questions"].get<int64_t>(), percent(tally));
    }
  }
  return out;
}

std::string scores_text(const Scores& scores) {
  std::string out = fmt::format("{:<34}{:>9}{:>9}{:>9}{:>9}\n", "", "questions", "exact %", "wrong %", "seconds");
  const auto line = [&out](const std::string& name, const Tally& tally, bool text) {
    out += fmt::format("{:<34}{:>9}{:>9.1f}{:>9}{:>9.3f}\n", name, tally.questions, 100.0 * tally.share(),
                       text ? fmt::format("{:.1f}", 100.0 * tally.character_error_rate()) : "",
                       tally.seconds_per_answer());
  };
  for (const TaskScores& task : scores.tasks) {
    const bool text = is_text_task(task.task);
    line(task.task, task.all, text);
    for (const auto& [lengths, tally] : task.lengths)
      line("  " + lengths + " characters", tally, text);
    if (task.kinds.size() < 2) continue;
    for (const auto& [kind, tally] : task.kinds)
      line("  " + kind, tally, text);
  }
  return out;
}

std::string fill_model_card(std::string card, const Json& scores) {
  const std::string mark = "{scores}\n";
  if (const size_t at = card.find(mark); at != card.npos) card.replace(at, mark.size(), task_table(scores));
  return card;
}

}  // namespace minicpm::pico

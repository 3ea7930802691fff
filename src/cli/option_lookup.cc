// Questions to the tables of options.cc: which verb, which row, which name was meant.
#include <algorithm>

#include "base/error.h"
#include "cli/options.h"

namespace minicpm::cli {
namespace {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

/// Edits (insert, remove, replace, swap of neighbours) from one word to the other.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> cost(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = i + j;
        continue;
      }
      cost[i][j] =
          std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0u : 1u)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
      }
    }
  }
  return cost[a.size()][b.size()];
}

}  // namespace

bool OptionRow::takes(std::string_view verb) const {
  if (verbs == "*") return true;
  std::string name(verb);
  std::replace(name.begin(), name.end(), ' ', '-');
  const auto names = split(verbs, ' ');
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool OptionRow::repeatable() const {
  return std::holds_alternative<std::vector<MediaFile> Options::*>(field) ||
         std::holds_alternative<std::vector<std::string> Options::*>(field) ||
         std::holds_alternative<std::vector<int64_t> Options::*>(field);
}

bool OptionRow::from_settings() const {
  const auto* switch_field = std::get_if<bool Options::*>(&field);
  if (switch_field != nullptr && *switch_field == &Options::help) return false;
  const auto* text_field = std::get_if<std::string Options::*>(&field);
  if (text_field != nullptr && *text_field == &Options::settings_file) return false;
  return std::ranges::any_of(flag_names(), [](std::string_view flag) { return flag.starts_with("--"); });
}

std::string_view OptionRow::positional() const {
  const std::string_view last = flags.substr(flags.rfind(',') + 1);  // 0 without a comma
  return last.front() == '-' ? std::string_view{} : last;
}

std::vector<std::string_view> OptionRow::flag_names() const {
  auto names = split(flags, ',');
  std::erase_if(names, [](std::string_view name) { return name.front() != '-'; });
  return names;
}

std::vector<std::string_view> OptionRow::choices() const {
  return value.find('|') == std::string_view::npos ? std::vector<std::string_view>{} : split(value, '|');
}

const VerbRow* find_verb(std::string_view name) {
  for (const VerbRow& row : verb_rows()) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

std::vector<std::string_view> first_words() {
  std::vector<std::string_view> words;
  for (const VerbRow& row : verb_rows()) {
    const std::string_view word = row.name.substr(0, row.name.find(' '));
    if (std::find(words.begin(), words.end(), word) == words.end()) words.push_back(word);
  }
  return words;
}

std::vector<std::string_view> second_words(std::string_view word) {
  std::vector<std::string_view> words;
  for (const VerbRow& row : verb_rows()) {
    const bool begins = row.name.size() > word.size() && row.name.starts_with(word) && row.name[word.size()] == ' ';
    if (begins) words.push_back(row.name.substr(word.size() + 1));
  }
  return words;
}

VerbMatch match_verb(std::span<const std::string> words) {
  const auto known_word = [](std::string_view word, const std::vector<std::string_view>& known,
                             std::string_view before) {
    if (std::find(known.begin(), known.end(), word) != known.end()) return;
    const std::string_view guess = nearest(word, known);
    if (guess.empty()) {
      fail(ErrorCode::kInvalidRequest, "there is no verb \"{}{}\"; see `minicpm help`", before, word);
    }
    fail(ErrorCode::kInvalidRequest, "there is no verb \"{}{}\"; did you mean {}{}?", before, word, before, guess);
  };
  known_word(words[0], first_words(), "");
  const auto seconds = second_words(words[0]);
  if (seconds.empty()) return {find_verb(words[0]), 1};
  if (words.size() == 1 || words[1].starts_with('-')) return {nullptr, 1};
  known_word(words[1], seconds, words[0] + " ");
  return {find_verb(words[0] + " " + words[1]), 2};
}

std::string_view nearest(std::string_view word, std::span<const std::string_view> known) {
  constexpr size_t kLongestWord = 64;
  if (word.empty() || word.size() > kLongestWord) return {};
  std::string_view best;
  size_t best_distance = std::max<size_t>(1, word.size() / 3) + 1;  // a third of the letters may be wrong
  for (std::string_view name : known) {
    const size_t distance = edit_distance(word, name);
    if (distance < best_distance) {
      best = name;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace minicpm::cli

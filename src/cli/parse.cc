// Command line to Options. CLI11 sorts words into flags and values as the table says; values are read here, so that
// every complaint is one sentence that names the option.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "base/error.h"
#include "cli/options.h"
#include "cli/settings.h"

namespace minicpm::cli {
namespace {

using Words = std::vector<std::string>;

/// The name a user knows the row by: its first long flag, or the positional name.
std::string_view display_name(const OptionRow& row) {
  for (std::string_view flag : row.flag_names()) {
    if (flag.starts_with("--")) return flag;
  }
  return row.flags;
}

int64_t read_integer(const OptionRow& row, const std::string& word) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error == std::errc::invalid_argument || end != word.data() + word.size()) {
    fail(ErrorCode::kInvalidRequest, "{} needs a whole number, but got \"{}\"", display_name(row), word);
  }
  if (error == std::errc::result_out_of_range || value < row.least || value > row.most) {
    fail(ErrorCode::kInvalidRequest, "{} must be between {} and {}, but is {}", display_name(row), row.least, row.most,
         word);
  }
  return value;
}

double read_number(const OptionRow& row, const std::string& word) {
  double value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size() || !std::isfinite(value)) {
    fail(ErrorCode::kInvalidRequest, "{} needs a number, but got \"{}\"", display_name(row), word);
  }
  return value;
}

const std::string& read_word(const OptionRow& row, const std::string& word) {
  const auto choices = row.choices();
  if (!choices.empty() && std::find(choices.begin(), choices.end(), word) == choices.end()) {
    fail(ErrorCode::kInvalidRequest, "{} must be one of {}, but is \"{}\"", display_name(row), row.value, word);
  }
  return word;
}

/// Stores the words that an option got.
struct Store {
  const OptionRow& row;
  const Words& words;
  Options& options;

  void operator()(std::vector<MediaFile> Options::*) const {}  // see store_media
  void operator()(bool Options::*field) const { options.*field = true; }
  void operator()(std::string Options::*field) const { options.*field = read_word(row, words.back()); }
  void operator()(std::optional<std::string> Options::*field) const { options.*field = words.back(); }
  void operator()(std::vector<std::string> Options::*field) const { options.*field = words; }
  void operator()(std::optional<int64_t> Options::*field) const { options.*field = read_integer(row, words.back()); }
  void operator()(std::optional<double> Options::*field) const { options.*field = read_number(row, words.back()); }
  void operator()(std::vector<int64_t> Options::*field) const {
    for (const std::string& word : words)
      (options.*field).push_back(read_integer(row, word));
  }
};

using Rows = std::vector<const OptionRow*>;

Rows rows_of(const VerbRow& verb) {
  Rows rows;
  for (const OptionRow& row : option_rows()) {
    if (row.takes(verb.name)) rows.push_back(&row);
  }
  return rows;
}

CLI::Option* add(CLI::App& app, const OptionRow& row) {
  if (row.value.empty()) return app.add_flag(std::string(row.flags));
  CLI::Option* option = app.add_option(std::string(row.flags));
  if (std::holds_alternative<std::vector<int64_t> Options::*>(row.field)) option->delimiter(',');
  // A flag takes one value each time, so that a picture never swallows the word after it; a list without flags takes
  // all words. How often a flag may come is judged afterwards.
  const bool list = row.repeatable() && row.flag_names().empty();
  return option->expected(list ? -1 : 1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

bool has_flag(const OptionRow& row, std::string_view flag) {
  const auto flags = row.flag_names();
  return std::find(flags.begin(), flags.end(), flag) != flags.end();
}

/// Values that begin with a dash (`--temp -1`) would look like flags; written as --flag=value they do not. Words after
/// `--` stay as they are.
Words join_dashed_values(const Rows& rows, std::span<const std::string> words) {
  Words joined;
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--") {
      joined.insert(joined.end(), words.begin() + static_cast<ptrdiff_t>(i), words.end());
      break;
    }
    joined.push_back(words[i]);
    const auto row = std::find_if(rows.begin(), rows.end(), [&](const OptionRow* r) { return has_flag(*r, words[i]); });
    if (row == rows.end() || (*row)->value.empty() || i + 1 == words.size()) continue;
    ++i;
    if (words[i].size() > 1 && words[i][0] == '-') {
      joined.back() = std::string(display_name(**row)) + "=" + words[i];
    } else {
      joined.push_back(words[i]);
    }
  }
  return joined;
}

[[noreturn]] void fail_unknown(const VerbRow& verb, const Rows& rows, std::string word) {
  word = word.substr(0, word.find('='));
  std::vector<std::string_view> known;
  for (const OptionRow* row : rows) {
    for (std::string_view flag : row->flag_names())
      known.push_back(flag);
  }
  // After `--` a flag is an argument like any other.
  if (!word.starts_with('-') || std::find(known.begin(), known.end(), word) != known.end()) {
    fail(ErrorCode::kInvalidRequest, "\"{}\" is one argument too many; see `minicpm help {}`", word, verb.name);
  }
  const std::string_view guess = nearest(word, known);
  if (guess.empty()) {
    fail(ErrorCode::kInvalidRequest, "{} is no option of {}; see `minicpm help {}`", word, verb.name, verb.name);
  }
  fail(ErrorCode::kInvalidRequest, "{} is no option of {}; did you mean {}?", word, verb.name, guess);
}

/// CLI11 begins this message with a name of the option.
[[noreturn]] void fail_mismatch(const Rows& rows, const std::string& message) {
  const std::string name = message.substr(0, message.find_first_of(": "));
  for (const OptionRow* row : rows) {
    if (!has_flag(*row, name) && row->flags != name) continue;
    if (row->value.empty()) fail(ErrorCode::kInvalidRequest, "{} takes no value", display_name(*row));
    fail(ErrorCode::kInvalidRequest, "{} needs a value ({})", display_name(*row), row->value);
  }
  fail(ErrorCode::kInvalidRequest, "{}", message);
}

using Bound = std::vector<std::pair<const OptionRow*, const CLI::Option*>>;

/// Media files keep their order over the options of all kinds, which only CLI11's order of parsing knows.
void store_media(const CLI::App& app, const Bound& bound, Options& options) {
  constexpr std::pair<std::string_view, MediaFile::Kind> kKinds[] = {{"--image", MediaFile::Kind::kImage},
                                                                     {"--video", MediaFile::Kind::kVideo},
                                                                     {"--audio", MediaFile::Kind::kAudio},
                                                                     {"--pdf", MediaFile::Kind::kPdf}};
  std::map<const CLI::Option*, size_t> taken;
  for (const CLI::Option* option : app.parse_order()) {
    const auto found =
        std::find_if(bound.begin(), bound.end(), [&](const auto& pair) { return pair.second == option; });
    if (found == bound.end() || !std::holds_alternative<std::vector<MediaFile> Options::*>(found->first->field))
      continue;
    for (const auto& [flag, kind] : kKinds) {
      if (has_flag(*found->first, flag)) options.media.push_back({kind, option->results()[taken[option]++]});
    }
  }
}

/// A switch as the environment or a file has it.
bool read_switch(const OptionRow& row, const std::string& word) {
  constexpr std::string_view kOn[] = {"true", "on", "yes", "1"}, kOff[] = {"false", "off", "no", "0"};
  if (std::ranges::find(kOn, word) != std::end(kOn)) return true;
  if (std::ranges::find(kOff, word) != std::end(kOff)) return false;
  fail(ErrorCode::kInvalidRequest, "{} must be true or false, but is \"{}\"", display_name(row), word);
}

void store_setting(const OptionRow& row, const Setting& setting, Options& options) {
  try {
    if (row.value.empty() && !read_switch(row, setting.values.front())) return;
    std::visit(Store{row, setting.values, options}, row.field);
  } catch (const Error& error) {
    fail(error.code(), "{}: {}", setting.origin, error.what());
  }
}

/// What the command line does not say comes from the environment, then from the file that --config or MINICPM_CONFIG
/// names, for verbs that have --config for one.
void store_settings(const Rows& rows, const Bound& bound, Options& options) {
  const auto is_file = [](const OptionRow* row) {
    const auto* field = std::get_if<std::string Options::*>(&row->field);
    return field != nullptr && *field == &Options::settings_file;
  };
  if (std::ranges::none_of(rows, is_file) || options.help) return;
  const char* named = std::getenv("MINICPM_CONFIG");
  if (options.settings_file.empty() && named != nullptr) options.settings_file = named;
  const Settings settings(options.settings_file, rows);
  for (const auto& [row, option] : bound) {
    if (option->count() > 0 || !row->from_settings()) continue;
    if (const auto setting = settings.find(*row)) store_setting(*row, *setting, options);
  }
}

}  // namespace

Options parse_options(const VerbRow& verb, std::span<const std::string> arguments) {
  const Rows rows = rows_of(verb);
  CLI::App app;
  app.set_help_flag();
  Bound bound;
  for (const OptionRow* row : rows)
    bound.emplace_back(row, add(app, *row));

  Words words = join_dashed_values(rows, arguments);
  std::reverse(words.begin(), words.end());  // CLI11 takes them from the back
  try {
    app.parse(words);
  } catch (const CLI::ExtrasError&) {
    auto extras = app.remaining();
    std::erase(extras, "--");
    fail_unknown(verb, rows, extras.empty() ? std::string() : extras.front());
  } catch (const CLI::ArgumentMismatch& e) {
    fail_mismatch(rows, e.what());
  } catch (const CLI::ParseError& e) {
    fail(ErrorCode::kInvalidRequest, "{}; see `minicpm help {}`", e.what(), verb.name);
  }

  Options options;
  options.words.assign(arguments.begin(), arguments.end());
  for (const auto& [row, option] : bound) {
    if (option->count() == 0) continue;
    if (row->value.empty() && option->results().back() != "true") {
      fail(ErrorCode::kInvalidRequest, "{} takes no value", display_name(*row));
    }
    if (!row->repeatable() && !row->value.empty() && option->results().size() > 1) {
      fail(ErrorCode::kInvalidRequest, "{} is given more than once", display_name(*row));
    }
    std::visit(Store{*row, option->results(), options}, row->field);
  }
  store_media(app, bound, options);
  store_settings(rows, bound, options);
  if (options.help) return options;
  for (const auto& [row, option] : bound) {
    if (row->required && option->count() == 0) {
      fail(ErrorCode::kInvalidRequest, "{} needs a {}; see `minicpm help {}`", verb.name, row->value, verb.name);
    }
  }
  return options;
}

}  // namespace minicpm::cli

#include <fmt/format.h>

#include "base/error.h"
#include "cli/terminal.h"
#include "cli/verbs.h"

namespace minicpm::cli {
namespace {

bool takes_path(const OptionRow& row) {
  return row.value == "FILE" || row.value == "DIR" || row.value == "MODEL" || row.value == "CASE" ||
         row.value == "DATA";
}

std::string join(const std::vector<std::string_view>& words) {
  return fmt::format("{}", fmt::join(words, " "));
}

std::string verb_names() {
  return join(first_words());
}

/// The words that begin verbs of two words.
std::vector<std::string_view> groups() {
  std::vector<std::string_view> words = first_words();
  std::erase_if(words, [](std::string_view word) { return second_words(word).empty(); });
  return words;
}

/// Words that may stand as the verb's first positional argument; empty when that is a path or free text.
std::string positional_words(const VerbRow& verb) {
  for (const OptionRow& row : option_rows()) {
    if (!row.takes(verb.name) || row.positional().empty()) continue;
    if (row.value == "VERB") return verb_names();
    return join(row.choices());
  }
  return "";
}

/// Inside single quotes.
std::string shell_quoted(std::string_view text) {
  std::string result = "'";
  for (char c : text) {
    if (c == '\'') {
      result += "'\\''";
    } else {
      result += c;
    }
  }
  return result + "'";
}

std::string bash_script() {
  std::string cases;
  for (const VerbRow& verb : verb_rows()) {
    std::string flags, values;
    for (const OptionRow& row : option_rows()) {
      if (!row.takes(verb.name)) continue;
      const auto names = row.flag_names();
      if (!flags.empty() && !names.empty()) flags += ' ';
      flags += join(names);
      if (row.value.empty() || names.empty()) continue;
      const auto choices = row.choices();
      const std::string reply = !choices.empty()
                                    ? fmt::format("COMPREPLY=($(compgen -W '{}' -- \"$word\"))", join(choices))
                                : takes_path(row) ? "mapfile -t COMPREPLY < <(compgen -f -- \"$word\")"
                                                  : "COMPREPLY=()";
      values += fmt::format("        {}) {}; return ;;\n", fmt::join(names, "|"), reply);
    }
    cases += fmt::format(
        "    '{}')\n      case \"$before\" in\n{}        *) ;;\n      esac\n      flags='{}'; words='{}' ;;\n",
        verb.name, values, flags, positional_words(verb));
  }
  std::string group_cases;
  for (std::string_view group : groups()) {
    group_cases += fmt::format(
        "    {0})\n      if [ \"$COMP_CWORD\" -eq 2 ]; then COMPREPLY=($(compgen -W '{1}' -- \"$word\")); return; fi\n"
        "      verb=\"{0} ${{COMP_WORDS[2]}}\" ;;\n",
        group, join(second_words(group)));
  }
  return fmt::format(R"(# bash completion of minicpm: source <(minicpm completion bash)
_minicpm() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} verb=${{COMP_WORDS[1]}} flags='' words=''
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '{} --help --version' -- "$word"))
    return
  fi
  case "$verb" in
{}  esac
  case "$verb" in
{}    *) return ;;
  esac
  case "$word" in
    -*) COMPREPLY=($(compgen -W "$flags" -- "$word")) ;;
    *) if [ -n "$words" ]; then COMPREPLY=($(compgen -W "$words" -- "$word")); else mapfile -t COMPREPLY < <(compgen -f -- "$word"); fi ;;
  esac
}}
complete -o filenames -F _minicpm minicpm
)",
                     verb_names(), group_cases, cases);
}

/// Zsh's _arguments takes "flag[help]:what:action"; colons and brackets of the help are escaped.
std::string zsh_help(std::string_view text) {
  std::string result;
  for (char c : text) {
    if (c == ':' || c == '[' || c == ']' || c == '\\') result += '\\';
    result += c;
  }
  return result;
}

std::string zsh_action(const OptionRow& row) {
  const auto choices = row.choices();
  const std::string what = zsh_help(row.value.find('|') == std::string_view::npos ? row.value : "value");
  if (!choices.empty()) return fmt::format(":{}:({})", what, join(choices));
  if (row.value == "VERB") return fmt::format(":{}:({})", what, verb_names());
  return fmt::format(":{}:{}", what, takes_path(row) ? "_files" : " ");
}

std::string zsh_script() {
  std::string verbs, group_cases, cases;
  for (std::string_view word : first_words()) {
    const VerbRow* verb = find_verb(word);
    const std::string what = verb != nullptr ? zsh_help(verb->summary) : join(second_words(word));
    verbs += fmt::format("    {}\n", shell_quoted(fmt::format("{}:{}", word, what)));
  }
  for (std::string_view group : groups()) {
    group_cases += fmt::format(
        "    {0})\n      if (( CURRENT == 2 )); then\n        compadd {1}\n        return\n      fi\n"
        "      verb=\"{0} $words[2]\"\n      shift words\n      (( CURRENT-- )) ;;\n",
        group, join(second_words(group)));
  }
  for (const VerbRow& verb : verb_rows()) {
    cases += fmt::format("    '{}')\n      _arguments", verb.name);
    for (const OptionRow& row : option_rows()) {
      if (!row.takes(verb.name)) continue;
      for (std::string_view flag : row.flag_names()) {
        cases += fmt::format(" \\\n        {}",
                             shell_quoted(fmt::format("{}{}[{}]{}", row.repeatable() ? "*" : "", flag,
                                                      zsh_help(row.help), row.value.empty() ? "" : zsh_action(row))));
      }
      if (!row.positional().empty()) {
        cases += fmt::format(" \\\n        {}",
                             shell_quoted(fmt::format("{}{}", row.repeatable() ? "*" : "", zsh_action(row))));
      }
    }
    cases += " ;;\n";
  }
  return fmt::format(R"(#compdef minicpm
# zsh completion of minicpm
_minicpm() {{
  local -a verbs
  verbs=(
{})
  if (( CURRENT == 2 )); then
    _describe verb verbs
    return
  fi
  local verb=$words[2]
  shift words
  (( CURRENT-- ))
  case $verb in
{}  esac
  case $verb in
{}  esac
}}
_minicpm "$@"
)",
                     verbs, group_cases, cases);
}

std::string fish_script() {
  std::string text =
      "# fish completion of minicpm\n"
      "complete -c minicpm -f\n"
      "complete -c minicpm -n __fish_use_subcommand -s h -l help -d 'print an overview'\n"
      "complete -c minicpm -n __fish_use_subcommand -l version -d 'print the version'\n";
  for (std::string_view group : groups()) {
    text += fmt::format("complete -c minicpm -n __fish_use_subcommand -a {}\n", group);
  }
  for (const VerbRow& verb : verb_rows()) {
    const size_t blank = verb.name.find(' ');
    const std::string_view first = verb.name.substr(0, blank), last = verb.name.substr(blank + 1);  // 0 without one
    const std::string after_group = fmt::format(
        "__fish_seen_subcommand_from {}; and not __fish_seen_subcommand_from {}", first, join(second_words(first)));
    const bool grouped = blank != std::string_view::npos;
    text +=
        fmt::format("complete -c minicpm -n {} -a {} -d {}\n",
                    grouped ? shell_quoted(after_group) : "__fish_use_subcommand", last, shell_quoted(verb.summary));
    const std::string when =
        grouped ? fmt::format("-n '__fish_seen_subcommand_from {}; and __fish_seen_subcommand_from {}'", first, last)
                : fmt::format("-n '__fish_seen_subcommand_from {}'", verb.name);
    for (const OptionRow& row : option_rows()) {
      if (!row.takes(verb.name)) continue;
      std::string value;
      if (!row.value.empty()) {
        const auto choices = row.choices();
        value = !choices.empty() ? " -x -a " + shell_quoted(join(choices)) : takes_path(row) ? " -r -F" : " -x";
      }
      std::string flags;
      for (std::string_view flag : row.flag_names()) {
        flags += flag.starts_with("--") ? fmt::format(" -l {}", flag.substr(2)) : fmt::format(" -s {}", flag.substr(1));
      }
      if (!flags.empty())
        text += fmt::format("complete -c minicpm {}{}{} -d {}\n", when, flags, value, shell_quoted(row.help));
      if (row.positional().empty()) continue;
      const std::string words = positional_words(verb);
      if (!words.empty()) text += fmt::format("complete -c minicpm {} -a {}\n", when, shell_quoted(words));
      if (takes_path(row)) text += fmt::format("complete -c minicpm {} -F\n", when);
    }
  }
  return text;
}

}  // namespace

int run_completion(const Options& options) {
  print(options.shell == "bash" ? bash_script() : options.shell == "zsh" ? zsh_script() : fish_script());
  return kExitOk;
}

}  // namespace minicpm::cli

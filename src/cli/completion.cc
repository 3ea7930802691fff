#include <fmt/format.h>

#include "base/error.h"
#include "cli/terminal.h"
#include "cli/verbs.h"

namespace minicpm::cli {
namespace {

bool takes_path(const OptionRow& row) {
  return row.value == "FILE" || row.value == "DIR" || row.value == "MODEL" || row.value == "CASE";
}

std::string join(const std::vector<std::string_view>& words) {
  return fmt::format("{}", fmt::join(words, " "));
}

std::string verb_names() {
  std::vector<std::string_view> names;
  for (const VerbRow& verb : verb_rows())
    names.push_back(verb.name);
  return join(names);
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
        "    {})\n      case \"$before\" in\n{}        *) ;;\n      esac\n      flags='{}'; words='{}' ;;\n", verb.name,
        values, flags, positional_words(verb));
  }
  return fmt::format(R"(# bash completion of minicpm: source <(minicpm completion bash)
_minicpm() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} flags='' words=''
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '{} --help --version' -- "$word"))
    return
  fi
  case "${{COMP_WORDS[1]}}" in
{}    *) return ;;
  esac
  case "$word" in
    -*) COMPREPLY=($(compgen -W "$flags" -- "$word")) ;;
    *) if [ -n "$words" ]; then COMPREPLY=($(compgen -W "$words" -- "$word")); else mapfile -t COMPREPLY < <(compgen -f -- "$word"); fi ;;
  esac
}}
complete -o filenames -F _minicpm minicpm
)",
                     verb_names(), cases);
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
  std::string verbs, cases;
  for (const VerbRow& verb : verb_rows()) {
    verbs += fmt::format("    {}\n", shell_quoted(fmt::format("{}:{}", verb.name, zsh_help(verb.summary))));
    cases += fmt::format("    {})\n      _arguments", verb.name);
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
}}
_minicpm "$@"
)",
                     verbs, cases);
}

std::string fish_script() {
  std::string text =
      "# fish completion of minicpm\n"
      "complete -c minicpm -f\n"
      "complete -c minicpm -n __fish_use_subcommand -s h -l help -d 'print an overview'\n"
      "complete -c minicpm -n __fish_use_subcommand -l version -d 'print the version'\n";
  for (const VerbRow& verb : verb_rows()) {
    text += fmt::format("complete -c minicpm -n __fish_use_subcommand -a {} -d {}\n", verb.name,
                        shell_quoted(verb.summary));
    const std::string when = fmt::format("-n '__fish_seen_subcommand_from {}'", verb.name);
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

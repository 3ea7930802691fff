#include "cli/help.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "cli/terminal.h"
#include "cli/verbs.h"

namespace minicpm::cli {
namespace {

constexpr size_t kFlagColumns = 30;
constexpr size_t kLineColumns = 100;

struct ExitCodeRow {
  int code;
  std::string_view meaning;
};
constexpr std::array kExitCodes = {
    ExitCodeRow{kExitOk, "ok"},
    ExitCodeRow{kExitGeneral, "general error"},
    ExitCodeRow{kExitUsage, "usage: an option or a request that cannot be served"},
    ExitCodeRow{kExitNotFound, "a file, model or name was not found"},
    ExitCodeRow{kExitBadFile, "bad or unsupported file"},
    ExitCodeRow{kExitIo, "input or output failed, for example a full disk"},
    ExitCodeRow{kExitMemory, "does not fit in memory"},
    ExitCodeRow{kExitNetwork, "network"},
    ExitCodeRow{kExitRefused, "refused: authentication"},
    ExitCodeRow{kExitCheckFailed, "a check or an evaluation is below its limit"},
    ExitCodeRow{kExitTimeout, "timeout"},
    ExitCodeRow{kExitInterrupted, "interrupted"},
};

/// "  -t, --threads N" in a column, the text beside it, wrapped.
std::string entry(const std::string& left, std::string_view text) {
  std::string line = "  " + left;
  if (line.size() + 1 > kFlagColumns) {
    line += "\n" + std::string(kFlagColumns, ' ');
  } else {
    line.resize(kFlagColumns, ' ');
  }
  size_t column = kFlagColumns;
  std::string result = line;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    if (column + end > kLineColumns) {
      result += "\n" + std::string(kFlagColumns, ' ');
      column = kFlagColumns;
    }
    if (column > kFlagColumns) result += ' ';
    result += text.substr(0, end);
    column += end + 1;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return result + "\n";
}

std::string flags_text(const OptionRow& row) {
  std::string text;
  for (std::string_view flag : row.flag_names()) {
    if (!text.empty()) text += ", ";
    text += flag;
  }
  if (text.empty()) return std::string(row.value) + (row.repeatable() ? "..." : "");
  if (!row.value.empty()) text.append(" ").append(row.value);
  return text;
}

std::string indent(std::string_view lines) {
  std::string result = "  ";
  for (char c : lines) {
    result += c;
    if (c == '\n') result += "  ";
  }
  return result;
}

}  // namespace

std::string verb_help(const VerbRow& verb) {
  std::string text = fmt::format("minicpm {} - {}\n\nUsage: minicpm {}{}{}\n\n{}\n", verb.name, verb.summary, verb.name,
                                 verb.arguments.empty() ? "" : " ", verb.arguments, verb.description);
  if (!verb.examples.empty()) text += fmt::format("\nExamples:\n{}\n", indent(verb.examples));
  std::vector<std::string_view> groups;
  for (const OptionRow& row : option_rows()) {
    const bool known = std::find(groups.begin(), groups.end(), row.group) != groups.end();
    if (row.takes(verb.name) && !known) groups.push_back(row.group);
  }
  for (std::string_view group : groups) {
    text += fmt::format("\n{}:\n", group);
    for (const OptionRow& row : option_rows()) {
      if (row.takes(verb.name) && row.group == group) text += entry(flags_text(row), row.help);
    }
  }
  return text;
}

std::string group_help(std::string_view word) {
  std::string text = fmt::format("Usage: minicpm {} {} ...\n\n", word, fmt::join(second_words(word), "|"));
  for (const VerbRow& verb : verb_rows()) {
    if (verb.name.starts_with(std::string(word) + " ")) text += fmt::format("  {:<14}{}\n", verb.name, verb.summary);
  }
  return text + fmt::format("\n`minicpm help {} {}` explains one of them.\n", word, second_words(word).front());
}

std::string overview() {
  std::string text =
      "minicpm runs MiniCPM-V models on this machine: it answers questions about pictures and text.\n"
      "\n"
      "Usage: minicpm VERB ...\n"
      "\n"
      "Verbs:\n";
  for (const VerbRow& verb : verb_rows())
    text += fmt::format("  {:<12}{}\n", verb.name, verb.summary);
  text +=
      "\n"
      "To begin:\n"
      "  minicpm run MODEL -p 'What is in this picture?' --image photo.jpg\n"
      "  minicpm help run\n"
      "\n"
      "A MODEL is a folder in the Hugging Face layout, a GGUF file, the name of a model in $MINICPM_MODELS\n"
      "or share/minicpm/models (`pico` means its folder there, `pico:q8_0` its GGUF file in that format), or\n"
      "the name of a model that was pulled: `openbmb/MiniCPM-V-4_5-gguf:Q4_K_M`.\n";
  return text;
}

namespace {

std::string markdown() {
  std::string text =
      "# The command line\n"
      "\n"
      "This page is what `minicpm help --markdown` prints; a test keeps the two equal.\n"
      "\n"
      "```text\n" +
      overview() +
      "```\n"
      "\n"
      "Answers go to standard output, everything else to standard error. An error is one line, `minicpm: ...`.\n"
      "`NO_COLOR` switches dimmed text off. `MINICPM_ISA` names the kernels to use, like `--isa`.\n"
      "\n"
      "## Exit codes\n"
      "\n"
      "| code | meaning |\n"
      "|---|---|\n";
  for (const ExitCodeRow& row : kExitCodes)
    text += fmt::format("| {} | {} |\n", row.code, row.meaning);
  for (const VerbRow& verb : verb_rows()) {
    text += fmt::format("\n## minicpm {}\n\n```text\n{}```\n", verb.name, verb_help(verb));
  }
  return text;
}

}  // namespace

int run_help(const Options& options) {
  if (options.markdown) {
    print(markdown());
  } else if (options.topic.empty()) {
    print(overview());
  } else {
    const VerbMatch match = match_verb(options.topic);
    if (match.words < options.topic.size()) {
      fail(ErrorCode::kInvalidRequest, "\"{}\" is one argument too many; see `minicpm help`",
           options.topic[match.words]);
    }
    print(match.verb != nullptr ? verb_help(*match.verb) : group_help(options.topic[0]));
  }
  return kExitOk;
}

}  // namespace minicpm::cli

// The program `minicpm`: finds the verb, runs it, and turns what goes wrong into one line and an exit code.
#include <clocale>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "cli/help.h"
#include "cli/options.h"
#include "cli/terminal.h"

namespace minicpm::cli {
namespace {

const VerbRow& verb_named(const std::string& name) {
  if (const VerbRow* verb = find_verb(name)) return *verb;
  std::vector<std::string_view> known;
  for (const VerbRow& verb : verb_rows())
    known.push_back(verb.name);
  const std::string_view guess = nearest(name, known);
  if (guess.empty()) fail(ErrorCode::kInvalidRequest, "there is no verb \"{}\"; see `minicpm help`", name);
  fail(ErrorCode::kInvalidRequest, "there is no verb \"{}\"; did you mean {}?", name, guess);
}

int run(const std::vector<std::string>& words) {
  if (words.empty() || words[0] == "-h" || words[0] == "--help") {
    print(overview());
    return kExitOk;
  }
  const VerbRow& verb = verb_named(words[0] == "--version" ? "version" : words[0]);
  const Options options = parse_options(verb, std::span(words).subspan(1));
  if (!options.help) return verb.run(options);
  print(verb_help(verb));
  return kExitOk;
}

int guarded(const std::vector<std::string>& words) {
  try {
    const int code = run(words);
    flush_output();
    return code;
  } catch (const ReaderGone&) {
    return kExitOk;
  } catch (const Error& e) {
    std::fflush(stdout);  // what was printed before comes first where both go to one terminal
    print_error(e.what());
    return exit_code(e.code());
  } catch (const std::bad_alloc&) {
    print_error("out of memory");
    return kExitMemory;
  } catch (const std::exception& e) {
    print_error(std::string("internal error: ") + e.what());
    return kExitGeneral;
  }
}

}  // namespace
}  // namespace minicpm::cli

int main(int argc, char** argv) {
  using namespace minicpm::cli;
  std::setlocale(LC_CTYPE, "");  // for line editing; numbers keep their C form
  install_interrupt_handler();
  minicpm::set_log_sink([](minicpm::LogLevel level, std::string_view message) {
    if (level == minicpm::LogLevel::kWarning) note("minicpm: note: " + one_line(message) + "\n");
  });
  return guarded({argv + 1, argv + argc});
}

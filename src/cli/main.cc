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
#include "cli/verbs.h"
#include "media/sandbox/sandbox.h"

namespace minicpm::cli {
namespace {

int run(const std::vector<std::string>& words) {
  if (words.empty() || words[0] == "-h" || words[0] == "--help") {
    print(overview());
    return kExitOk;
  }
  if (words[0] == "--version") return run({"version"});
  if (words[0] == kMediaWorker && words.size() == 1) return run_media_worker(real_decoders());
  const VerbMatch match = match_verb(words);
  if (match.verb == nullptr) {
    if (words.size() > 1 && words[1] != "-h" && words[1] != "--help") {
      fail(ErrorCode::kInvalidRequest, "{} needs another word before {}; see `minicpm help {}`", words[0], words[1],
           words[0]);
    }
    print(group_help(words[0]));
    return kExitOk;
  }
  const Options options = parse_options(*match.verb, std::span(words).subspan(match.words));
  if (!options.help) return match.verb->run(options);
  print(verb_help(*match.verb));
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

#include "cli/line_reader.h"

#include <histedit.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cwchar>
#include <filesystem>
#include <iostream>
#include <system_error>

#include "cli/terminal.h"

namespace minicpm::cli {
namespace {

namespace fs = std::filesystem;

constexpr int kHistoryEntries = 1000;

/// $XDG_STATE_HOME/minicpm/history, else under ~/.local/state; empty without a home.
fs::path history_file() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return fs::path(value == nullptr ? "" : value);
  };
  fs::path state = variable("XDG_STATE_HOME");
  if (state.empty() && !variable("HOME").empty()) state = variable("HOME") / ".local/state";
  return state.empty() ? state : state / "minicpm/history";
}

class PipeReader : public LineReader {
 public:
  Outcome read(const std::string&, std::string& line) override {
    if (!std::getline(std::cin, line)) return Outcome::kEnd;
    if (line.ends_with('\r')) line.pop_back();
    return Outcome::kLine;
  }
  void remember(const std::string&) override {}
};

/// One character for libedit, straight from the terminal, so that Ctrl-C is seen as an interrupted read.
int read_character(EditLine*, wchar_t* out) {
  std::mbstate_t state = {};
  while (true) {
    std::array<pollfd, 2> polls = {pollfd{STDIN_FILENO, POLLIN, 0}, pollfd{AtPrompt::wake_fd(), POLLIN, 0}};
    const bool polled = poll(polls.data(), polls.size(), -1) >= 0;
    if (AtPrompt::interrupt_pending()) return -1;
    if (!polled && errno == EINTR) continue;
    if (!polled) return -1;
    if (polls[1].revents != 0) AtPrompt::take_interrupt();  // left from a Ctrl-C that was already answered
    if (polls[0].revents == 0) continue;
    char byte = 0;
    const ssize_t count = ::read(STDIN_FILENO, &byte, 1);
    if (count == 0) return 0;
    if (count < 0) return -1;
    // The terminal leaves a NUL for a Ctrl-D that was typed before libedit took it out of line mode.
    if (byte == '\0') byte = '\x04';
    wchar_t wide = 0;
    const size_t used = std::mbrtowc(&wide, &byte, 1, &state);
    if (used == static_cast<size_t>(-2)) continue;  // the character has more bytes
    *out = used == static_cast<size_t>(-1) ? L'?' : wide;
    return 1;
  }
}

std::string shown_prompt;
const char* prompt_of(EditLine*) {
  return shown_prompt.c_str();
}

class TerminalReader : public LineReader {
 public:
  TerminalReader() : edit_(el_init("minicpm", stdin, stderr, stderr)), history_(history_init()), file_(history_file()) {
    el_set(edit_, EL_PROMPT, prompt_of);
    el_set(edit_, EL_EDITOR, "emacs");
    el_set(edit_, EL_HIST, history, history_);
    el_set(edit_, EL_GETCFN, read_character);
    HistEvent event;
    history(history_, &event, H_SETSIZE, kHistoryEntries);
    history(history_, &event, H_SETUNIQUE, 1);
    if (!file_.empty()) history(history_, &event, H_LOAD, file_.c_str());
  }
  ~TerminalReader() override {
    history_end(history_);
    el_end(edit_);
  }

  Outcome read(const std::string& prompt, std::string& line) override {
    shown_prompt = prompt;
    const AtPrompt at_prompt;
    int count = 0;
    errno = 0;
    const char* text = el_gets(edit_, &count);
    if (AtPrompt::take_interrupt()) {
      el_reset(edit_);
      note("^C\n");
      return Outcome::kInterrupted;
    }
    if (text == nullptr || count <= 0) {
      note("\n");
      return Outcome::kEnd;
    }
    line.assign(text, static_cast<size_t>(count));
    if (line.ends_with('\n')) line.pop_back();
    return Outcome::kLine;
  }

  void remember(const std::string& entry) override {
    HistEvent event;
    history(history_, &event, H_ENTER, entry.c_str());
    if (file_.empty()) return;
    // Written after each entry, so that it survives however the program ends. A history that cannot be kept is no
    // reason to disturb the chat.
    std::error_code error;
    fs::create_directories(file_.parent_path(), error);
    if (error || history(history_, &event, H_SAVE, file_.c_str()) < 0) return;
    fs::permissions(file_, fs::perms::owner_read | fs::perms::owner_write, error);
  }

 private:
  EditLine* edit_;
  History* history_;
  fs::path file_;
};

}  // namespace

std::unique_ptr<LineReader> make_line_reader() {
  if (!input_is_terminal()) return std::make_unique<PipeReader>();
  // In the "C" locale every letter beyond ASCII would be lost.
  if (MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
  return std::make_unique<TerminalReader>();
}

}  // namespace minicpm::cli

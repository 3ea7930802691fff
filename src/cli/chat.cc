#include "cli/chat.h"

#include <fmt/format.h>

#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "cli/answer_printer.h"
#include "cli/conversation.h"
#include "cli/line_reader.h"
#include "cli/request.h"
#include "cli/terminal.h"
#include "media/log_mel.h"

namespace minicpm::cli {
namespace {

constexpr std::string_view kHelp =
    "/image FILE    add a picture to the next message\n"
    "/video FILE    add a video to the next message\n"
    "/audio FILE    add a sound to the next message\n"
    "/system TEXT   set the system message; without TEXT remove it\n"
    "/think on|off  let the model reason before it answers, or not\n"
    "/reset         forget the conversation\n"
    "/save FILE     write the conversation to a .md or .json file\n"
    "/help          this list\n"
    "/quit          end; so does Ctrl-D\n"
    "A line that ends in a backslash goes on in the next. Ctrl-C ends an answer, twice the program.\n";

std::string_view trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

/// "~/x" with the home folder in place, quotes around the whole taken off: what people paste or drag into a terminal.
std::string file_argument(std::string_view text) {
  if (text.size() > 1 && (text.front() == '"' || text.front() == '\'') && text.back() == text.front()) {
    text = text.substr(1, text.size() - 2);
  }
  const char* home = std::getenv("HOME");
  if (text.starts_with("~/") && home != nullptr) return home + std::string(text.substr(1));
  return std::string(text);
}

class Chat {
 public:
  Chat(Engine& engine, const Options& options, std::vector<NamedMedia> media)
      : engine_(engine),
        options_(options),
        terminal_(input_is_terminal()),
        thinking_(options.think == "on"),
        seed_(choose_seed(options)),
        media_(std::move(media)),
        reader_(make_line_reader()) {
    conversation_.model = options.model;
    conversation_.system = options.system.value_or("");
  }

  int run();

 private:
  enum class Next { kGoOn, kQuit, kInterrupted };

  LineReader::Outcome read_entry(std::string& entry);
  Next handle(const std::string& entry);
  Next command(std::string_view name, std::string_view argument);
  void add_media(MediaFile::Kind kind, const std::string& file);
  Next answer(const std::string& text);

  Engine& engine_;
  const Options& options_;
  bool terminal_;
  bool thinking_;
  uint64_t seed_;
  std::vector<NamedMedia> media_;  // for the next message
  Conversation conversation_;
  std::unique_ptr<LineReader> reader_;
};

/// A line, or several when they end in a backslash.
LineReader::Outcome Chat::read_entry(std::string& entry) {
  entry.clear();
  std::string line;
  std::string prompt = media_.empty() ? "> " : fmt::format("[{}] > ", media_count(media_));
  while (true) {
    const auto outcome = reader_->read(prompt, line);
    if (outcome != LineReader::Outcome::kLine) {
      return outcome == LineReader::Outcome::kEnd && !entry.empty() ? LineReader::Outcome::kLine : outcome;
    }
    const bool more = line.ends_with('\\');
    if (more) line.back() = '\n';
    entry += line;
    if (!more) return outcome;
    prompt = ". ";
  }
}

int Chat::run() {
  if (terminal_) note("Type a message and press Enter. /help lists the commands, /quit ends.\n");
  bool interrupted_before = false;
  std::string entry;
  while (true) {
    const auto outcome = read_entry(entry);
    if (outcome == LineReader::Outcome::kEnd) return kExitOk;
    if (outcome == LineReader::Outcome::kInterrupted) {
      if (interrupted_before) return kExitInterrupted;
      interrupted_before = true;
      note("Ctrl-C once more ends the program.\n");
      continue;
    }
    interrupted_before = false;
    if (trim(entry).empty()) continue;
    reader_->remember(entry);
    try {
      const Next next = handle(entry);
      if (next == Next::kQuit) return kExitOk;
      if (next == Next::kInterrupted) return kExitInterrupted;
    } catch (const OutputError&) {
      throw;
    } catch (const Error& e) {
      if (!terminal_) throw;  // a person tries again; a script should not run on with answers missing
      print_error(e.what());
    }
  }
}

Chat::Next Chat::handle(const std::string& entry) {
  const std::string_view text = trim(entry);
  const std::string_view word = text.substr(0, text.find_first_of(" \t\n"));
  // "/usr/bin is what?" is a question.
  if (text.front() != '/' || word.find('/', 1) != std::string_view::npos) {
    return answer(entry);
  }
  return command(word.substr(1), trim(text.substr(word.size())));
}

Chat::Next Chat::command(std::string_view name, std::string_view argument) {
  const auto need = [&](std::string_view what) {
    if (argument.empty()) fail(ErrorCode::kInvalidRequest, "/{} needs {}", name, what);
  };
  if (name == "quit" || name == "exit") return Next::kQuit;
  if (name == "help") {
    note(kHelp);
  } else if (name == "image" || name == "video" || name == "audio") {
    need("a file");
    const std::string file = file_argument(argument);
    if (file == "-") fail(ErrorCode::kInvalidRequest, "/{} needs a file: standard input is the chat", name);
    add_media(name == "video"   ? MediaFile::Kind::kVideo
              : name == "audio" ? MediaFile::Kind::kAudio
                                : MediaFile::Kind::kImage,
              file);
  } else if (name == "system") {
    conversation_.system = argument;
    note(argument.empty() ? "no system message\n" : "system message set\n");
  } else if (name == "think") {
    if (argument != "on" && argument != "off") fail(ErrorCode::kInvalidRequest, "/think needs on or off");
    thinking_ = argument == "on";
    note(fmt::format("reasoning is {}\n", argument));
  } else if (name == "reset") {
    conversation_.turns.clear();
    media_.clear();
    note("the conversation is forgotten\n");
  } else if (name == "save") {
    need("a file");
    const std::string file = file_argument(argument);
    conversation_.save(file);
    note(fmt::format("saved to {}\n", one_line(file)));
  } else {
    fail(ErrorCode::kInvalidRequest, "there is no command /{}; /help lists them", name);
  }
  return Next::kGoOn;
}

void Chat::add_media(MediaFile::Kind kind, const std::string& file) {
  const OpenedMedia opened = open_media(kind, file, options_);
  const Answering decoding;  // Ctrl-C ends the reading of a long video, not the chat
  media_.push_back(decode_media(opened, options_, engine_, decoding.cancel()));
  const NamedMedia& media = media_.back();
  if (opened.image != nullptr) {
    note(fmt::format("{}: {}x{}, goes with the next message\n", one_line(file), opened.image->width,
                     opened.image->height));
    return;
  }
  if (opened.sound != nullptr) {
    const double seconds = static_cast<double>(media.parts[0].sound->size()) / static_cast<double>(kAudioRate);
    note(fmt::format("{}: {:.1f} s of sound, goes with the next message\n", one_line(file), seconds));
    return;
  }
  const VideoInfo& info = opened.video->info();
  note(fmt::format("{}: {}x{}, {:.1f} s, {} frames in {} parts, goes with the next message\n", one_line(file),
                   info.width, info.height, info.seconds(), media.frames(), media.parts.size()));
}

Chat::Next Chat::answer(const std::string& text) {
  Conversation next = conversation_;
  next.turns.push_back({"user", text, media_, std::nullopt});
  ChatRequest request;
  request.messages = next.messages();
  // Each answer has its own seed, or equal questions would always get equal answers.
  request.sampling = sampling_params(options_, engine_, thinking_, seed_ + conversation_.turns.size());
  request.stop = options_.stop;
  request.thinking = thinking_;
  if (options_.max_slices) request.max_slices = static_cast<int>(*options_.max_slices);

  AnswerPrinter printer(!options_.no_stream);
  const Answering answering;
  const ChatResult result = engine_.chat(request, printer.on_delta(), answering.cancel());
  printer.finish(result);
  if (options_.verbose) print_timings(engine_, result);
  // Only now, so that a message that failed is not part of the conversation and its media wait for the next try.
  next.turns.push_back({"assistant", result.text, {}, result.reasoning});
  conversation_ = std::move(next);
  media_.clear();
  return answering.cancelled() && !terminal_ ? Next::kInterrupted : Next::kGoOn;
}

}  // namespace

int chat_loop(Engine& engine, const Options& options, std::vector<NamedMedia> media) {
  return Chat(engine, options, std::move(media)).run();
}

}  // namespace minicpm::cli

#include "cli/settings_file.h"

#include <algorithm>

#include "base/error.h"

namespace minicpm::cli {
namespace {

bool is_key(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

class SettingsReader {
 public:
  SettingsReader(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  std::vector<FileSetting> read() {
    std::vector<FileSetting> settings;
    for (skip_lines(); !at_end(); skip_lines()) {
      FileSetting setting = read_setting();
      const auto same = [&](const FileSetting& other) { return other.key == setting.key; };
      if (std::ranges::any_of(settings, same)) complain("this key came before");
      settings.push_back(std::move(setting));
    }
    return settings;
  }

 private:
  [[noreturn]] void complain(std::string_view what) const {
    fail(ErrorCode::kInvalidRequest, "{}:{}: {}", name_, line_, what);
  }

  bool at_end() const { return at_ == text_.size(); }
  char peek() const { return at_end() ? '\0' : text_[at_]; }
  char take() {
    if (at_end()) complain("ends early");
    if (text_[at_] == '\n') ++line_;
    return text_[at_++];
  }
  bool take_if(char c) {
    if (at_end() || text_[at_] != c) return false;
    take();
    return true;
  }

  void skip_blanks() {
    while (peek() == ' ' || peek() == '\t')
      ++at_;
  }
  void skip_comment() {
    if (peek() != '#') return;
    while (!at_end() && peek() != '\n')
      ++at_;
  }
  /// Blanks, comments and ends of lines.
  void skip_lines() {
    do {
      skip_blanks();
      skip_comment();
      take_if('\r');
    } while (take_if('\n'));
  }
  void end_line() {
    skip_blanks();
    skip_comment();
    take_if('\r');
    if (!at_end() && !take_if('\n')) complain("expected the end of the line");
  }

  FileSetting read_setting() {
    FileSetting setting;
    setting.line = line_;
    if (peek() == '[') complain("tables ([name]) are not known here; write `key = value` lines");
    while (is_key(peek()))
      setting.key += take();
    skip_blanks();
    if (setting.key.empty() || !take_if('='))
      complain("expected `key = value`, with a key of letters, digits, - and _");
    skip_blanks();
    if (take_if('[')) {
      setting.array = true;
      read_array(setting.values);
    } else {
      setting.values.push_back(read_value());
    }
    end_line();
    return setting;
  }

  void read_array(std::vector<std::string>& values) {
    for (skip_lines(); !take_if(']'); skip_lines()) {
      values.push_back(read_value());
      skip_lines();
      if (!take_if(',') && peek() != ']') complain("expected , or ] in an array");
    }
  }

  std::string read_value() {
    if (take_if('\'')) return read_string('\'');
    if (take_if('"')) return read_string('"');
    std::string value;
    while (is_key(peek()) || peek() == '.' || peek() == '+')
      value += take();
    const bool number = !value.empty() && std::string_view("+-0123456789").find(value[0]) != std::string_view::npos;
    if (!number && value != "true" && value != "false") complain("texts stand in quotes: key = \"value\"");
    return value;
  }

  std::string read_string(char quote) {
    std::string value;
    while (true) {
      const char c = take();
      if (c == quote) break;
      if (static_cast<unsigned char>(c) < ' ' && c != '\t') complain("a string must end on its line");
      value += c == '\\' && quote == '"' ? read_escape() : c;
    }
    if (value.empty() && peek() == quote) complain("strings over several lines are not known here");
    return value;
  }

  char read_escape() {
    switch (take()) {
      case '"':
        return '"';
      case '\\':
        return '\\';
      case 'n':
        return '\n';
      case 't':
        return '\t';
      default:
        complain(R"(of escapes only \" \\ \n and \t are known)");
    }
  }

  std::string_view text_;
  const std::string& name_;
  size_t at_ = 0;
  int line_ = 1;
};

}  // namespace

std::vector<FileSetting> parse_settings(std::string_view text, const std::string& name) {
  return SettingsReader(text, name).read();
}

}  // namespace minicpm::cli

#include "train/record_file.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace minicpm {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

bool is_blank(char c) {
  return kBlanks.find(c) != std::string_view::npos;
}

std::string_view text_of(const FileMap& map) {
  return {reinterpret_cast<const char*>(map.bytes().data()), map.size()};
}

/// Walks over the elements of a JSON array without looking into them: strings and brackets are all it knows.
class ArrayWalker {
 public:
  ArrayWalker(std::string_view text, size_t at, const std::string& name) : text_(text), at_(at), name_(name) {
    line_ += static_cast<uint64_t>(std::ranges::count(text.substr(0, at), '\n'));
    ++at_;  // the opening bracket
  }

  /// Calls visit(offset, length, line) for each element.
  template <typename Visit>
  void walk(Visit visit) {
    skip_blanks();
    bool first = true;
    while (peek() != ']') {
      if (!first) expect(',');
      first = false;
      skip_blanks();
      const size_t begin = at_;
      const uint64_t line = line_;
      skip_element();
      visit(begin, at_ - begin, line);
      skip_blanks();
    }
    ++at_;
    skip_blanks();
    if (at_ < text_.size()) fail_here("found more after the end of the array");
  }

 private:
  [[noreturn]] void fail_here(std::string_view what) const {
    fail(ErrorCode::kBadFile, "{}:{}: not a JSON array of samples: {}", name_, line_, what);
  }
  char peek() const {
    if (at_ == text_.size()) fail_here("the file ends early");
    return text_[at_];
  }
  void next() { line_ += text_[at_++] == '\n'; }
  void skip_blanks() {
    while (at_ < text_.size() && is_blank(text_[at_]))
      next();
  }
  void expect(char c) {
    if (peek() != c) fail_here(fmt::format("expected \"{}\" between samples", c));
    ++at_;
  }
  void skip_string() {
    for (++at_; peek() != '"'; next()) {
      if (text_[at_] == '\\') next();
      peek();
    }
    ++at_;
  }
  void skip_element() {
    const size_t begin = at_;
    int64_t depth = 0;
    for (;;) {
      const char c = peek();
      if (c == '"') {
        skip_string();
        continue;
      }
      if (depth == 0 && (c == ',' || c == ']')) break;
      if (c == '{' || c == '[') ++depth;
      if (c == '}' || c == ']') --depth;
      if (depth < 0) fail_here("a bracket that was not opened");
      next();
    }
    if (at_ == begin) fail_here("expected a sample");
  }

  std::string_view text_;
  size_t at_;
  uint64_t line_ = 1;
  const std::string& name_;
};

}  // namespace

RecordFile RecordFile::open(const std::filesystem::path& file) {
  RecordFile records;
  records.name_ = file.string();
  records.map_ = FileMap::open(file);
  const std::string_view text = text_of(*records.map_);
  size_t begin = text.starts_with("\xef\xbb\xbf") ? 3 : 0;  // byte order mark
  begin = std::min(text.find_first_not_of(kBlanks, begin), text.size());
  if (begin < text.size() && text[begin] == '[') {
    records.index_array(text);
  } else {
    records.index_lines(text);
  }
  if (records.records_.empty()) fail(ErrorCode::kBadFile, "{}: the file has no samples", records.name_);
  records.records_.shrink_to_fit();
  return records;
}

void RecordFile::add(uint64_t offset, uint64_t length, uint64_t line) {
  constexpr uint64_t kMost = std::numeric_limits<uint32_t>::max();
  if (length > kMost || line > kMost) {
    fail(ErrorCode::kBadFile, "{}:{}: a sample of {} bytes, expected less than 4 GiB, in less than 4 billion lines",
         name_, line, length);
  }
  records_.push_back({offset, static_cast<uint32_t>(length), static_cast<uint32_t>(line)});
}

void RecordFile::index_lines(std::string_view text) {
  uint64_t line = 1;
  for (size_t at = text.starts_with("\xef\xbb\xbf") ? 3 : 0; at < text.size(); ++line) {
    const size_t end = std::min(text.find('\n', at), text.size());
    if (text.substr(at, end - at).find_first_not_of(kBlanks) != std::string_view::npos) add(at, end - at, line);
    at = end + 1;
  }
}

void RecordFile::index_array(std::string_view text) {
  ArrayWalker walker(text, text.find('['), name_);
  walker.walk([this](uint64_t offset, uint64_t length, uint64_t line) { add(offset, length, line); });
}

std::string RecordFile::origin(int64_t index) const {
  return fmt::format("{}:{}", name_, records_.at(static_cast<size_t>(index)).line);
}

Json RecordFile::record(int64_t index) const {
  const Record& record = records_.at(static_cast<size_t>(index));
  return parse_json(text_of(*map_).substr(record.offset, record.length), origin(index));
}

}  // namespace minicpm

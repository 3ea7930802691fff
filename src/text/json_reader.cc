#include "text/json_reader.h"

#include "base/error.h"

namespace minicpm {
namespace {

constexpr size_t kMaxDepth = 64;
constexpr size_t kMaxBytes = size_t{1} << 30;  // StringList holds less than 4 GiB

/// Receives the parser's events. Values become nodes of the document, except inside the tables.
class DocumentBuilder : public nlohmann::json_sax<Json> {
 public:
  DocumentBuilder(JsonLayout layout, const std::string& source) : layout_(layout), source_(source) {}

  TokenizerDocument take() { return std::move(document_); }

  bool null() override { return value(nullptr, "null"); }
  bool boolean(bool v) override { return value(v, "a boolean"); }
  bool number_float(double v, const std::string&) override { return value(v, "a fraction or a huge number"); }
  bool binary(binary_t&) override { return false; }

  bool number_integer(int64_t v) override {
    if (table_ == Table::kVocab) fail_id(v);
    return value(v, "a number");
  }
  bool number_unsigned(uint64_t v) override {
    if (table_ != Table::kVocab) return value(v, "a number");
    if (v > INT32_MAX) fail_id(v);
    document_.tables.tokens.push_back(key_);
    document_.tables.ids.push_back(static_cast<int32_t>(v));
    return true;
  }

  bool string(std::string& v) override {
    switch (table_) {
      case Table::kMerges:
        add_merge(v);
        return true;
      case Table::kMergePair:
        if (pair_size_ >= 2) fail_merge("a list of more than two strings");
        pair_[pair_size_++].swap(v);
        return true;
      default:
        return value(std::move(v), "a string");
    }
  }

  bool key(std::string& v) override {
    key_.swap(v);
    return true;
  }

  bool start_object(size_t) override {
    if (table_ != Table::kNone) fail_value("an object");
    if (is_vocab()) {
      if (document_.has_vocab) fail(ErrorCode::kBadFile, "{}: \"vocab\" appears twice", source_);
      document_.has_vocab = true;
      table_ = Table::kVocab;
      return true;
    }
    push(Json::object());
    return true;
  }
  bool end_object() override {
    if (table_ == Table::kVocab) {
      table_ = Table::kNone;
    } else {
      open_.pop_back();
    }
    return true;
  }

  bool start_array(size_t) override {
    if (table_ == Table::kMerges) {
      table_ = Table::kMergePair;
      pair_size_ = 0;
      return true;
    }
    if (table_ != Table::kNone) fail_value("an array");
    if (is_merges()) {
      if (document_.has_merges) fail(ErrorCode::kBadFile, "{}: \"merges\" appears twice", source_);
      document_.has_merges = true;
      table_ = Table::kMerges;
      return true;
    }
    push(Json::array());
    return true;
  }
  bool end_array() override {
    if (table_ == Table::kMergePair) {
      if (pair_size_ != 2) fail_merge("a list of fewer than two strings");
      push_merge(pair_[0], pair_[1]);
      table_ = Table::kMerges;
    } else if (table_ == Table::kMerges) {
      table_ = Table::kNone;
    } else {
      open_.pop_back();
    }
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) override {
    fail(ErrorCode::kBadFile, "{}: not valid JSON at byte {}", source_, position);
  }

 private:
  enum class Table { kNone, kVocab, kMerges, kMergePair };

  bool is_vocab() const {
    if (layout_ == JsonLayout::kVocabulary) return open_.empty();
    return layout_ == JsonLayout::kTokenizer && open_.size() == 2 && in_model_ && key_ == "vocab";
  }
  bool is_merges() const {
    return layout_ == JsonLayout::kTokenizer && open_.size() == 2 && in_model_ && key_ == "merges";
  }

  bool value(Json v, std::string_view kind) {
    if (table_ != Table::kNone) fail_value(kind);
    insert(std::move(v));
    return true;
  }

  Json* insert(Json v) {
    if (open_.empty()) {
      document_.root = std::move(v);
      return &document_.root;
    }
    Json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(v));
      return &parent.back();
    }
    // Appended without a search for an equal key: that search would make large objects quadratic. Of repeated keys the
    // first one is found later.
    auto& members = parent.get_ref<Json::object_t&>();
    std::vector<Json::object_t::value_type>& list = members;
    list.emplace_back(key_, std::move(v));
    return &list.back().second;
  }

  void push(Json container) {
    if (open_.size() >= kMaxDepth) fail(ErrorCode::kBadFile, "{}: nested deeper than {} levels", source_, kMaxDepth);
    if (open_.size() == 1) in_model_ = key_ == "model" && container.is_object() && open_[0]->is_object();
    open_.push_back(insert(std::move(container)));
  }

  void add_merge(std::string_view text) {
    const size_t space = text.find(' ');
    if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) {
      fail_merge("a string without exactly one space");
    }
    push_merge(text.substr(0, space), text.substr(space + 1));
  }
  void push_merge(std::string_view left, std::string_view right) {
    if (left.empty() || right.empty()) fail_merge("an empty string");
    document_.tables.merge_left.push_back(left);
    document_.tables.merge_right.push_back(right);
  }

  template <typename Number>
  [[noreturn]] void fail_id(Number id) const {
    fail(ErrorCode::kBadFile, "{}: vocab entry \"{}\" has id {}, expected 0 to 2147483647", source_, key_, id);
  }
  [[noreturn]] void fail_merge(std::string_view found) const {
    fail(ErrorCode::kBadFile, "{}: merge {} must be \"a b\" or [\"a\", \"b\"], found {}", source_,
         document_.tables.merge_left.size(), found);
  }
  [[noreturn]] void fail_value(std::string_view found) const {
    if (table_ != Table::kVocab) fail_merge(found);
    fail(ErrorCode::kBadFile, "{}: vocab entry \"{}\" must have a whole number as id, found {}", source_, key_, found);
  }

  JsonLayout layout_;
  const std::string& source_;
  TokenizerDocument document_;
  std::vector<Json*> open_;  // containers that enclose the current place
  std::string key_;
  bool in_model_ = false;
  Table table_ = Table::kNone;
  std::string pair_[2];
  size_t pair_size_ = 0;
};

}  // namespace

TokenizerDocument read_tokenizer_document(std::string_view text, JsonLayout layout, const std::string& source) {
  if (text.size() > kMaxBytes) {
    fail(ErrorCode::kBadFile, "{}: has {} bytes, more than the {} such a file may have", source, text.size(),
         kMaxBytes);
  }
  DocumentBuilder builder(layout, source);
  if (!Json::sax_parse(text.begin(), text.end(), &builder)) {
    fail(ErrorCode::kBadFile, "{}: not valid JSON", source);
  }
  return builder.take();
}

}  // namespace minicpm

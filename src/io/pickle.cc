#include "io/pickle.h"

#include <cstring>
#include <map>

#include "base/checked.h"
#include "base/error.h"

namespace minicpm {
namespace {

using Kind = PickleValue::Kind;

class Unpickler {
 public:
  Unpickler(std::span<const std::byte> bytes, const std::string& source,
            const std::function<bool(std::string_view)>& allowed)
      : bytes_(bytes), source_(source), allowed_(allowed) {}

  PickleData run() {
    for (;;) {
      const auto opcode = number<uint8_t>();
      if (opcode == '.') break;
      if (!simple_value(opcode) && !container(opcode) && !memory(opcode) && !call(opcode)) {
        bad("has the opcode 0x{:02x} at byte {}, which plain data does not have", opcode, at_ - 1);
      }
    }
    data_.root = pop();
    if (!stack_.empty()) bad("leaves {} values behind", stack_.size());
    return std::move(data_);
  }

 private:
  template <typename... Args>
  [[noreturn]] void bad(fmt::format_string<Args...> format, Args&&... args) const {
    fail(ErrorCode::kBadFile, "{}: the pickle {}", source_, fmt::format(format, std::forward<Args>(args)...));
  }

  // ---- bytes ----

  std::string_view take(uint64_t size) {
    if (!range_inside(at_, size, bytes_.size())) bad("ends inside a value at byte {}", at_);
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + at_, size);
    at_ += size;
    return text;
  }
  /// Little-endian.
  template <typename T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string_view line() {
    const auto rest = std::string_view(reinterpret_cast<const char*>(bytes_.data()), bytes_.size()).substr(at_);
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) bad("ends inside a name at byte {}", at_);
    at_ += end + 1;
    return rest.substr(0, end);
  }

  // ---- stack ----

  void push(PickleValue value) {
    stack_.push_back(static_cast<uint32_t>(data_.values.size()));
    data_.values.push_back(std::move(value));
  }
  void push_int(int64_t value) { push({.kind = Kind::kInt, .number = value}); }
  void push_text(std::string_view text) { push({.kind = Kind::kText, .text = std::string(text)}); }
  uint32_t top() const {
    if (stack_.empty()) bad("takes a value from an empty stack before byte {}", at_);
    return stack_.back();
  }
  uint32_t pop() {
    const uint32_t index = top();
    stack_.pop_back();
    if (data_.values[index].kind == Kind::kMark) bad("takes a mark for a value before byte {}", at_);
    return index;
  }
  /// What lies above the last mark, which goes, too.
  std::vector<uint32_t> pop_to_mark() {
    size_t mark = stack_.size();
    while (mark > 0 && data_.values[stack_[mark - 1]].kind != Kind::kMark)
      --mark;
    if (mark == 0) bad("has no mark before byte {}", at_);
    std::vector<uint32_t> items(stack_.begin() + static_cast<ptrdiff_t>(mark), stack_.end());
    stack_.resize(mark - 1);
    return items;
  }
  void push_tuple(size_t count) {
    PickleValue tuple{.kind = Kind::kTuple};
    tuple.items.resize(count);
    for (size_t i = count; i-- > 0;)
      tuple.items[i] = pop();
    push(std::move(tuple));
  }
  /// A list or a dictionary that gets members; an ordered dictionary counts as one.
  void extend(uint32_t target, Kind kind, std::span<const uint32_t> items) {
    PickleValue& value = data_.values[target];
    if (value.kind != kind || (kind == Kind::kDict && items.size() % 2 != 0)) {
      bad("adds members to a value that has none before byte {}", at_);
    }
    value.items.insert(value.items.end(), items.begin(), items.end());
  }

  // ---- opcodes, by their names in Python's pickletools ----

  bool simple_value(uint8_t opcode) {
    switch (opcode) {
      case 0x80:  // PROTO
        if (const auto version = number<uint8_t>(); version < 2 || version > 4) bad("has protocol {}", version);
        return true;
      case 0x95:  // FRAME
        number<uint64_t>();
        return true;
      case 'N':  // NONE
        push({});
        return true;
      case 0x88:  // NEWTRUE
      case 0x89:  // NEWFALSE
        push({.kind = Kind::kBool, .number = opcode == 0x88 ? 1 : 0});
        return true;
      case 'J':  // BININT
        push_int(number<int32_t>());
        return true;
      case 'K':  // BININT1
        push_int(number<uint8_t>());
        return true;
      case 'M':  // BININT2
        push_int(number<uint16_t>());
        return true;
      case 0x8a:  // LONG1
        push_int(long_number(number<uint8_t>()));
        return true;
      case 'G':  // BINFLOAT, the one big-endian number
        push({.kind = Kind::kFloat, .real = big_endian_double()});
        return true;
      case 'X':  // BINUNICODE
        push_text(take(number<uint32_t>()));
        return true;
      case 0x8c:  // SHORT_BINUNICODE
        push_text(take(number<uint8_t>()));
        return true;
      default:
        return false;
    }
  }

  int64_t long_number(size_t size) {
    if (size > 8) bad("has a number of {} bytes", size);
    const std::string_view text = take(size);
    uint64_t value = !text.empty() && (static_cast<uint8_t>(text.back()) & 0x80) != 0 ? ~uint64_t{0} : 0;
    for (size_t i = size; i-- > 0;)
      value = value << 8 | static_cast<uint8_t>(text[i]);
    return static_cast<int64_t>(value);
  }
  double big_endian_double() {
    uint64_t bits = number<uint64_t>();
    bits = __builtin_bswap64(bits);
    double value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }

  bool container(uint8_t opcode) {
    switch (opcode) {
      case '(':  // MARK
        push({.kind = Kind::kMark});
        return true;
      case ')':  // EMPTY_TUPLE
        push({.kind = Kind::kTuple});
        return true;
      case 0x85:  // TUPLE1
      case 0x86:  // TUPLE2
      case 0x87:  // TUPLE3
        push_tuple(opcode - 0x84u);
        return true;
      case 't':  // TUPLE
        push({.kind = Kind::kTuple, .items = pop_to_mark()});
        return true;
      case ']':  // EMPTY_LIST
        push({.kind = Kind::kList});
        return true;
      case '}':  // EMPTY_DICT
        push({.kind = Kind::kDict});
        return true;
      case 'a': {  // APPEND
        const uint32_t item = pop();
        extend(top(), Kind::kList, {&item, 1});
        return true;
      }
      case 'e': {  // APPENDS
        const auto items = pop_to_mark();
        extend(top(), Kind::kList, items);
        return true;
      }
      case 's': {  // SETITEM
        const uint32_t value = pop(), key = pop(), both[] = {key, value};
        extend(top(), Kind::kDict, both);
        return true;
      }
      case 'u': {  // SETITEMS
        const auto items = pop_to_mark();
        extend(top(), Kind::kDict, items);
        return true;
      }
      default:
        return false;
    }
  }

  bool memory(uint8_t opcode) {
    switch (opcode) {
      case 'q':  // BINPUT
        put(number<uint8_t>());
        return true;
      case 'r':  // LONG_BINPUT
        put(number<uint32_t>());
        return true;
      case 0x94:  // MEMOIZE
        put(static_cast<uint32_t>(memo_.size()));
        return true;
      case 'h':  // BINGET
        get(number<uint8_t>());
        return true;
      case 'j':  // LONG_BINGET
        get(number<uint32_t>());
        return true;
      default:
        return false;
    }
  }
  void put(uint32_t key) {
    if (data_.values[top()].kind == Kind::kMark) bad("remembers a mark before byte {}", at_);
    memo_[key] = top();
  }
  void get(uint32_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) bad("recalls value {}, which it did not remember", key);
    stack_.push_back(found->second);
  }

  bool call(uint8_t opcode) {
    switch (opcode) {
      case 'c': {  // GLOBAL
        const std::string module(line());
        global(module, line());
        return true;
      }
      case 0x93: {  // STACK_GLOBAL
        const uint32_t name = pop(), module = pop();
        if (data_.at(name).kind != Kind::kText || data_.at(module).kind != Kind::kText) bad("names no global");
        global(std::string(data_.at(module).text), std::string(data_.at(name).text));
        return true;
      }
      case 'Q': {  // BINPERSID
        const uint32_t id = pop();
        push({.kind = Kind::kPersistent, .items = {id}});
        return true;
      }
      case 'R': {  // REDUCE
        const uint32_t arguments = pop(), function = pop();
        if (data_.at(function).kind != Kind::kGlobal || data_.at(arguments).kind != Kind::kTuple) {
          bad("calls what is no function before byte {}", at_);
        }
        const bool dictionary =
            data_.at(function).text == "collections OrderedDict" && data_.at(arguments).items.empty();
        if (dictionary) {
          push({.kind = Kind::kDict});
        } else {
          push({.kind = Kind::kCall, .items = {function, arguments}});
        }
        return true;
      }
      case 'b':  // BUILD: attributes of an object, such as the versions in a state dictionary, which say nothing here
        pop();
        top();
        return true;
      default:
        return false;
    }
  }
  void global(std::string_view module, std::string_view name) {
    const std::string text = fmt::format("{} {}", module, name);
    if (!allowed_(text)) {
      fail(ErrorCode::kUnsupported, "{}: the pickle needs Python's {}.{}; only files of plain tensors are read",
           source_, module, name);
    }
    push({.kind = Kind::kGlobal, .text = text});
  }

  std::span<const std::byte> bytes_;
  const std::string& source_;
  const std::function<bool(std::string_view)>& allowed_;
  size_t at_ = 0;
  PickleData data_;
  std::vector<uint32_t> stack_;
  std::map<uint32_t, uint32_t> memo_;
};

}  // namespace

PickleData read_pickle(std::span<const std::byte> bytes, const std::string& source,
                       const std::function<bool(std::string_view global)>& allowed) {
  return Unpickler(bytes, source, allowed).run();
}

}  // namespace minicpm

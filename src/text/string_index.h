// Many short strings in one block of memory, and a hash index over them: a vocabulary of 150,000 tokens in a few
// allocations.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace minicpm {

/// Strings stored end to end. The owner keeps their total below 4 GiB.
class StringList {
 public:
  void push_back(std::string_view text) {
    bytes_ += text;
    ends_.push_back(static_cast<uint32_t>(bytes_.size()));
  }
  void reserve(size_t count, size_t bytes) {
    ends_.reserve(count);
    bytes_.reserve(bytes);
  }
  size_t size() const { return ends_.size(); }
  size_t total_bytes() const { return bytes_.size(); }
  /// Valid until the next push_back.
  std::string_view operator[](size_t i) const {
    const uint32_t begin = i == 0 ? 0 : ends_[i - 1];
    return std::string_view(bytes_).substr(begin, ends_[i] - begin);
  }

 private:
  std::string bytes_;
  std::vector<uint32_t> ends_;
};

/// Finds the position of a string in a StringList. Open addressing, at most half full.
class StringIndex {
 public:
  /// Room for `count` strings.
  explicit StringIndex(size_t count = 0) {
    size_t slots = 16;
    while (slots < 2 * count)
      slots *= 2;
    slots_.assign(slots, kEmpty);
  }

  /// Adds position `i` of `list`; false (and no change) if the string is there already.
  bool insert(const StringList& list, size_t i) {
    size_t slot = start(list[i]);
    for (; slots_[slot] != kEmpty; slot = next(slot)) {
      if (list[slots_[slot]] == list[i]) return false;
    }
    slots_[slot] = static_cast<uint32_t>(i);
    return true;
  }

  std::optional<size_t> find(const StringList& list, std::string_view text) const {
    for (size_t slot = start(text); slots_[slot] != kEmpty; slot = next(slot)) {
      if (list[slots_[slot]] == text) return slots_[slot];
    }
    return std::nullopt;
  }

 private:
  static constexpr uint32_t kEmpty = UINT32_MAX;
  size_t start(std::string_view text) const { return std::hash<std::string_view>{}(text) & (slots_.size() - 1); }
  size_t next(size_t slot) const { return (slot + 1) & (slots_.size() - 1); }

  std::vector<uint32_t> slots_;
};

}  // namespace minicpm

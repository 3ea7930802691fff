// Python's pickle format, restricted to plain data: numbers, texts, lists, tuples, dictionaries, and the calls that a
// reader allows. Nothing is ever imported or run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace minicpm {

/// A value; others are named by their place in PickleData::values.
struct PickleValue {
  enum class Kind { kNone, kBool, kInt, kFloat, kText, kTuple, kList, kDict, kGlobal, kPersistent, kCall, kMark };
  Kind kind = Kind::kNone;
  int64_t number = 0;  // kBool, kInt
  double real = 0;     // kFloat
  std::string text;    // kText; kGlobal: "module name"
  /// Members; kDict: key, value, key, value, ...; kPersistent: the id; kCall: the function and its arguments' tuple.
  std::vector<uint32_t> items;
};

struct PickleData {
  std::vector<PickleValue> values;
  uint32_t root = 0;

  const PickleValue& at(uint32_t index) const { return values[index]; }
};

/// Reads protocols 2 to 4. A global that `allowed` does not know ends it with Error unsupported; other opcodes than
/// those of plain data, and damage, with bad_file. `source` names the pickle in messages.
PickleData read_pickle(std::span<const std::byte> bytes, const std::string& source,
                       const std::function<bool(std::string_view global)>& allowed);

}  // namespace minicpm

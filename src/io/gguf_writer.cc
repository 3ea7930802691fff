#include <algorithm>
#include <bit>
#include <limits>
#include <set>

#include "base/error.h"
#include "io/atomic_file.h"
#include "io/gguf.h"
#include "io/gguf_types.h"

namespace minicpm {
namespace {

using gguf::ValueType;

constexpr uint32_t kVersion = 3;

template <typename T>
void append(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

void append_string(std::string& out, const std::string& text) {
  append(out, static_cast<uint64_t>(text.size()));
  out += text;
}

/// What a value's type_name says: a plain type, or an array of it.
struct StoredType {
  ValueType type;
  bool is_array;
};

StoredType stored_type(const std::string& key, const GgufValue& value) {
  std::string_view name = value.type_name;
  const bool is_array = name.starts_with(gguf::kArrayPrefix);
  if (is_array) name.remove_prefix(gguf::kArrayPrefix.size());
  const auto type = gguf::value_type_from_name(name);
  if (!type || *type == ValueType::kArray) {
    fail(ErrorCode::kInvalidRequest, "metadata \"{}\": there is no type \"{}\"", key, value.type_name);
  }
  return {*type, is_array};
}

[[noreturn]] void fail_value(const std::string& key, const std::string& type_name) {
  fail(ErrorCode::kInvalidRequest, "metadata \"{}\": the value is not of type {} or outside its range", key, type_name);
}

template <typename T, typename Value>
void append_integer(std::string& out, Value value, const std::string& key, const std::string& type_name) {
  if (!std::in_range<T>(value)) fail_value(key, type_name);
  append(out, static_cast<T>(value));
}

/// Appends one number given as int64, uint64, double or bool.
template <typename Value>
void append_number(std::string& out, ValueType type, Value value, const std::string& key, const std::string& name) {
  if constexpr (std::is_same_v<Value, bool>) {
    if (type != ValueType::kBool) fail_value(key, name);
    append(out, static_cast<uint8_t>(value));
  } else if constexpr (std::is_same_v<Value, double>) {
    if (type == ValueType::kF32) return append(out, static_cast<float>(value));
    if (type == ValueType::kF64) return append(out, value);
    fail_value(key, name);
  } else {
    switch (type) {
      case ValueType::kU8:
        return append_integer<uint8_t>(out, value, key, name);
      case ValueType::kI8:
        return append_integer<int8_t>(out, value, key, name);
      case ValueType::kU16:
        return append_integer<uint16_t>(out, value, key, name);
      case ValueType::kI16:
        return append_integer<int16_t>(out, value, key, name);
      case ValueType::kU32:
        return append_integer<uint32_t>(out, value, key, name);
      case ValueType::kI32:
        return append_integer<int32_t>(out, value, key, name);
      case ValueType::kU64:
        return append_integer<uint64_t>(out, value, key, name);
      case ValueType::kI64:
        return append_integer<int64_t>(out, value, key, name);
      case ValueType::kBool:  // elements of arrays of bool are kept as integers
        if (value != 0 && value != 1) fail_value(key, name);
        return append(out, static_cast<uint8_t>(value));
      default:
        fail_value(key, name);
    }
  }
}

struct ValueAppender {
  std::string& out;
  ValueType type;
  bool is_array;
  const std::string& key;
  const std::string& name;

  void operator()(const std::string& text) const {
    if (is_array || type != ValueType::kString) fail_value(key, name);
    append_string(out, text);
  }
  void operator()(const std::vector<std::string>& texts) const {
    if (!is_array || type != ValueType::kString) fail_value(key, name);
    append_array_header(texts.size());
    for (const std::string& text : texts)
      append_string(out, text);
  }
  template <typename T>
  void operator()(const std::vector<T>& values) const {
    if (!is_array) fail_value(key, name);
    append_array_header(values.size());
    for (T value : values)
      append_number(out, type, value, key, name);
  }
  template <typename T>
  void operator()(T value) const {
    if (is_array) fail_value(key, name);
    append_number(out, type, value, key, name);
  }
  void append_array_header(size_t count) const {
    append(out, static_cast<uint32_t>(type));
    append(out, static_cast<uint64_t>(count));
  }
};

void append_value(std::string& out, const std::string& key, const GgufValue& value) {
  const StoredType stored = stored_type(key, value);
  append(out, static_cast<uint32_t>(stored.is_array ? ValueType::kArray : stored.type));
  std::visit(ValueAppender{out, stored.type, stored.is_array, key, value.type_name}, value.value);
}

void append_tensor_info(std::string& out, const TensorToWrite& tensor, uint64_t offset) {
  const auto number = gguf::number_of_dtype(tensor.dtype);
  if (!number) {
    fail(ErrorCode::kInvalidRequest, "tensor \"{}\": GGUF files cannot hold {}", tensor.name, name(tensor.dtype));
  }
  const bool has_zero = std::ranges::find(tensor.dims, 0) != tensor.dims.end();
  if (tensor.name.empty() || tensor.dims.empty() || tensor.dims.size() > kMaxRank || has_zero) {
    fail(ErrorCode::kInvalidRequest, "tensor \"{}\": GGUF files cannot hold shape {}", tensor.name,
         shape_string(tensor.dims));
  }
  append_string(out, tensor.name);
  append(out, static_cast<uint32_t>(tensor.dims.size()));
  for (auto dim = tensor.dims.rbegin(); dim != tensor.dims.rend(); ++dim)
    append(out, static_cast<uint64_t>(*dim));
  append(out, *number);
  append(out, offset);
}

uint64_t alignment_of(const std::vector<std::pair<std::string, GgufValue>>& metadata) {
  for (const auto& [key, value] : metadata) {
    if (key != gguf::kAlignmentKey) continue;
    const auto* alignment = std::get_if<int64_t>(&value.value);
    if (alignment == nullptr || *alignment < 1 || *alignment > 4096 ||
        !std::has_single_bit(static_cast<uint64_t>(*alignment))) {
      fail(ErrorCode::kInvalidRequest, "metadata \"{}\": must be a power of two up to 4096", key);
    }
    return static_cast<uint64_t>(*alignment);
  }
  return gguf::kDefaultAlignment;
}

}  // namespace

void GgufWriter::set(std::string key, GgufValue value) {
  for (auto& [existing, old] : metadata_) {
    if (existing == key) {
      old = std::move(value);
      return;
    }
  }
  metadata_.emplace_back(std::move(key), std::move(value));
}

void GgufWriter::set_u32(std::string key, uint32_t value) {
  set(std::move(key), {static_cast<int64_t>(value), "u32"});
}
void GgufWriter::set_i32(std::string key, int32_t value) {
  set(std::move(key), {static_cast<int64_t>(value), "i32"});
}
void GgufWriter::set_f32(std::string key, float value) {
  set(std::move(key), {static_cast<double>(value), "f32"});
}
void GgufWriter::set_bool(std::string key, bool value) {
  set(std::move(key), {value, "bool"});
}
void GgufWriter::set_string(std::string key, std::string value) {
  set(std::move(key), {std::move(value), "string"});
}
void GgufWriter::set_strings(std::string key, std::vector<std::string> values) {
  set(std::move(key), {std::move(values), "array of string"});
}
void GgufWriter::set_i32s(std::string key, std::vector<int64_t> values) {
  set(std::move(key), {std::move(values), "array of i32"});
}
void GgufWriter::set_f32s(std::string key, std::vector<double> values) {
  set(std::move(key), {std::move(values), "array of f32"});
}

void GgufWriter::add_tensor(std::string name, Weight view) {
  tensors_.push_back(tensor_to_write(std::move(name), view));
}

void GgufWriter::add_tensor(TensorToWrite tensor) {
  tensors_.push_back(std::move(tensor));
}

void GgufWriter::write(const std::filesystem::path& file) const {
  const uint64_t alignment = alignment_of(metadata_);
  std::string header(gguf::kMagic);
  append(header, kVersion);
  append(header, static_cast<uint64_t>(tensors_.size()));
  append(header, static_cast<uint64_t>(metadata_.size()));
  for (const auto& [key, value] : metadata_) {
    append_string(header, key);
    append_value(header, key, value);
  }
  std::set<std::string_view> names;
  uint64_t offset = 0;
  for (const TensorToWrite& tensor : tensors_) {
    if (!names.insert(tensor.name).second) {
      fail(ErrorCode::kInvalidRequest, "tensor \"{}\" was added twice", tensor.name);
    }
    append_tensor_info(header, tensor, offset);
    offset = (offset + static_cast<uint64_t>(tensor.bytes()) + alignment - 1) / alignment * alignment;
  }
  AtomicFile out(file);
  out.write(header);
  out.pad_to(alignment);
  for (const TensorToWrite& tensor : tensors_) {
    write_tensor(out, tensor);
    out.pad_to(alignment);
  }
  out.commit();
}

}  // namespace minicpm

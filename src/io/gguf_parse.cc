#include "io/gguf_parse.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string_view>
#include <type_traits>
#include <unordered_set>

#include "base/checked.h"
#include "base/error.h"
#include "io/gguf_types.h"
#include "io/tensor_table.h"

namespace minicpm::gguf {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF numbers are read in place");

// Arrays grow up to eight times when they become int64 in memory; published vocabularies stay below a million entries.
constexpr uint64_t kMaxArrayElements = uint64_t{1} << 25;
// name length, dimension count, one dimension, type, offset
constexpr uint64_t kLeastTensorInfoBytes = 8 + 1 + 4 + 8 + 4 + 8;
// key length, one letter, type, one byte of value
constexpr uint64_t kLeastKeyValueBytes = 8 + 1 + 4 + 1;

/// Reads forward through the header; running out of bytes is an error that says inside what.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, const std::string& path) : bytes_(bytes), path_(path) {}

  template <typename T>
  T read(std::string_view what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what), sizeof(T));
    return value;
  }

  std::string read_string(std::string_view what) {
    const auto length = read<uint64_t>(what);
    if (length > remaining()) {
      fail(ErrorCode::kBadFile, "{}: {} claims a length of {} bytes, only {} are left in the file", path_, what, length,
           remaining());
    }
    const auto* text = reinterpret_cast<const char*>(take(length, what));
    return {text, text + length};
  }

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return bytes_.size() - position_; }
  const std::string& path() const { return path_; }

 private:
  const std::byte* take(uint64_t n, std::string_view what) {
    if (n > remaining()) fail(ErrorCode::kBadFile, "{}: the file ends inside {}", path_, what);
    const std::byte* result = bytes_.data() + position_;
    position_ += n;
    return result;
  }

  std::span<const std::byte> bytes_;
  const std::string& path_;
  uint64_t position_ = 0;
};

/// One number of `type`, which is neither string nor array. Unsigned values beyond int64 keep the unsigned alternative.
template <typename Sink>
void read_number(Cursor& in, ValueType type, const std::string& what, Sink sink) {
  switch (type) {
    case ValueType::kU8:
      return sink(static_cast<int64_t>(in.read<uint8_t>(what)));
    case ValueType::kI8:
      return sink(static_cast<int64_t>(in.read<int8_t>(what)));
    case ValueType::kU16:
      return sink(static_cast<int64_t>(in.read<uint16_t>(what)));
    case ValueType::kI16:
      return sink(static_cast<int64_t>(in.read<int16_t>(what)));
    case ValueType::kU32:
      return sink(static_cast<int64_t>(in.read<uint32_t>(what)));
    case ValueType::kI32:
      return sink(static_cast<int64_t>(in.read<int32_t>(what)));
    case ValueType::kI64:
      return sink(in.read<int64_t>(what));
    case ValueType::kF32:
      return sink(static_cast<double>(in.read<float>(what)));
    case ValueType::kF64:
      return sink(in.read<double>(what));
    case ValueType::kU64: {
      const auto value = in.read<uint64_t>(what);
      return value > static_cast<uint64_t>(INT64_MAX) ? sink(value) : sink(static_cast<int64_t>(value));
    }
    case ValueType::kBool: {
      const auto value = in.read<uint8_t>(what);
      if (value > 1) fail(ErrorCode::kBadFile, "{}: {} is a bool with the value {}", in.path(), what, value);
      return sink(value == 1);
    }
    case ValueType::kString:
    case ValueType::kArray:
      break;
  }
  MINICPM_CHECK(false);
}

ValueType read_value_type(Cursor& in, const std::string& what) {
  const auto type = static_cast<ValueType>(in.read<uint32_t>(what));
  if (value_type_name(type).empty()) {
    fail(ErrorCode::kUnsupported, "{}: {} has the unknown value type {}", in.path(), what, static_cast<uint32_t>(type));
  }
  return type;
}

void read_numbers(Cursor& in, ValueType type, uint64_t count, const std::string& what, GgufValue& out) {
  if (type == ValueType::kF32 || type == ValueType::kF64) {
    std::vector<double> values(count);
    for (double& value : values)
      read_number(in, type, what, [&](auto v) { value = static_cast<double>(v); });
    out.value = std::move(values);
    return;
  }
  std::vector<int64_t> values(count);
  for (int64_t& value : values) {
    read_number(in, type, what, [&](auto v) {
      if constexpr (std::is_same_v<decltype(v), uint64_t>) {
        fail(ErrorCode::kUnsupported, "{}: {} holds {}, which is above the range of int64", in.path(), what, v);
      } else {
        value = static_cast<int64_t>(v);
      }
    });
  }
  out.value = std::move(values);
}

GgufValue read_array(Cursor& in, const std::string& what, uint64_t& array_elements_left) {
  const ValueType type = read_value_type(in, what);
  const auto count = in.read<uint64_t>(what);
  if (type == ValueType::kArray) {
    fail(ErrorCode::kUnsupported, "{}: {} is an array of arrays, which is not supported", in.path(), what);
  }
  const auto least = checked_mul(count, least_value_bytes(type));
  if (!least || *least > in.remaining()) {
    fail(ErrorCode::kBadFile, "{}: {} claims {} elements, more than the {} bytes left in the file can hold", in.path(),
         what, count, in.remaining());
  }
  if (count > array_elements_left) {
    fail(ErrorCode::kUnsupported, "{}: {} has {} elements; the arrays of a file may have {} together", in.path(), what,
         count, kMaxArrayElements);
  }
  array_elements_left -= count;
  GgufValue out;
  out.type_name = std::string(kArrayPrefix) + std::string(value_type_name(type));
  if (type != ValueType::kString) {
    read_numbers(in, type, count, what, out);
    return out;
  }
  std::vector<std::string> strings;
  strings.reserve(count);
  for (uint64_t i = 0; i < count; ++i)
    strings.push_back(in.read_string(what));
  out.value = std::move(strings);
  return out;
}

GgufValue read_value(Cursor& in, const std::string& what, uint64_t& array_elements_left) {
  const ValueType type = read_value_type(in, what);
  if (type == ValueType::kArray) return read_array(in, what, array_elements_left);
  GgufValue out;
  out.type_name = value_type_name(type);
  if (type == ValueType::kString) {
    out.value = in.read_string(what);
  } else {
    read_number(in, type, what, [&](auto v) { out.value = v; });
  }
  return out;
}

struct Header {
  uint32_t version;
  uint64_t tensor_count, key_value_count;
};

Header read_header(Cursor& in) {
  const auto magic = in.read<std::array<char, 4>>("the magic number");
  if (std::string_view(magic.data(), magic.size()) != kMagic) {
    fail(ErrorCode::kBadFile, "{}: is not a GGUF file (it does not start with \"GGUF\")", in.path());
  }
  Header header{};
  header.version = in.read<uint32_t>("the version");
  if (header.version != 2 && header.version != 3) {
    const bool swapped = header.version != 0 && (header.version & 0xffff) == 0;
    fail(ErrorCode::kUnsupported, "{}: GGUF version {}{}; versions 2 and 3 are supported", in.path(), header.version,
         swapped ? " (a big-endian file)" : "");
  }
  header.tensor_count = in.read<uint64_t>("the tensor count");
  header.key_value_count = in.read<uint64_t>("the metadata count");
  const auto check = [&](uint64_t count, uint64_t least_bytes, std::string_view what) {
    const auto bytes = checked_mul(count, least_bytes);
    if (!bytes || *bytes > in.remaining()) {
      fail(ErrorCode::kBadFile, "{}: claims {} {}, more than a file of its size can hold", in.path(), count, what);
    }
  };
  check(header.tensor_count, kLeastTensorInfoBytes, "tensors");
  check(header.key_value_count, kLeastKeyValueBytes, "metadata entries");
  return header;
}

void read_metadata(Cursor& in, uint64_t count, ParsedFile& out) {
  std::unordered_set<std::string> keys;
  uint64_t array_elements_left = kMaxArrayElements;
  for (uint64_t i = 0; i < count; ++i) {
    std::string key = in.read_string("a metadata key");
    if (key.empty()) fail(ErrorCode::kBadFile, "{}: metadata entry {} has an empty key", in.path(), i);
    if (!keys.insert(key).second) fail(ErrorCode::kBadFile, "{}: the key \"{}\" occurs twice", in.path(), key);
    GgufValue value = read_value(in, "metadata \"" + key + "\"", array_elements_left);
    out.metadata.emplace_back(std::move(key), std::move(value));
  }
}

uint32_t read_alignment(const ParsedFile& file, const std::string& path) {
  const GgufValue* value = find_value(file, kAlignmentKey);
  if (value == nullptr) return kDefaultAlignment;
  const auto* alignment = std::get_if<int64_t>(&value->value);
  if (alignment == nullptr) {
    fail(ErrorCode::kBadFile, "{}: {} must be u32, found {}", path, kAlignmentKey, value->type_name);
  }
  // A page is the most that mapping guarantees for the start of the data.
  constexpr int64_t kMaxAlignment = 4096;
  if (*alignment < 1 || *alignment > kMaxAlignment || !std::has_single_bit(static_cast<uint64_t>(*alignment))) {
    fail(ErrorCode::kBadFile, "{}: {} must be a power of two up to {}, found {}", path, kAlignmentKey, kMaxAlignment,
         *alignment);
  }
  return static_cast<uint32_t>(*alignment);
}

/// A tensor as the header states it; the data offset counts from the start of the data part.
struct TensorInfo {
  StoredTensor tensor;
  uint64_t bytes = 0, offset = 0;
};

/// Sets dims and dtype from the stored form: innermost dimension first. Checks shape against type.
uint64_t set_shape(Cursor& in, std::span<const uint64_t> stored_dims, uint32_t type, StoredTensor& tensor) {
  const auto dtype = dtype_from_number(type);
  if (!dtype) {
    fail(ErrorCode::kUnsupported, "{}: tensor \"{}\" has type {}, which is not supported", in.path(), tensor.name,
         describe_tensor_type(type));
  }
  for (uint64_t dim : stored_dims) {
    if (dim == 0) fail(ErrorCode::kBadFile, "{}: tensor \"{}\" has a dimension of 0", in.path(), tensor.name);
  }
  const DTypeInfo& format = info(*dtype);
  if (stored_dims[0] % static_cast<uint64_t>(format.block_elements) != 0) {
    fail(ErrorCode::kBadFile, "{}: tensor \"{}\" has rows of {} elements, but {} stores blocks of {}", in.path(),
         tensor.name, stored_dims[0], format.name, format.block_elements);
  }
  const auto elements = checked_product(stored_dims);
  const auto bytes = elements ? checked_mul(static_cast<uint64_t>(*elements / format.block_elements),
                                            static_cast<uint64_t>(format.block_bytes))
                              : std::nullopt;
  if (!bytes || *bytes > static_cast<uint64_t>(INT64_MAX)) {
    fail(ErrorCode::kBadFile, "{}: the size of tensor \"{}\" overflows", in.path(), tensor.name);
  }
  tensor.view.dtype = *dtype;
  tensor.view.rank = static_cast<int>(stored_dims.size());
  for (size_t i = 0; i < stored_dims.size(); ++i)
    tensor.view.dims[stored_dims.size() - 1 - i] = static_cast<int64_t>(stored_dims[i]);
  return *bytes;
}

TensorInfo read_tensor_info(Cursor& in) {
  TensorInfo out;
  out.tensor.file = in.path();
  out.tensor.name = in.read_string("a tensor name");
  if (out.tensor.name.empty()) fail(ErrorCode::kBadFile, "{}: a tensor has no name", in.path());
  const std::string what = "the description of tensor \"" + out.tensor.name + "\"";
  const auto rank = in.read<uint32_t>(what);
  if (rank < 1 || rank > kMaxRank) {
    fail(ErrorCode::kBadFile, "{}: tensor \"{}\" has {} dimensions; 1 to {} are possible", in.path(), out.tensor.name,
         rank, kMaxRank);
  }
  uint64_t dims[kMaxRank];
  for (uint32_t i = 0; i < rank; ++i)
    dims[i] = in.read<uint64_t>(what);
  const auto type = in.read<uint32_t>(what);
  out.offset = in.read<uint64_t>(what);
  out.bytes = set_shape(in, {dims, rank}, type, out.tensor);
  return out;
}

/// Points the tensor's view at its bytes.
void place(TensorInfo& info, std::span<const std::byte> data, uint32_t alignment) {
  const StoredTensor& tensor = info.tensor;
  if (info.offset % alignment != 0) {
    fail(ErrorCode::kBadFile, "{}: tensor \"{}\" starts at offset {}, which is not a multiple of the alignment {}",
         tensor.file, tensor.name, info.offset, alignment);
  }
  if (!range_inside(info.offset, info.bytes, data.size())) {
    fail(ErrorCode::kBadFile, "{}: tensor \"{}\" needs {} bytes at offset {}, the file holds {} bytes of data",
         tensor.file, tensor.name, info.bytes, info.offset, data.size());
  }
  const std::byte* begin = data.data() + info.offset;
  if (reinterpret_cast<uintptr_t>(begin) % static_cast<uintptr_t>(element_alignment(tensor.view.dtype)) != 0) {
    fail(ErrorCode::kUnsupported, "{}: the data of tensor \"{}\" is not aligned for {}", tensor.file, tensor.name,
         name(tensor.view.dtype));
  }
  info.tensor.view.data = begin;
}

}  // namespace

const GgufValue* find_value(const ParsedFile& file, std::string_view key) {
  for (const auto& [name, value] : file.metadata) {
    if (name == key) return &value;
  }
  return nullptr;
}

ParsedFile parse(std::span<const std::byte> bytes, const std::string& path) {
  Cursor in(bytes, path);
  const Header header = read_header(in);
  ParsedFile out;
  out.version = static_cast<int>(header.version);
  read_metadata(in, header.key_value_count, out);
  const uint32_t alignment = read_alignment(out, path);

  std::vector<TensorInfo> infos;
  std::unordered_set<std::string> names;
  for (uint64_t i = 0; i < header.tensor_count; ++i) {
    infos.push_back(read_tensor_info(in));
    if (!names.insert(infos.back().tensor.name).second) {
      fail(ErrorCode::kBadFile, "{}: tensor \"{}\" occurs twice", path, infos.back().tensor.name);
    }
  }
  const uint64_t data_start = std::min<uint64_t>((in.position() + alignment - 1) / alignment * alignment, bytes.size());
  for (TensorInfo& info : infos) {
    place(info, bytes.subspan(data_start), alignment);
    out.tensors.push_back(std::move(info.tensor));
  }
  check_no_overlap(out.tensors);
  return out;
}

}  // namespace minicpm::gguf

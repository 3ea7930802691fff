#include "io/npy.h"

#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/checked.h"
#include "base/file_map.h"

namespace minicpm {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";

std::optional<DType> dtype_of(std::string_view descr) {
  if (descr == "<f4") return DType::kF32;
  if (descr == "<f8") return DType::kF64;
  if (descr == "|u1" || descr == "<u1") return DType::kU8;
  if (descr == "<i4") return DType::kI32;
  if (descr == "<i8") return DType::kI64;
  return std::nullopt;
}

/// The header: a Python dict literal with the keys descr, fortran_order and shape.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& path) : text_(text), path_(path) {}

  struct Header {
    std::string_view descr;
    std::vector<uint64_t> shape;
  };

  Header parse() {
    Header header;
    bool has_shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string_view key = quoted();
      expect(':');
      if (key == "descr") {
        header.descr = quoted();
      } else if (key == "fortran_order") {
        if (word() != "False") fail(ErrorCode::kUnsupported, "{}: arrays in Fortran order are not supported", path_);
      } else if (key == "shape") {
        header.shape = tuple();
        has_shape = true;
      } else {
        bad("an unknown key");
      }
      accept(',');
    }
    if (header.descr.empty() || !has_shape) bad("no element type or no shape");
    return header;
  }

 private:
  [[noreturn]] void bad(std::string_view what) {
    fail(ErrorCode::kBadFile, "{}: the array header holds {} at byte {}", path_, what, position_);
  }
  void skip_spaces() {
    while (position_ < text_.size() && (text_[position_] == ' ' || text_[position_] == '\n'))
      ++position_;
  }
  bool accept(char c) {
    skip_spaces();
    if (position_ >= text_.size() || text_[position_] != c) return false;
    ++position_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) bad("something unexpected");
  }
  std::string_view quoted() {
    expect('\'');
    const size_t end = text_.find('\'', position_);
    if (end == std::string_view::npos) bad("an unfinished string");
    const std::string_view result = text_.substr(position_, end - position_);
    position_ = end + 1;
    return result;
  }
  std::string_view word() {
    skip_spaces();
    const size_t begin = position_;
    while (position_ < text_.size() && std::isalnum(static_cast<unsigned char>(text_[position_])))
      ++position_;
    return text_.substr(begin, position_ - begin);
  }
  std::vector<uint64_t> tuple() {
    std::vector<uint64_t> dims;
    expect('(');
    while (!accept(')')) {
      const std::string_view digits = word();
      uint64_t dim = 0;
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), dim);
      if (error != std::errc() || end != digits.data() + digits.size()) bad("a dimension that is no number");
      dims.push_back(dim);
      accept(',');
    }
    return dims;
  }

  std::string_view text_;
  const std::string& path_;
  size_t position_ = 0;
};

template <typename T>
std::span<const T> typed(const NpyArray& array, DType dtype) {
  MINICPM_CHECK(array.dtype == dtype);
  return {reinterpret_cast<const T*>(array.data.data()), array.data.size() / sizeof(T)};
}

}  // namespace

std::span<const float> NpyArray::f32() const {
  return typed<float>(*this, DType::kF32);
}
std::span<const uint8_t> NpyArray::u8() const {
  return typed<uint8_t>(*this, DType::kU8);
}
std::span<const int64_t> NpyArray::i64() const {
  return typed<int64_t>(*this, DType::kI64);
}

NpyArray parse_npy(std::span<const std::byte> bytes, const std::string& path) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.size() < 10 || !text.starts_with(kMagic)) {
    fail(ErrorCode::kBadFile, "{}: is not an .npy file (it does not start with \\x93NUMPY)", path);
  }
  const int major = static_cast<unsigned char>(text[6]);
  if (major < 1 || major > 3) fail(ErrorCode::kUnsupported, "{}: .npy version {} is not supported", path, major);
  const size_t length_bytes = major == 1 ? 2 : 4;  // little-endian
  const size_t start = 8 + length_bytes;
  if (text.size() < start) fail(ErrorCode::kBadFile, "{}: the file ends inside the header length", path);
  size_t length = 0;
  for (size_t i = 0; i < length_bytes; ++i)
    length |= static_cast<size_t>(static_cast<unsigned char>(text[8 + i])) << (8 * i);
  if (!range_inside(start, length, text.size())) {
    fail(ErrorCode::kBadFile, "{}: the header of {} bytes does not fit into the file of {}", path, length, text.size());
  }
  const auto header = HeaderParser(text.substr(start, length), path).parse();

  const auto dtype = dtype_of(header.descr);
  if (!dtype) fail(ErrorCode::kUnsupported, "{}: element type '{}' is not supported", path, header.descr);
  const auto elements = checked_product(header.shape);
  const auto size = elements ? checked_mul(static_cast<uint64_t>(*elements), info(*dtype).block_bytes) : std::nullopt;
  const std::span<const std::byte> data = bytes.subspan(start + length);
  if (!size || *size != data.size()) {
    fail(ErrorCode::kBadFile, "{}: shape and element type do not match the {} bytes of data", path, data.size());
  }
  NpyArray array;
  array.dtype = *dtype;
  for (uint64_t dim : header.shape) {
    if (dim > static_cast<uint64_t>(INT64_MAX)) fail(ErrorCode::kBadFile, "{}: a dimension is too large", path);
    array.shape.push_back(static_cast<int64_t>(dim));
  }
  array.data.assign(data.begin(), data.end());
  return array;
}

NpyArray read_npy(const std::filesystem::path& file) {
  const auto map = FileMap::open(file);
  return parse_npy(map->bytes(), map->path());
}

}  // namespace minicpm

// GGUF files that are cut off, contradictory or made to exhaust memory: each is refused with a sentence.
#include <cstring>
#include <random>

#include "io/gguf_parse.h"
#include "io_test_util.h"

namespace minicpm {
namespace {

using namespace testing_io;
using ::testing::AllOf;
using ::testing::HasSubstr;

// Value types and tensor types by number, as files hold them.
constexpr uint32_t kU8 = 0, kU32 = 4, kBool = 7, kString = 8, kArray = 9, kU64 = 10;
constexpr uint32_t kTensorF32 = 0, kTensorF16 = 1, kTensorQ4_K = 12, kTensorI64 = 27;

std::string text(std::string_view value) {
  return raw(static_cast<uint64_t>(value.size())) + std::string(value);
}

std::string entry(std::string_view key, uint32_t type, const std::string& value) {
  return text(key) + raw(type) + value;
}

std::string tensor(std::string_view name, const std::vector<uint64_t>& dims, uint32_t type, uint64_t offset) {
  std::string out = text(name) + raw(static_cast<uint32_t>(dims.size()));
  for (uint64_t dim : dims)
    out += raw(dim);
  return out + raw(type) + raw(offset);
}

struct Raw {
  std::vector<std::string> metadata;
  std::vector<std::string> tensors;
  size_t data_bytes = 0;
  uint32_t version = 3;
  size_t alignment = 32;

  std::string header() const {
    std::string out = "GGUF" + raw(version) + raw(uint64_t{tensors.size()}) + raw(uint64_t{metadata.size()});
    for (const std::string& part : metadata)
      out += part;
    for (const std::string& part : tensors)
      out += part;
    return out;
  }
  std::string file() const {
    std::string out = header();
    out.append((alignment - out.size() % alignment) % alignment, '\0');
    return out.append(data_bytes, '\1');
  }
};

gguf::ParsedFile parse(const std::string& bytes) {
  return gguf::parse(Bytes(bytes), "bad.gguf");
}

std::string refusal(const Raw& file, ErrorCode code = ErrorCode::kBadFile) {
  return error_message(code, [&] { parse(file.file()); });
}

Raw small_file() {
  Raw file;
  file.metadata = {entry("general.name", kString, text("x")), entry("n", kU32, raw(uint32_t{7})),
                   entry("list", kArray, raw(kString) + raw(uint64_t{2}) + text("a") + text("")),
                   entry("numbers", kArray, raw(kU8) + raw(uint64_t{3}) + "abc")};
  file.tensors = {tensor("a", {4, 2}, kTensorF32, 0), tensor("b", {256}, kTensorQ4_K, 32)};
  file.data_bytes = 32 + 144;
  return file;
}

TEST(GgufHostile, TheUndamagedFileIsRead) {
  for (uint32_t version : {2u, 3u}) {
    Raw file = small_file();
    file.version = version;
    const std::string bytes = file.file();
    const Bytes block(bytes);
    const gguf::ParsedFile parsed = gguf::parse(block, "ok.gguf");
    EXPECT_EQ(parsed.metadata.size(), 4u);
    ASSERT_EQ(parsed.tensors.size(), 2u);
    EXPECT_THAT(parsed.tensors[0].view.shape(), ::testing::ElementsAre(2, 4));
  }
}

TEST(GgufHostile, EveryTruncationIsRefused) {
  const std::string bytes = small_file().file();
  for (size_t size = 0; size < bytes.size(); ++size) {
    const std::string message = error_message(ErrorCode::kBadFile, [&] { parse(bytes.substr(0, size)); });
    EXPECT_THAT(message, HasSubstr("bad.gguf: ")) << size;
  }
}

TEST(GgufHostile, EveryByteOfTheHeaderMayBeWrong) {
  // Whatever a byte becomes, the file is read or refused; memory errors and hangs are what this looks for.
  const Raw file = small_file();
  const std::string bytes = file.file();
  int refused = 0;
  for (size_t at = 0; at < file.header().size(); ++at) {
    for (int value : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(value);
      try {
        parse(damaged);
      } catch (const Error&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 100);
}

TEST(GgufHostile, RandomDamage) {
  constexpr unsigned kSeed = 4711;
  SCOPED_TRACE(::testing::Message() << "seed " << kSeed);
  std::mt19937 engine(kSeed);
  const std::string bytes = small_file().file();
  for (int round = 0; round < 20000; ++round) {
    std::string damaged = bytes;
    for (unsigned i = 0; i < 1 + engine() % 4; ++i)
      damaged[engine() % damaged.size()] = static_cast<char>(engine());
    try {
      parse(damaged);
    } catch (const Error&) {
    }
  }
}

TEST(GgufHostile, MagicAndVersion) {
  EXPECT_THAT(error_message(ErrorCode::kBadFile, [] { parse("PK\x03\x04" + std::string(64, '\0')); }),
              HasSubstr("is not a GGUF file"));
  EXPECT_THAT(error_message(ErrorCode::kBadFile, [] { parse(""); }), HasSubstr("ends inside the magic number"));
  for (uint32_t version : {0u, 1u, 4u, 0xffffffffu}) {
    Raw file;
    file.version = version;
    EXPECT_THAT(refusal(file, ErrorCode::kUnsupported), HasSubstr("versions 2 and 3"));
  }
  Raw swapped;
  swapped.version = 0x03000000;
  EXPECT_THAT(refusal(swapped, ErrorCode::kUnsupported), HasSubstr("big-endian"));
}

TEST(GgufHostile, CountsBeyondTheFile) {
  for (uint64_t count : {uint64_t{1000}, uint64_t{1} << 32, uint64_t{1} << 63, UINT64_MAX}) {
    const std::string tensors = "GGUF" + raw(3u) + raw(count) + raw(uint64_t{0});
    EXPECT_THAT(error_message(ErrorCode::kBadFile, [&] { parse(tensors); }), HasSubstr("tensors"));
    const std::string entries = "GGUF" + raw(3u) + raw(uint64_t{0}) + raw(count);
    EXPECT_THAT(error_message(ErrorCode::kBadFile, [&] { parse(entries); }), HasSubstr("metadata entries"));
    Raw array;
    array.metadata = {entry("a", kArray, raw(kU64) + raw(count))};
    EXPECT_THAT(refusal(array), HasSubstr("elements"));
    Raw strings;
    strings.metadata = {entry("a", kArray, raw(kString) + raw(count))};
    EXPECT_THAT(refusal(strings), HasSubstr("elements"));
  }
}

TEST(GgufHostile, StringLengthsBeyondTheFile) {
  for (uint64_t length : {uint64_t{200}, uint64_t{1} << 32, uint64_t{1} << 63, UINT64_MAX}) {
    Raw key;
    key.metadata = {raw(length) + "key" + raw(kU32) + raw(7u)};
    EXPECT_THAT(refusal(key), HasSubstr("claims a length"));
    Raw value;
    value.metadata = {entry("key", kString, raw(length) + "abc")};
    EXPECT_THAT(refusal(value), AllOf(HasSubstr("metadata \"key\""), HasSubstr("claims a length")));
    Raw name;
    name.tensors = {raw(length) + tensor("a", {1}, kTensorF32, 0)};
    EXPECT_THAT(refusal(name), HasSubstr("claims a length"));
  }
}

TEST(GgufHostile, MetadataTypes) {
  Raw file;
  file.metadata = {entry("a", 13, raw(0u))};
  EXPECT_THAT(refusal(file, ErrorCode::kUnsupported), HasSubstr("unknown value type 13"));
  file.metadata = {entry("a", kArray, raw(kArray) + raw(uint64_t{1}) + raw(kU8) + raw(uint64_t{1}) + "x")};
  EXPECT_THAT(refusal(file, ErrorCode::kUnsupported), HasSubstr("array of arrays"));
  file.metadata = {entry("a", kArray, raw(99u) + raw(uint64_t{1}) + "xxxx")};
  EXPECT_THAT(refusal(file, ErrorCode::kUnsupported), HasSubstr("unknown value type 99"));
  file.metadata = {entry("a", kBool, "\x02")};
  EXPECT_THAT(refusal(file), HasSubstr("bool with the value 2"));
  file.metadata = {entry("a", kArray, raw(kU64) + raw(uint64_t{1}) + raw(UINT64_MAX))};
  EXPECT_THAT(refusal(file, ErrorCode::kUnsupported), HasSubstr("above the range"));
}

TEST(GgufHostile, RepeatedAndEmptyNames) {
  Raw file;
  file.metadata = {entry("a", kBool, "\x01"), entry("a", kBool, "\x01")};
  EXPECT_THAT(refusal(file), HasSubstr("\"a\" occurs twice"));
  file.metadata = {entry("", kU32, raw(1u))};
  EXPECT_THAT(refusal(file), HasSubstr("empty key"));
  Raw tensors;
  tensors.data_bytes = 64;
  tensors.tensors = {tensor("t", {1}, kTensorF32, 0), tensor("t", {1}, kTensorF32, 32)};
  EXPECT_THAT(refusal(tensors), HasSubstr("\"t\" occurs twice"));
  tensors.tensors = {tensor("", {1, 1}, kTensorF32, 0)};
  EXPECT_THAT(refusal(tensors), HasSubstr("no name"));
}

TEST(GgufHostile, Shapes) {
  Raw file;
  file.data_bytes = 64;
  const auto with = [&](std::vector<uint64_t> dims, uint32_t type) {
    file.tensors = {tensor("t", dims, type, 0)};
    return refusal(file);
  };
  EXPECT_THAT(with({}, kTensorF32) + std::string(), HasSubstr("0 dimensions"));
  EXPECT_THAT(with({1, 1, 1, 1, 1}, kTensorF32), HasSubstr("5 dimensions"));
  EXPECT_THAT(with({0}, kTensorF32), HasSubstr("dimension of 0"));
  EXPECT_THAT(with({4, 0, 3}, kTensorF32), HasSubstr("dimension of 0"));
  EXPECT_THAT(with({uint64_t{1} << 63}, kTensorF32), HasSubstr("overflows"));
  EXPECT_THAT(with({uint64_t{1} << 32, uint64_t{1} << 32}, kTensorF32), HasSubstr("overflows"));
  EXPECT_THAT(with({uint64_t{1} << 62}, kTensorF32), HasSubstr("overflows"));
  EXPECT_THAT(with({(uint64_t{1} << 32) + 1, (uint64_t{1} << 32) - 1, 2, 2}, kTensorF32), HasSubstr("overflows"));
  EXPECT_THAT(with({100, 4}, kTensorQ4_K), AllOf(HasSubstr("100"), HasSubstr("Q4_K"), HasSubstr("256")));
}

TEST(GgufHostile, TensorTypes) {
  Raw file;
  file.data_bytes = 64;
  file.tensors = {tensor("blk.0.ffn_up.weight", {256}, 16, 0)};
  EXPECT_THAT(refusal(file, ErrorCode::kUnsupported),
              AllOf(HasSubstr("blk.0.ffn_up.weight"), HasSubstr("16 (IQ2_XXS)")));
  for (uint32_t type : {4u, 5u, 9u, 15u, 31u, 36u, 999u, 0xffffffffu}) {
    file.tensors = {tensor("t", {256}, type, 0)};
    EXPECT_THAT(refusal(file, ErrorCode::kUnsupported), HasSubstr("has type " + std::to_string(type)));
  }
}

TEST(GgufHostile, Offsets) {
  Raw file;
  file.data_bytes = 64;
  const auto at = [&](uint64_t offset) {
    file.tensors = {tensor("t", {8}, kTensorF32, offset)};
    return refusal(file);
  };
  EXPECT_THAT(at(4), HasSubstr("not a multiple of the alignment 32"));
  EXPECT_THAT(at(64), HasSubstr("needs 32 bytes at offset 64"));
  EXPECT_THAT(at(uint64_t{1} << 63), HasSubstr("needs 32 bytes"));
  EXPECT_THAT(at(UINT64_MAX - 31), HasSubstr("needs 32 bytes"));
  file.tensors = {tensor("t", {17}, kTensorF32, 0)};
  EXPECT_THAT(refusal(file), HasSubstr("needs 68 bytes"));
  file.tensors = {tensor("t", {16}, kTensorF32, 0)};
  EXPECT_NO_THROW(parse(file.file()));
}

TEST(GgufHostile, OverlappingTensors) {
  Raw file;
  file.data_bytes = 128;
  file.tensors = {tensor("second", {8}, kTensorF32, 32), tensor("first", {9}, kTensorF32, 0)};
  EXPECT_THAT(refusal(file), HasSubstr("\"first\" and \"second\" overlap"));
  file.tensors = {tensor("one", {8}, kTensorF32, 32), tensor("two", {1}, kTensorF16, 32)};
  EXPECT_THAT(refusal(file), HasSubstr("overlap"));
}

TEST(GgufHostile, Alignment) {
  for (uint32_t alignment : {0u, 3u, 24u, 33u, 8192u, 0x80000000u, 0xffffffffu}) {
    Raw file;
    file.metadata = {entry("general.alignment", kU32, raw(alignment))};
    EXPECT_THAT(refusal(file), HasSubstr("power of two")) << alignment;
  }
  Raw file;
  file.metadata = {entry("general.alignment", kString, text("32"))};
  EXPECT_THAT(refusal(file), HasSubstr("must be u32, found string"));
  // A legal but small alignment may leave data where its elements cannot be read in place.
  file.alignment = 1;
  file.metadata = {entry("general.alignment", kU32, raw(1u))};
  file.data_bytes = 64;
  int readable = 0;
  for (uint64_t offset = 0; offset < 8; ++offset) {
    file.tensors = {tensor("t", {2}, kTensorI64, offset)};
    try {
      parse(file.file());
      ++readable;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("is not aligned for I64"));
    }
  }
  EXPECT_EQ(readable, 1);
}

TEST(GgufHostile, FileWithoutTensorsOrDataIsValid) {
  EXPECT_NO_THROW(parse(Raw().file()));
  EXPECT_NO_THROW(parse(Raw().header()));
}

}  // namespace
}  // namespace minicpm

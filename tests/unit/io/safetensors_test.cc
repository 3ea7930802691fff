#include "io/safetensors.h"

#include <algorithm>
#include <cstring>
#include <random>

#include "base/json.h"
#include "io/memory_source.h"
#include "io_test_util.h"

namespace minicpm {
namespace {

using namespace testing_io;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string safetensors(std::string_view header, std::string_view data) {
  return raw(static_cast<uint64_t>(header.size())) + std::string(header) + std::string(data);
}

/// Pads the header so that the data starts aligned, as writers do.
std::string padded(std::string header, std::string_view data) {
  header.append((8 - header.size() % 8) % 8, ' ');
  return safetensors(header, data);
}

std::vector<StoredTensor> parse(const std::string& text) {
  return parse_safetensors(Bytes(text), "bad.safetensors");
}

std::string refusal(const std::string& header, std::string_view data = "12345678",
                    ErrorCode code = ErrorCode::kBadFile) {
  return error_message(code, [&] { parse(padded(header, data)); });
}

Weight view_of(const void* data, DType dtype, std::initializer_list<int64_t> shape) {
  Weight view;
  view.data = data;
  view.dtype = dtype;
  view.rank = static_cast<int>(shape.size());
  std::ranges::copy(shape, view.dims);
  return view;
}

TEST(Safetensors, WriterAndReaderAgree) {
  const TempFolder folder;
  std::vector<unsigned char> bytes(256);
  for (size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<unsigned char>(i * 7);
  const std::vector<std::pair<std::string, Weight>> tensors = {
      {"odd \"name\"\n", view_of(bytes.data(), DType::kU8, {3})}, {"f32", view_of(bytes.data(), DType::kF32, {2, 3})},
      {"i8", view_of(bytes.data() + 1, DType::kI8, {1, 5})},      {"bool", view_of(bytes.data(), DType::kBool, {7})},
      {"bf16", view_of(bytes.data(), DType::kBF16, {1, 2, 3})},   {"f16", view_of(bytes.data(), DType::kF16, {3})},
      {"i16", view_of(bytes.data(), DType::kI16, {3})},           {"i32", view_of(bytes.data(), DType::kI32, {3})},
      {"i64", view_of(bytes.data(), DType::kI64, {2, 2, 2, 1})},  {"f64", view_of(bytes.data(), DType::kF64, {3})},
      {"empty", view_of(bytes.data(), DType::kF32, {0, 4})},
  };
  write_safetensors(folder / "a.safetensors", tensors);
  const auto source = open_safetensors(folder / "a.safetensors");
  ASSERT_EQ(source->tensors().size(), tensors.size());
  for (const auto& [name, view] : tensors) {
    const StoredTensor* found = source->find(name);
    ASSERT_NE(found, nullptr) << name;
    EXPECT_EQ(found->view.dtype, view.dtype);
    EXPECT_THAT(found->view.shape(), ::testing::ElementsAreArray(view.shape())) << name;
    EXPECT_EQ(std::memcmp(found->view.data, view.data, static_cast<size_t>(view.bytes())), 0) << name;
    EXPECT_EQ(found->file, (folder / "a.safetensors").string());
  }
}

TEST(Safetensors, WriterRefusesWhatTheFormatCannotHold) {
  const TempFolder folder;
  MemorySource source;
  source.add("q", std::vector<float>(32, 1.0f), {32}, DType::kQ8_0);
  source.add("f", std::vector<float>(32, 1.0f), {32});
  const Weight q = source.find("q")->view, f = source.find("f")->view;
  const auto write = [&](const std::vector<std::pair<std::string, Weight>>& tensors) {
    write_safetensors(folder / "a.safetensors", tensors);
  };
  EXPECT_THAT(error_message(ErrorCode::kInvalidRequest, [&] { write({{"q", q}}); }), HasSubstr("Q8_0"));
  EXPECT_THAT(error_message(ErrorCode::kInvalidRequest, [&] { write({{"f", f}, {"f", f}}); }), HasSubstr("twice"));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Safetensors, OpensReferenceFiles) {
  const auto folder = golden_folder() / "v45-full";
  if (!std::filesystem::exists(folder / "model.safetensors")) GTEST_SKIP() << "no reference data (set MINICPM_GOLDEN)";
  const auto source = open_safetensors_folder(folder);
  const StoredTensor* position = source->find("vpm.embeddings.position_embedding.weight");
  ASSERT_NE(position, nullptr);
  EXPECT_EQ(position->view.dims[0], 4900);
  EXPECT_GT(source->tensors().size(), 40u);
}

TEST(Safetensors, HeaderDetails) {
  const auto tensors = parse(padded(
      R"({"__metadata__":{"format":"pt","deep":[{"a":[1,{"b":null}]}]},"s":{"dtype":"F32","shape":[],"data_offsets":[0,4],)"
      R"("note":{"x":[1,2]},"more":true},"t":{"shape":[1],"data_offsets":[4,8],"dtype":"I32"}})",
      "12345678"));
  ASSERT_EQ(tensors.size(), 2u);
  EXPECT_THAT(tensors[0].view.shape(), ElementsAre(1));  // a scalar
  EXPECT_EQ(tensors[1].name, "t");
  EXPECT_TRUE(parse(padded("{}", "")).empty());
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const std::string header = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                             R"("b":{"dtype":"F16","shape":[2],"data_offsets":[4,8]}})";
  const std::string bytes = padded(header, "12345678");
  EXPECT_EQ(parse(bytes).size(), 2u);
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_THROW(parse(bytes.substr(0, size)), Error) << size;
}

TEST(Safetensors, EveryByteOfTheHeaderMayBeWrong) {
  const std::string bytes =
      padded(R"({"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "12345678");
  int refused = 0;
  for (size_t at = 0; at + 8 < bytes.size(); ++at) {
    for (int value = 0; value < 256; ++value) {
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(value);
      try {
        parse(damaged);
      } catch (const Error&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 1000);
}

TEST(Safetensors, HeaderLengths) {
  for (uint64_t length : {uint64_t{9}, uint64_t{100'000'001}, uint64_t{1} << 32, uint64_t{1} << 63, UINT64_MAX}) {
    EXPECT_THAT(error_message(ErrorCode::kBadFile, [&] { parse(raw(length) + "{}      "); }),
                HasSubstr("claims a header"));
  }
  EXPECT_THAT(error_message(ErrorCode::kBadFile, [&] { parse(raw(uint64_t{0})); }), HasSubstr("not a safetensors"));
  EXPECT_THAT(error_message(ErrorCode::kBadFile, [&] { parse(safetensors("[]", "")); }), HasSubstr("brace"));
  EXPECT_THAT(error_message(ErrorCode::kBadFile, [&] { parse(safetensors("{\"a\":", "")); }), HasSubstr("valid JSON"));
  EXPECT_THAT(error_message(ErrorCode::kBadFile, [&] { parse(safetensors("{}x", "")); }), HasSubstr("valid JSON"));
  // Deep nesting must not exhaust the stack.
  const std::string deep = "{\"__metadata__\":" + std::string(1 << 20, '[') + std::string(1 << 20, ']') + "}";
  EXPECT_NO_THROW(parse(padded(deep, "")));
}

TEST(Safetensors, DamagedEntriesAreNamed) {
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F32","shape":[1]}})"), HasSubstr("\"a\" needs dtype, shape"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})"), HasSubstr("two data_offsets"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}})"), HasSubstr("two data_offsets"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}})"), HasSubstr("outside the 8 bytes"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})"), HasSubstr("outside"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})"), HasSubstr("4 bytes of data"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})"),
              HasSubstr("0 bytes of data"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})"),
              HasSubstr("0 bytes of data"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F32","shape":[0,18446744073709551615],"data_offsets":[0,0]}})"),
              HasSubstr("dimension of"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,0]}})"),
              HasSubstr("fraction"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})"), HasSubstr("negative"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})"), HasSubstr("fraction"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}})"), HasSubstr("list"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}})"), HasSubstr("string"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F32","shape":[{}],"data_offsets":[0,4]}})"), HasSubstr("object"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":4,"shape":[1],"data_offsets":[0,4]}})"), HasSubstr("number"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":null,"shape":[1],"data_offsets":[0,4]}})"), HasSubstr("null"));
  EXPECT_THAT(refusal(R"({"a":3})"), HasSubstr("number"));
  EXPECT_THAT(refusal(R"({"a":"x"})"), HasSubstr("string"));
  EXPECT_THAT(refusal(R"({"a":[]})"), HasSubstr("list"));
  EXPECT_THAT(refusal(R"({"a":{"shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}})"), HasSubstr("more than 16"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})"), HasSubstr("twice"));
  EXPECT_THAT(
      refusal(R"({"a":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}})", "12345678", ErrorCode::kUnsupported),
      HasSubstr("F8_E4M3"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"Q4_K","shape":[1],"data_offsets":[0,1]}})", "1", ErrorCode::kUnsupported),
              HasSubstr("Q4_K"));
  EXPECT_THAT(
      refusal(R"({"a":{"dtype":"F32","shape":[1,1,1,1,1],"data_offsets":[0,4]}})", "12345678", ErrorCode::kUnsupported),
      HasSubstr("5 dimensions"));
}

TEST(Safetensors, RepeatedNamesAndOverlapsAreRefused) {
  const std::string entry = R"({"dtype":"F16","shape":[2],"data_offsets":[0,4]})";
  EXPECT_THAT(refusal("{\"a\":" + entry + ",\"a\":" + entry + "}"), HasSubstr("\"a\" twice"));
  EXPECT_THAT(refusal("{\"a\":" + entry + ",\"b\":" + entry + "}"), HasSubstr("\"a\" and \"b\" overlap"));
  EXPECT_THAT(refusal("{\"a\":" + entry + R"(,"b":{"dtype":"U8","shape":[3],"data_offsets":[3,6]}})"),
              HasSubstr("overlap"));
  // Holes do no harm, and an empty tensor may share its place.
  EXPECT_NO_THROW(parse(padded("{\"a\":" + entry + R"(,"b":{"dtype":"U8","shape":[1],"data_offsets":[6,7]},)" +
                                   R"("c":{"dtype":"U8","shape":[0],"data_offsets":[2,2]}})",
                               "12345678")));
}

TEST(Safetensors, MisalignedDataIsReadAllTheSame) {
  const TempFolder folder;
  for (size_t shift = 0; shift < 4; ++shift) {
    std::string header = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
    header.append((8 - header.size() % 8) % 8 + shift, ' ');
    write_text(folder / "a.safetensors", safetensors(header, raw(2.5f)));
    const auto source = open_safetensors(folder / "a.safetensors");
    const void* data = source->find("a")->view.data;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % alignof(float), 0u);
    EXPECT_EQ(*static_cast<const float*>(data), 2.5f);
  }
}

// ---- folders of shards

class SafetensorsFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    MemorySource source;
    source.add("a", std::vector<float>{1.0f}, {1});
    source.add("b", std::vector<float>{2.0f}, {1});
    write("model-00001-of-00002.safetensors", {{"a", source.find("a")->view}});
    write("model-00002-of-00002.safetensors", {{"b", source.find("b")->view}});
  }
  void write(const char* name, const std::vector<std::pair<std::string, Weight>>& tensors) {
    write_safetensors(folder_ / name, tensors);
  }
  void index(std::string_view text) { write_text(folder_ / "model.safetensors.index.json", text); }
  std::string refusal(ErrorCode code) {
    return error_message(code, [&] { open_safetensors_folder(folder_.path()); });
  }
  TempFolder folder_;
};

TEST_F(SafetensorsFolder, ShardsAreOneSource) {
  index(R"({"metadata":{"total_size":8},"weight_map":{"a":"model-00001-of-00002.safetensors",)"
        R"("b":"model-00002-of-00002.safetensors"}})");
  const auto source = open_safetensors_folder(folder_.path());
  ASSERT_EQ(source->tensors().size(), 2u);
  EXPECT_EQ(*static_cast<const float*>(source->find("b")->view.data), 2.0f);
  EXPECT_THAT(source->find("a")->file, HasSubstr("00001-of-00002"));
  EXPECT_EQ(source->path(), folder_.path().string());
}

TEST_F(SafetensorsFolder, DamageIsNamed) {
  EXPECT_THAT(refusal(ErrorCode::kNotFound), AllOf(HasSubstr("model.safetensors "), HasSubstr("index.json")));
  index(R"({"weight_map":{"a":"model-00001-of-00003.safetensors"}})");
  EXPECT_THAT(refusal(ErrorCode::kNotFound), HasSubstr("model-00001-of-00003.safetensors, which is missing"));
  index(R"({"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00001-of-00002.safetensors"}})");
  EXPECT_THAT(refusal(ErrorCode::kBadFile), AllOf(HasSubstr("\"b\""), HasSubstr("where it is missing")));
  index(R"({"weight_map":{"a":"model-00002-of-00002.safetensors","b":"model-00001-of-00002.safetensors"}})");
  EXPECT_THAT(refusal(ErrorCode::kBadFile), AllOf(HasSubstr("\"a\""), HasSubstr("but it lies in")));
  for (const char* outside : {"../x.safetensors", "/etc/passwd", "a\\\\b.safetensors", "passwd", "", ".."}) {
    index(std::string(R"({"weight_map":{"a":")") + outside + "\"}}");
    EXPECT_THAT(refusal(ErrorCode::kBadFile), HasSubstr("not the name of a shard")) << outside;
  }
  index(R"({"weight_map":{"a":"x\u0000.safetensors"}})");
  refusal(ErrorCode::kBadFile);
  for (const char* text : {"", "{", "[]", "{}", R"({"weight_map":[]})", R"({"weight_map":{"a":1}})"}) {
    index(text);
    refusal(ErrorCode::kBadFile);
  }
}

TEST_F(SafetensorsFolder, SameTensorInTwoShardsIsRefused) {
  MemorySource source;
  source.add("a", std::vector<float>{1.0f}, {1});
  source.add("b", std::vector<float>{1.0f}, {1});
  write("model-00002-of-00002.safetensors", {{"a", source.find("a")->view}, {"b", source.find("b")->view}});
  index(R"({"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}})");
  EXPECT_THAT(refusal(ErrorCode::kBadFile), HasSubstr("already defined in"));
}

TEST(SafetensorsHeader, ManyTensorsTakeLinearTime) {
  constexpr int kTensors = 200'000;
  std::string header = R"({"first":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  for (int i = 1; i < kTensors; ++i)
    header += R"(,"t)" + std::to_string(i) + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  EXPECT_EQ(parse(padded(header + "}", "")).size(), static_cast<size_t>(kTensors));
}

}  // namespace
}  // namespace minicpm

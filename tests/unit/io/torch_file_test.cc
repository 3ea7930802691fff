#include "io/torch_file.h"

#include <cstring>
#include <numeric>
#include <random>

#include "io/zip_file.h"
#include "io_test_util.h"
#include "support/torch_writer.h"

namespace minicpm {
namespace {

using namespace testing_io;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<TorchTensor> parse(const std::string& file) {
  return parse_torch_file(std::as_bytes(std::span(file)), "a.pt");
}

TorchEntry floats(std::string name, std::vector<int64_t> shape, std::vector<float> values) {
  TorchEntry entry{std::move(name), "FloatStorage", std::move(shape), {}, 0, ""};
  entry.storage.assign(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  return entry;
}

TEST(TorchFile, ReadsAStateDictionary) {
  TempFolder folder;
  const TorchEntry entries[] = {floats("backbone.embed.weight", {2, 3}, {1, 2, 3, 4, 5, 6}),
                                floats("head.out.bias", {2}, {-1, 0.5}),
                                {"count", "LongStorage", {}, {}, 0, raw<int64_t>(7)},
                                {"half", "HalfStorage", {1, 2}, {}, 0, raw<uint32_t>(0x3C003C00)}};
  write_text(folder / "a.pt", torch_file(entries));
  const auto source = open_torch_file(folder / "a.pt");
  ASSERT_EQ(source->tensors().size(), 4u);
  const StoredTensor* weight = source->find("backbone.embed.weight");
  ASSERT_NE(weight, nullptr);
  EXPECT_THAT(weight->view.shape(), ElementsAre(2, 3));
  EXPECT_EQ(weight->view.dtype, DType::kF32);
  EXPECT_EQ(static_cast<const float*>(weight->view.data)[5], 6);
  EXPECT_EQ(*static_cast<const int64_t*>(source->find("count")->view.data), 7);
  EXPECT_EQ(source->find("half")->view.dtype, DType::kF16);
  EXPECT_EQ(source->find("none"), nullptr);
}

TEST(TorchFile, ReadsTheFormsThatTorchWrites) {
  const TorchEntry entries[] = {floats("a", {1}, {1})};
  for (const bool ordered : {false, true}) {
    for (const bool parameters : {false, true}) {
      TorchLayout layout{.ordered = ordered, .parameters = parameters, .metadata = ordered};
      const std::string file = torch_file(entries, layout);
      const auto tensors = parse(file);
      ASSERT_EQ(tensors.size(), 1u);
      EXPECT_EQ(tensors[0].name, "a");
    }
  }
  const std::string nested = torch_file(entries, {.inside = "state_dict"});
  EXPECT_EQ(parse(nested)[0].name, "state_dict.a");
}

TEST(TorchFile, PutsStridedTensorsInOrder) {
  TempFolder folder;
  TorchEntry transposed = floats("t", {3, 2}, {9, 1, 2, 3, 4, 5, 6});
  transposed.strides = {1, 3};
  transposed.offset = 1;
  write_text(folder / "a.pt", torch_file({&transposed, 1}));
  const auto source = open_torch_file(folder / "a.pt");
  const auto* values = static_cast<const float*>(source->find("t")->view.data);
  EXPECT_THAT(std::vector<float>(values, values + 6), ElementsAre(1, 4, 2, 5, 3, 6));
}

TEST(TorchFile, RefusesWhatDoesNotFit) {
  const auto message = [](TorchEntry entry, ErrorCode code = ErrorCode::kBadFile) {
    const std::string file = torch_file({&entry, 1});
    return error_message(code, [&] { parse(file); });
  };
  EXPECT_THAT(message(floats("x", {2, 3}, {1, 2, 3})), HasSubstr("\"x\" ends at element 5, its storage has 3"));
  TorchEntry moved = floats("x", {2}, {1, 2, 3});
  moved.offset = 2;
  EXPECT_THAT(message(moved), HasSubstr("from element 2 on"));
  moved.offset = -1;
  EXPECT_THAT(message(moved), HasSubstr("begins at element -1"));
  TorchEntry repeated = floats("x", {1 << 20, 1 << 10}, {1});
  repeated.strides = {0, 0};
  EXPECT_THAT(message(repeated), HasSubstr("more elements than its storage"));
  TorchEntry huge = floats("x", {INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX}, {1});
  huge.strides = {INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX};
  EXPECT_THAT(message(huge), HasSubstr("\"x\" "));
  EXPECT_THAT(message(floats("x", {1, 1, 1, 1, 1}, {1})), HasSubstr("5 sizes"));
  TorchEntry other = floats("x", {1}, {1});
  other.type = "QInt8Storage";
  EXPECT_THAT(message(other, ErrorCode::kUnsupported), HasSubstr("torch.QInt8Storage"));
}

TEST(TorchFile, RunsNothing) {
  const auto file = [](const std::string& pickle) { return zip_file({{"m/data.pkl", pickle}}); };
  const std::string call = std::string("\x80\x02") + "cos\nsystem\nX\x02" + std::string(3, '\0') + "ls\x85R.";
  EXPECT_THAT(error_message(ErrorCode::kUnsupported, [&] { parse(file(call)); }), HasSubstr("Python's os.system"));
  const std::string build = std::string("\x80\x02") + "}}b.";
  EXPECT_TRUE(parse(file(build)).empty());
  EXPECT_THAT(error_message(ErrorCode::kBadFile, [&] { parse(file("\x80\x02i")); }), HasSubstr("opcode 0x69"));
  EXPECT_THAT(error_message(ErrorCode::kBadFile, [&] { parse(file("\x80\x02}q")); }), HasSubstr("ends inside"));
  EXPECT_THAT(error_message(ErrorCode::kBadFile, [&] { parse(file("\x80\x02K\x01.")); }), HasSubstr("a dictionary"));
  EXPECT_THAT(error_message(ErrorCode::kBadFile, [&] { parse(file("\x80\x02}}.")); }), HasSubstr("behind"));
  // A dictionary that holds itself.
  const std::string loop = std::string("\x80\x02") + "}q" + '\0' + "X\x01" + std::string(3, '\0') + "ah" + '\0' + "s.";
  EXPECT_THAT(error_message(ErrorCode::kUnsupported, [&] { parse(file(loop)); }), HasSubstr("deep"));
}

TEST(TorchFile, NamesOtherFormats) {
  const std::string old("\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.", 15);
  EXPECT_THAT(error_message(ErrorCode::kUnsupported, [&] { parse(old); }), HasSubstr("before 1.6"));
  EXPECT_THAT(error_message(ErrorCode::kBadFile, [&] { parse("hello"); }), HasSubstr("not a zip archive"));
  EXPECT_THAT(error_message(ErrorCode::kBadFile, [&] { parse(zip_file({{"m/x", "y"}})); }), HasSubstr("no data.pkl"));
  std::string packed = zip_file({{"m/data.pkl", "}."}});
  packed[packed.find("PK\x01\x02") + 10] = 8;
  EXPECT_THAT(error_message(ErrorCode::kUnsupported, [&] { parse(packed); }), HasSubstr("compressed"));
  const TorchEntry entry = floats("a", {1}, {1});
  EXPECT_THAT(error_message(ErrorCode::kUnsupported,
                            [&] {
                              parse(torch_file({&entry, 1}, {.byte_order = "big"}));
                            }),
              HasSubstr("\"big\""));
}

TEST(TorchFile, DamagedFilesAreReadOrRefused) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const TorchEntry entries[] = {floats("a.b", {2, 3}, {1, 2, 3, 4, 5, 6}), floats("c", {4}, {1, 2, 3, 4})};
  const std::string good = torch_file(entries, {.ordered = true, .parameters = true, .metadata = true});
  int read = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string file = good;
    for (unsigned n = 1 + random() % 4; n > 0; --n)
      file[random() % file.size()] = static_cast<char>(random());
    if (random() % 8 == 0) file.resize(random() % file.size());
    const Bytes bytes(file);
    try {
      for (const TorchTensor& tensor : parse_torch_file(bytes, "a.pt")) {
        // Every element lies in the file.
        unsigned sum = 0;
        for (const std::byte b : tensor.bytes)
          sum += static_cast<unsigned>(b);
        static_cast<void>(sum);
        ++read;
      }
    } catch (const Error& error) {
      EXPECT_NE(static_cast<int>(error.code()), static_cast<int>(ErrorCode::kInternal)) << error.what();
    }
  }
  EXPECT_GT(read, 0);
}

}  // namespace
}  // namespace minicpm

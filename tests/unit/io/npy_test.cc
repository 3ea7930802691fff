#include "io/npy.h"

#include "io_test_util.h"

namespace minicpm {
namespace {

using namespace testing_io;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string npy(std::string header, std::string_view data, char major = 1) {
  header += '\n';
  std::string text = "\x93NUMPY";
  text += major;
  text += '\0';
  text += major == 1 ? raw(static_cast<uint16_t>(header.size())) : raw(static_cast<uint32_t>(header.size()));
  return text + header + std::string(data);
}

NpyArray parse(const std::string& text) {
  return parse_npy(Bytes(text), "a.npy");
}

TEST(Npy, ReadsTheTypesOfReferenceData) {
  const NpyArray floats =
      parse(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }", raw(1.5f) + raw(-2.0f)));
  EXPECT_THAT(floats.shape, ElementsAre(2, 1));
  EXPECT_THAT(floats.f32(), ElementsAre(1.5f, -2.0f));
  const NpyArray bytes = parse(npy("{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }", "\x01\x02\xff", 2));
  EXPECT_THAT(bytes.u8(), ElementsAre(1, 2, 255));
  const NpyArray ints = parse(npy("{'descr': '<i8', 'fortran_order': False, 'shape': (), }", raw(int64_t{-7}), 3));
  EXPECT_TRUE(ints.shape.empty());
  EXPECT_THAT(ints.i64(), ElementsAre(-7));
  EXPECT_EQ(parse(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4), }", "")).numel(), 0);
}

TEST(Npy, ReadsReferenceFile) {
  const auto file = golden_folder() / "gguf/rows/Q4_K.npy";
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "no reference data";
  const NpyArray array = read_npy(file);
  EXPECT_THAT(array.shape, ElementsAre(8, 512));
  EXPECT_EQ(array.f32().size(), 8u * 512u);
}

TEST(Npy, RefusesWhatItCannotHold) {
  EXPECT_THAT(error_message(ErrorCode::kUnsupported,
                            [] { parse(npy("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", raw(1.0f))); }),
              HasSubstr("'>f4'"));
  EXPECT_THAT(error_message(ErrorCode::kUnsupported,
                            [] { parse(npy("{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }", raw(1.0f))); }),
              HasSubstr("Fortran"));
  EXPECT_THAT(error_message(ErrorCode::kUnsupported, [] { parse(npy("{}", "", 9)); }), HasSubstr("version 9"));
  error_message(ErrorCode::kNotFound, [] { read_npy("/nonexistent/a.npy"); });
}

TEST(Npy, RefusesDamagedFiles) {
  const std::string good = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", raw(1.5f) + raw(-2.0f));
  parse(good);
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_THROW(parse(good.substr(0, size)), Error) << size;
  EXPECT_THROW(parse(good + "x"), Error);
  for (const char* header : {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }",
                             "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 18446744073709551615), }",
                             "{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551616,), }",
                             "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }",
                             "{'descr': '<f4', 'fortran_order': False, 'shape': (2", "{'descr': '<f4', 'shape': 2}",
                             "{'descr': '<f4'}", "{'shape': (2,)}", "{'unknown': 1}", "{", "", "[]"}) {
    EXPECT_THROW(parse(npy(header, raw(1.0f) + raw(2.0f))), Error) << header;
  }
}

}  // namespace
}  // namespace minicpm

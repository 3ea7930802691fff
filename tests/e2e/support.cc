#include "e2e/support.h"

#include <stdlib.h>

#include <fstream>
#include <iterator>

namespace minicpm::e2e {

namespace fs = std::filesystem;

namespace {

// Sanitizers make the program several times slower.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr double kErrorSeconds = 10.0;
#else
constexpr double kErrorSeconds = 1.0;
#endif

void put_u32(std::string& out, uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8)
    out += static_cast<char>(value >> shift);
}
void put_u16(std::string& out, uint32_t value) {
  out += static_cast<char>(value);
  out += static_cast<char>(value >> 8);
}

}  // namespace

void E2eTest::SetUp() {
  std::string pattern = (fs::temp_directory_path() / "minicpm-e2e-XXXXXX").string();
  ASSERT_NE(mkdtemp(pattern.data()), nullptr);
  folder_ = pattern;
}

void E2eTest::TearDown() {
  fs::remove_all(folder_);
}

std::string E2eTest::write(const std::string& name, const std::string& content) const {
  std::ofstream(folder_ / name, std::ios::binary) << content;
  return path(name);
}

std::string E2eTest::write_picture(const std::string& name, int width, int height) const {
  const uint32_t row = (static_cast<uint32_t>(width) * 3 + 3) / 4 * 4;
  const uint32_t pixels = row * static_cast<uint32_t>(height);
  std::string bmp = "BM";
  put_u32(bmp, 54 + pixels);
  put_u32(bmp, 0);
  put_u32(bmp, 54);  // where the pixels begin
  put_u32(bmp, 40);  // size of the rest of the header
  put_u32(bmp, static_cast<uint32_t>(width));
  put_u32(bmp, static_cast<uint32_t>(height));
  put_u16(bmp, 1);
  put_u16(bmp, 24);
  bmp.append(24, '\0');
  for (uint32_t i = 0; i < pixels; ++i)
    bmp += static_cast<char>((i * 2654435761u) >> 24);
  return write(name, bmp);
}

void ModelTest::SetUp() {
  E2eTest::SetUp();
  const fs::path models = MINICPM_E2E_MODELS;
  hf_ = (models / "v45-hf").string();
  gguf_ = find_gguf(models / "v45-gguf", false);
  other_ = find_gguf(models / "v26-gguf", false);
  if (!fs::exists(hf_) || gguf_.empty() || other_.empty()) {
    GTEST_SKIP() << "no models in " << models << "; ctest makes them with the fixture e2e_models";
  }
}

std::string read_all(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string find_gguf(const fs::path& folder, bool projector) {
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; ++it) {
    const std::string name = it->path().filename().string();
    if (name.ends_with(".gguf") && name.starts_with("mmproj") == projector) return it->path().string();
  }
  return "";
}

void expect_error(const Outcome& outcome, int exit_code, const std::string& text) {
  EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_TRUE(outcome.err.starts_with("minicpm: ")) << outcome.err;
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  EXPECT_TRUE(outcome.err.ends_with('\n'));
  EXPECT_THAT(outcome.err, ::testing::HasSubstr(text));
  EXPECT_LT(outcome.seconds, kErrorSeconds);
}

void expect_ok(const Outcome& outcome) {
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
}

}  // namespace minicpm::e2e

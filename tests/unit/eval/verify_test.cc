#include "eval/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "base/error.h"

namespace minicpm {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

fs::path golden(const std::string& name) {
  if (const char* folder = std::getenv("MINICPM_GOLDEN")) return fs::path(folder) / name;
  const fs::path shared = fs::path(MINICPM_SOURCE_DIR) / "../shared/golden";
  return (fs::exists(shared) ? shared : fs::path(MINICPM_SOURCE_DIR) / "tests/golden") / name;
}

class VerifyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "minicpm-verify-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  void write(const std::string& name, const std::string& content) {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << content;
  }
  /// The error that verifying `path` ends with, as "code: message".
  std::pair<ErrorCode, std::string> error_of(const fs::path& path) {
    try {
      verify(path, {}, [this](const VerifyItem& item) { items_.push_back(item); });
    } catch (const Error& e) {
      return {e.code(), e.what()};
    }
    return {ErrorCode::kInternal, "no error"};
  }

  fs::path folder_;
  std::vector<VerifyItem> items_;
};

TEST_F(VerifyTest, MissingFolder) {
  const auto [code, message] = error_of(folder_ / "absent");
  EXPECT_EQ(code, ErrorCode::kNotFound);
  EXPECT_THAT(message, HasSubstr("absent"));
}

TEST_F(VerifyTest, FolderWithoutCases) {
  EXPECT_EQ(error_of(folder_).first, ErrorCode::kNotFound);
}

TEST_F(VerifyTest, UnknownKindIsAnError) {
  write("case.json", R"({"case": "v99-full"})");
  const auto [code, message] = error_of(folder_);
  EXPECT_EQ(code, ErrorCode::kUnsupported);
  EXPECT_THAT(message, HasSubstr("v99-full"));
}

TEST_F(VerifyTest, UnknownFolderInsideIsAnErrorBeforeAnythingRuns) {
  const fs::path sampling = golden("sampling");
  if (!fs::exists(sampling)) GTEST_SKIP() << "no reference case " << sampling;
  fs::copy(sampling, folder_ / "a-sampling");
  write("b/readme.txt", "not a case");
  EXPECT_EQ(error_of(folder_).first, ErrorCode::kUnsupported);
  EXPECT_TRUE(items_.empty());
}

TEST_F(VerifyTest, ACaseThatCannotRunFailsAndTheOthersRun) {
  const fs::path sampling = golden("sampling");
  if (!fs::exists(sampling)) GTEST_SKIP() << "no reference case " << sampling;
  fs::copy(sampling, folder_ / "b-sampling");
  write("a-sampling/case.json", R"({"case": "sampling", "configs": {}, "expected": {"x/probs.0": {}}})");
  verify(folder_, {}, [this](const VerifyItem& item) { items_.push_back(item); });
  ASSERT_EQ(items_.size(), 33u);
  EXPECT_EQ(items_[0].name, "a-sampling");
  EXPECT_FALSE(items_[0].ok);
  EXPECT_THAT(items_[0].detail, HasSubstr("inputs.safetensors"));
  EXPECT_TRUE(items_[1].ok);
}

TEST_F(VerifyTest, DamagedCaseFiles) {
  write("case.json", "{");
  EXPECT_EQ(error_of(folder_).first, ErrorCode::kBadFile);
  write("case.json", R"({"about": "no kind"})");
  EXPECT_EQ(error_of(folder_).first, ErrorCode::kBadFile);
  write("case.json", R"({"case": 3})");
  EXPECT_EQ(error_of(folder_).first, ErrorCode::kBadFile);
  write("case.json", "[]");
  EXPECT_EQ(error_of(folder_).first, ErrorCode::kBadFile);
}

TEST_F(VerifyTest, SamplingCasePasses) {
  const fs::path sampling = golden("sampling");
  if (!fs::exists(sampling)) GTEST_SKIP() << "no reference case " << sampling;
  verify(sampling, {}, [this](const VerifyItem& item) { items_.push_back(item); });
  EXPECT_EQ(items_.size(), 32u);
  for (const VerifyItem& item : items_) {
    EXPECT_TRUE(item.ok) << item.name << ": " << item.error << " > " << item.limit << ' ' << item.detail;
  }
}

TEST_F(VerifyTest, SamplingNoticesWrongSettings) {
  const fs::path sampling = golden("sampling");
  if (!fs::exists(sampling)) GTEST_SKIP() << "no reference case " << sampling;
  for (const auto& entry : fs::directory_iterator(sampling))
    fs::copy(entry.path(), folder_ / entry.path().filename());
  std::ifstream in(sampling / "case.json");
  std::string text((std::istreambuf_iterator<char>(in)), {});
  const size_t at = text.find("\"top_k\": 5,");
  ASSERT_NE(at, std::string::npos);
  fs::permissions(folder_ / "case.json", fs::perms::owner_write, fs::perm_options::add);
  write("case.json", text.replace(at, 11, "\"top_k\": 6,"));
  verify(folder_, {}, [this](const VerifyItem& item) { items_.push_back(item); });
  int failed = 0;
  for (const VerifyItem& item : items_)
    failed += item.ok ? 0 : 1;
  EXPECT_GT(failed, 0);
}

}  // namespace
}  // namespace minicpm

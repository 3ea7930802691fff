#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "base/file_map.h"
#include "eval/verify.h"

namespace minicpm {
namespace {

namespace fs = std::filesystem;

fs::path reference_case() {
  if (const char* folder = std::getenv("MINICPM_GOLDEN")) return fs::path(folder) / "preprocess";
  const fs::path shared = fs::path(MINICPM_SOURCE_DIR) / "../shared/golden";
  return (fs::exists(shared) ? shared : fs::path(MINICPM_SOURCE_DIR) / "tests/golden") / "preprocess";
}

class VerifyPreprocess : public testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(reference_case() / "case.json")) {
      GTEST_SKIP() << "no reference data in " << reference_case() << " (set MINICPM_GOLDEN)";
    }
  }
  static std::vector<VerifyItem> run(const fs::path& folder) {
    std::vector<VerifyItem> items;
    verify_preprocess(folder, [&](const VerifyItem& item) { items.push_back(item); });
    return items;
  }
};

TEST_F(VerifyPreprocess, EveryItemOfTheReferencePasses) {
  const std::vector<VerifyItem> items = run(reference_case());
  EXPECT_GE(items.size(), 239u);
  for (const VerifyItem& item : items)
    EXPECT_TRUE(item.ok) << item.name << ": error " << item.error << ", limit " << item.limit << "; " << item.detail;
}

TEST_F(VerifyPreprocess, ADifferenceIsNoticed) {
  std::string pattern = (fs::temp_directory_path() / "minicpm-preprocess-XXXXXX").string();
  ASSERT_NE(mkdtemp(pattern.data()), nullptr);
  const fs::path folder = pattern;
  for (const fs::directory_entry& entry : fs::directory_iterator(reference_case())) {
    if (entry.path().filename() != "texts.json") {
      fs::create_symlink(fs::absolute(entry.path()), folder / entry.path().filename());
    }
  }
  // The placeholder of picture 3 becomes that of picture 4.
  std::string texts = read_file(reference_case() / "texts.json", 1 << 20);
  const size_t at = texts.find("<image_id>3<");
  ASSERT_NE(at, std::string::npos);
  texts[at + 10] = '4';
  std::ofstream(folder / "texts.json") << texts;
  // One picture takes the place of another.
  fs::remove(folder / "a_448x448.png");
  fs::create_symlink(fs::absolute(reference_case() / "d_37x51.png"), folder / "a_448x448.png");

  std::vector<std::string> failed;
  for (const VerifyItem& item : run(folder)) {
    if (!item.ok) failed.push_back(item.name);
  }
  fs::remove_all(folder);
  EXPECT_THAT(failed, testing::IsSupersetOf({"preprocess/a_448x448/v26/n9/crc32", "preprocess/a_448x448/v26/n9/stats",
                                             "preprocess/placeholder/a_448x448/v26/n9"}));
  EXPECT_THAT(failed, testing::Not(testing::Contains(testing::HasSubstr("b_1344x896"))));
}

}  // namespace
}  // namespace minicpm

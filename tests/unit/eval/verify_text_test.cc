// The reference strings and message lists, held against the published tokenizer files where those are present.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "base/error.h"
#include "eval/verify.h"

namespace minicpm {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

/// The folder that an environment variable names, or the first of the others that exists; empty without any.
fs::path find_folder(const char* variable, std::initializer_list<const char*> others) {
  if (const char* named = std::getenv(variable)) return named;
  for (const char* other : others) {
    const fs::path path = fs::path(MINICPM_SOURCE_DIR) / other;
    if (fs::exists(path)) return path;
  }
  return {};
}

fs::path golden(const char* name) {
  const fs::path folder = find_folder("MINICPM_GOLDEN", {"../shared/golden", "tests/golden"});
  return folder.empty() ? fs::path() : folder / name;
}

void expect_all_equal(const std::vector<VerifyItem>& items) {
  for (const VerifyItem& item : items) {
    EXPECT_TRUE(item.ok) << item.name << ": " << item.detail;
    EXPECT_EQ(item.error, 0) << item.name;
    EXPECT_EQ(item.limit, 0) << item.name;
  }
}

TEST(VerifyTextTest, TokenizerCases) {
  const fs::path folder = golden("tokenizer");
  if (!fs::exists(folder)) GTEST_SKIP() << "no tokenizer cases; MINICPM_GOLDEN names their parent folder";
  VerifyOptions options;
  options.data = find_folder("MINICPM_DATA", {"../shared/data/tokenizers"});
  if (options.data.empty()) GTEST_SKIP() << "no published tokenizer files; MINICPM_DATA names their folder";
  std::vector<VerifyItem> items;
  verify_tokenizer(folder, options, [&items](const VerifyItem& item) { items.push_back(item); });
  EXPECT_EQ(items.size(), 10u);  // ids and plain of four models, split_special of two
  expect_all_equal(items);
}

TEST(VerifyTextTest, ChatTemplateCases) {
  const fs::path folder = golden("chat-template");
  if (!fs::exists(folder)) GTEST_SKIP() << "no chat template cases; MINICPM_GOLDEN names their parent folder";
  std::vector<VerifyItem> items;
  verify_chat_template(folder, [&items](const VerifyItem& item) { items.push_back(item); });
  EXPECT_EQ(items.size(), 5u);  // one line per model
  expect_all_equal(items);
}

class VerifyTextErrorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "minicpm-verify-text-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }
  void write(const std::string& name, const std::string& content) { std::ofstream(folder_ / name) << content; }

  template <typename Action>
  std::pair<ErrorCode, std::string> error_of(const Action& action) {
    try {
      action();
    } catch (const Error& error) {
      return {error.code(), error.what()};
    }
    return {ErrorCode::kInternal, "no error"};
  }
  std::pair<ErrorCode, std::string> templates() {
    return error_of(
        [this] { verify_chat_template(folder_, [this](const VerifyItem& item) { items_.push_back(item); }); });
  }

  fs::path folder_;
  std::vector<VerifyItem> items_;
};

TEST_F(VerifyTextErrorTest, TokenizerCasesNeedTheFiles) {
  const auto [code, message] = error_of([this] { verify_tokenizer(folder_, {}, {}); });
  EXPECT_EQ(code, ErrorCode::kInvalidRequest);
  EXPECT_THAT(message, HasSubstr("--data"));
}

TEST_F(VerifyTextErrorTest, MissingTokenizer) {
  write("case.json", R"({"models": ["v4.5"]})");
  write("cases.json", "[]");
  VerifyOptions options;
  options.data = folder_;
  const auto [code, message] = error_of([&] { verify_tokenizer(folder_, options, {}); });
  EXPECT_EQ(code, ErrorCode::kNotFound);
  EXPECT_THAT(message, HasSubstr("v4.5"));
}

TEST_F(VerifyTextErrorTest, DamagedCases) {
  EXPECT_EQ(templates().first, ErrorCode::kNotFound);
  for (const char* text : {"[1]", "[{}]", R"([{"model": "v4.5"}])", R"([{"model": 4}])",
                           R"([{"model": "v4.5", "messages": 3, "expected": ""}])"}) {
    write("cases.json", text);
    EXPECT_EQ(templates().first, ErrorCode::kBadFile) << text;
  }
  write("cases.json", R"([{"model": "v9", "messages": [], "expected": ""}])");
  EXPECT_EQ(templates().first, ErrorCode::kUnsupported);
}

TEST_F(VerifyTextErrorTest, ADifferenceIsCountedAndShown) {
  write("cases.json",
        R"([{"model": "v4.5", "name": "first", "messages": [{"role": "user", "content": "a"}],
             "expected": "<|im_start|>user\na<|im_end|>\n"},
            {"model": "v4.5", "name": "second", "messages": [{"role": "user", "content": "a"}],
             "expected": "<|im_start|>user\nb<|im_end|>\n"}])");
  EXPECT_EQ(templates().second, "no error");
  ASSERT_EQ(items_.size(), 1u);
  EXPECT_EQ(items_[0].name, "chat-template/v4.5");
  EXPECT_EQ(items_[0].error, 1);
  EXPECT_FALSE(items_[0].ok);
  EXPECT_THAT(items_[0].detail, HasSubstr("second, byte 17: expected \"b<|im_end|>"));
  EXPECT_THAT(items_[0].detail, HasSubstr("2 strings"));
}

}  // namespace
}  // namespace minicpm

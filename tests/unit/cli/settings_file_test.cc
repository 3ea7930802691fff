#include "cli/settings_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "base/error.h"

namespace minicpm::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(SettingsFileTest, ReadsKeysOfAllKinds) {
  const auto settings = parse_settings(
      "# a server\n"
      "port = 9000   # not 8080\n"
      "\n"
      "  host=\"0.0.0.0\"\r\n"
      "insecure = true\n"
      "cors = [\"https://a.example\", 'https://b.example', ]\n"
      "stop = [\n"
      "  \"one\",  # the first\n"
      "  \"two\"\n"
      "]\n"
      "none = []\n"
      "key = \"a # \\\"b\\\" \\\\ \\t\"\n"
      "path = 'C:\\x'\n"
      "scale = -1.5e+3",
      "f");
  ASSERT_EQ(settings.size(), 9u);
  EXPECT_EQ(settings[0].key, "port");
  EXPECT_EQ(settings[0].line, 2);
  EXPECT_FALSE(settings[0].array);
  EXPECT_THAT(settings[0].values, ElementsAre("9000"));
  EXPECT_THAT(settings[1].values, ElementsAre("0.0.0.0"));
  EXPECT_THAT(settings[2].values, ElementsAre("true"));
  EXPECT_THAT(settings[3].values, ElementsAre("https://a.example", "https://b.example"));
  EXPECT_TRUE(settings[3].array);
  EXPECT_THAT(settings[4].values, ElementsAre("one", "two"));
  EXPECT_TRUE(settings[5].values.empty());
  EXPECT_THAT(settings[6].values, ElementsAre("a # \"b\" \\ \t"));
  EXPECT_EQ(settings[6].line, 12);
  EXPECT_THAT(settings[7].values, ElementsAre("C:\\x"));
  EXPECT_THAT(settings[8].values, ElementsAre("-1.5e+3"));
  EXPECT_TRUE(parse_settings("", "f").empty());
  EXPECT_TRUE(parse_settings("\n # nothing", "f").empty());
}

TEST(SettingsFileTest, WhatIsNotUnderstoodIsNamedByLine) {
  const std::pair<const char*, const char*> cases[] = {
      {"port", "f:1: expected `key = value`"},
      {"\nport 9000", "f:2: expected `key = value`"},
      {"= 1", "f:1: expected `key = value`"},
      {"\"port\" = 1", "f:1: expected `key = value`"},
      {"a.b = 1", "f:1: expected `key = value`"},
      {"[serve]\nport = 1", "f:1: tables"},
      {"host = localhost", "texts stand in quotes"},
      {"host =", "texts stand in quotes"},
      {"host = \"x", "ends early"},
      {"host = \"x\ny\"", "a string must end on its line"},
      {"host = \"\"\"x\"\"\"", "strings over several lines"},
      {"host = \"\\u0041\"", "of escapes only"},
      {"port = 1 2", "expected the end of the line"},
      {"cors = [\"a\" \"b\"]", "expected , or ]"},
      {"cors = [\"a\",", "texts stand in quotes"},
      {"cors = [[\"a\"]]", "texts stand in quotes"},
      {"port = 1\nhost = 'x'\nport = 2", "f:3: this key came before"},
  };
  for (const auto& [text, message] : cases) {
    try {
      parse_settings(text, "f");
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidRequest);
      EXPECT_THAT(error.what(), HasSubstr(message)) << text;
    }
  }
}

TEST(SettingsFileTest, TakesAnyBytes) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  constexpr std::string_view kPieces[] = {"key", " = ", "\"", "'",    "[", "]",  ",",
                                          "\n",  "\\",  "1",  "true", "#", "\r", "\xff"};
  int good = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string text;
    for (size_t piece = random() % 12; piece > 0; --piece)
      text += kPieces[random() % std::size(kPieces)];
    try {
      for (const FileSetting& setting : parse_settings(text, "f"))
        EXPECT_FALSE(setting.key.empty());
      ++good;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidRequest);
    }
  }
  EXPECT_GT(good, 100);
}

}  // namespace
}  // namespace minicpm::cli

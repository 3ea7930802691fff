#include "train/plugin_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "unit/train/temporary_folder.h"

namespace minicpm {
namespace {

using ::testing::HasSubstr;

std::filesystem::path plugin(const char* name) {
  return std::filesystem::path(MINICPM_PLUGIN_DIR) / (std::string("libtest_") + name + "_plugin.so");
}

void expect_error(const std::filesystem::path& library, const Json& options, ErrorCode code, const std::string& text) {
  try {
    load_plugin_source(library, options);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(text));
  }
}

TEST(PluginSource, MakesSamples) {
  const auto source = load_plugin_source(plugin("sample"), {{"size", 3}, {"word", "count"}});
  EXPECT_EQ(source->size(), 3);
  EXPECT_EQ(source->sample(2).origin, "count:2");
}

TEST(PluginSource, ErrorsOfSamplesComeThrough) {
  const auto source = load_plugin_source(plugin("sample"), {{"size", 3}});
  try {
    source->sample(3);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  }
}

TEST(PluginSource, SeveralSourcesLiveSideBySide) {
  const auto first = load_plugin_source(plugin("sample"), {{"size", 3}});
  auto second = load_plugin_source(plugin("sample"), {{"size", 5}});
  EXPECT_EQ(second->size(), 5);
  second.reset();
  EXPECT_EQ(first->sample(0).origin, "sample:0");
}

TEST(PluginSource, RefusedOptionsSayWhy) {
  expect_error(plugin("sample"), Json::object(), ErrorCode::kInvalidRequest, "size is missing");
  expect_error(plugin("sample"), {{"size", 0}}, ErrorCode::kInvalidRequest, "libtest_sample_plugin.so");
  expect_error(plugin("sample"), {{"size", -1}}, ErrorCode::kInvalidRequest, "exception");
}

TEST(PluginSource, BadLibrariesAreNamed) {
  const testing::TemporaryFolder folder;
  expect_error(folder.path() / "absent.so", {}, ErrorCode::kNotFound, "absent.so");
  expect_error(folder.path(), {}, ErrorCode::kNotFound, "not a file");
  const auto text = folder.path() / "text.so";
  std::ofstream(text) << "not a library";
  expect_error(text, {}, ErrorCode::kBadFile, "text.so: cannot be loaded");
  expect_error(plugin("empty"), {}, ErrorCode::kBadFile, "minicpm_sample_source");
}

}  // namespace
}  // namespace minicpm

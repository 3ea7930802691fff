// What the end-to-end tests share: the models, folders to write in, files to feed, and how an error must look.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "e2e/process.h"

namespace minicpm::e2e {

/// A folder of its own for each test.
class E2eTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::string write(const std::string& name, const std::string& content) const;
  /// A picture of that size in the BMP format.
  std::string write_picture(const std::string& name, int width, int height) const;

  std::filesystem::path folder_;
};

/// The same, for tests that need a model. MiniCPM-V 4.5's layout at a small size, random weights.
class ModelTest : public E2eTest {
 protected:
  void SetUp() override;
  std::string hf_;     // folder in the Hugging Face layout, F32
  std::string gguf_;   // GGUF file, F16, with its projector beside it
  std::string other_;  // GGUF file of version 2.6, with its projector beside it
};

std::string read_all(const std::filesystem::path& file);
/// The GGUF file in `folder` that is, or is not, the projector.
std::string find_gguf(const std::filesystem::path& folder, bool projector);

/// The run ended with that code, printed nothing but one line `minicpm: ...` that holds `text`, and took no time.
void expect_error(const Outcome& outcome, int exit_code, const std::string& text);
/// The run ended well and said nothing on standard error.
void expect_ok(const Outcome& outcome);

}  // namespace minicpm::e2e

// Helpers of the file-format tests: a temporary folder, reference data, raw bytes, and "this call fails so".
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/file_map.h"

namespace minicpm::testing_io {

/// A folder of its own per test, removed at the end.
class TempFolder {
 public:
  TempFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "minicpm_io_XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline void write_text(const std::filesystem::path& file, std::string_view text) {
  std::ofstream(file, std::ios::binary).write(text.data(), static_cast<std::streamsize>(text.size()));
}

/// Bytes in a heap block of exactly their size, aligned for every element type, so that a sanitizer sees any read
/// beyond the end.
class Bytes {
 public:
  explicit Bytes(std::string_view text) : data_(text.size()) {
    std::ranges::copy(std::as_bytes(std::span(text)), data_.begin());
  }
  operator std::span<const std::byte>() const { return data_; }

 private:
  std::vector<std::byte> data_;
};

/// Little-endian bytes of a number.
template <typename T>
std::string raw(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(T));
}

/// The folder of reference cases, or empty when this machine has none.
inline std::filesystem::path golden_folder() {
  if (const char* folder = std::getenv("MINICPM_GOLDEN")) return folder;
  const std::filesystem::path source = MINICPM_SOURCE_DIR;
  for (const auto& folder : {source / "../shared/golden", source / "tests/golden"}) {
    if (std::filesystem::is_directory(folder / "gguf")) return folder;
  }
  return {};
}

/// Runs `call`, expects Error of `code` and returns the message ("" if it did not throw).
template <typename Fn>
std::string error_message(ErrorCode code, Fn&& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error was thrown";
  return "";
}

}  // namespace minicpm::testing_io

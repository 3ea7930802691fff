#include "train/event_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/file_map.h"
#include "unit/train/temporary_folder.h"

namespace minicpm {
namespace {

template <typename T>
T read_at(std::string_view bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.substr(offset, sizeof(T)).data(), sizeof(T));
  return value;
}

/// The mask of TFRecord checksums undone.
uint32_t unmask(uint32_t masked) {
  return std::rotl(masked - 0xa282ead8u, 15);
}

/// Splits a file into records and checks the frames.
std::vector<std::string> records(const std::filesystem::path& path) {
  const std::string bytes = read_file(path, 1 << 20);
  std::vector<std::string> result;
  for (size_t at = 0; at < bytes.size();) {
    const auto length = read_at<uint64_t>(bytes, at);
    EXPECT_EQ(unmask(read_at<uint32_t>(bytes, at + 8)), crc32c(bytes.substr(at, 8)));
    result.push_back(bytes.substr(at + 12, length));
    EXPECT_EQ(unmask(read_at<uint32_t>(bytes, at + 12 + length)), crc32c(result.back()));
    at += 16 + length;
    EXPECT_LE(at, bytes.size());
  }
  return result;
}

TEST(Crc32c, AgreesWithPublishedValues) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);  // RFC 3720, appendix B.4
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(crc32c(""), 0u);
}

TEST(EventFile, WritesVersionStartAndScalars) {
  const testing::TemporaryFolder folder;
  std::filesystem::path path;
  {
    EventFile file(folder.path(), 7, 1700000000.5);
    path = file.path();
    const std::vector<std::pair<std::string, double>> scalars = {{"loss", 0.5}, {"eval/word", 2.0}};
    file.add(300, 1700000001.0, scalars);
  }
  EXPECT_THAT(path.filename().string(), ::testing::StartsWith("events.out.tfevents.1700000000."));
  const auto found = records(path);
  ASSERT_EQ(found.size(), 3u);
  using std::string_literals::operator""s;
  // Field 1 (wall time, double), field 3 (file version).
  EXPECT_EQ(found[0], "\x09\x00\x00\x20\x40\xfc\x54\xd9\x41"s + "\x1a\x0d"s + "brain.Event:2");
  // Wall time, field 2 (step 7), field 7 (session log with status 1, start).
  EXPECT_EQ(found[1], "\x09\x00\x00\x20\x40\xfc\x54\xd9\x41"s + "\x10\x07"s + "\x3a\x02\x08\x01"s);
  // Wall time, step 300, summary of two values with tag and simple value.
  const std::string loss = "\x0a\x04loss"s + "\x15\x00\x00\x00\x3f"s;
  const std::string word = "\x0a\x09"s + "eval/word" + "\x15\x00\x00\x00\x40"s;
  const std::string summary = "\x0a\x0b"s + loss + "\x0a\x10"s + word;
  EXPECT_EQ(found[2], "\x09\x00\x00\x40\x40\xfc\x54\xd9\x41"s + "\x10\xac\x02"s + "\x2a" +
                          static_cast<char>(summary.size()) + summary);
}

TEST(EventFile, NeverContinuesAnotherFile) {
  const testing::TemporaryFolder folder;
  const EventFile first(folder.path(), 0, 1700000000.0);
  const EventFile second(folder.path(), 0, 1700000000.0);
  EXPECT_LT(first.path().filename().string(), second.path().filename().string());
}

TEST(EventFile, NeedsTheFolder) {
  try {
    EventFile("/nowhere/at/all", 0, 0);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  }
}

}  // namespace
}  // namespace minicpm

// Damaged and malicious picture files: each must be decoded or refused by an Error that names the file, whatever it
// holds. The sanitizer builds make these tests sharp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "unit/media/sample_files.h"
#include "unit/media/test_pictures.h"

namespace minicpm {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr DecodeOptions kSmall{.limits = {.max_pixels = 1 << 20}};

/// True if decoded. Any other end than an Error of the promised codes fails the test.
bool decodes(std::span<const std::byte> bytes) {
  try {
    const Image image = decode_image(bytes, "hostile", kSmall);
    EXPECT_EQ(image.rgb.size(), static_cast<size_t>(image.width) * image.height * 3);
    return true;
  } catch (const Error& error) {
    EXPECT_TRUE(error.code() == ErrorCode::kBadFile || error.code() == ErrorCode::kUnsupported) << error.what();
    EXPECT_THAT(error.what(), StartsWith("hostile: "));
    return false;
  }
}

TEST(HostileImage, TruncationAtEveryByteIsNoticed) {
  for (const SampleFile& sample : kSampleFiles) {
    const std::vector<std::byte> file = bytes_of(sample);
    ASSERT_TRUE(decodes(file)) << sample.name;
    size_t shortest = file.size();
    for (size_t size = 0; size < file.size(); ++size) {
      // A copy of its own, so that a read beyond the end is a read beyond an allocation.
      const std::vector<std::byte> part(file.begin(), file.begin() + static_cast<ptrdiff_t>(size));
      if (decodes(part)) shortest = std::min(shortest, size);
    }
    // End marks may be missing, pixels not. (An animated WebP still has whole frames behind the first.)
    const size_t tolerated = std::string_view(sample.name) == "webp_animation" ? file.size() / 2 : 24;
    EXPECT_GE(shortest + tolerated, file.size()) << sample.name;
  }
}

TEST(HostileImage, RandomDamageIsSurvived) {
  const auto seed = static_cast<uint32_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (const SampleFile& sample : kSampleFiles) {
    const std::vector<std::byte> file = bytes_of(sample);
    for (int round = 0; round < 400; ++round) {
      std::vector<std::byte> damaged = file;
      for (int i = static_cast<int>(random() % 4); i >= 0; --i) {
        damaged[random() % damaged.size()] = static_cast<std::byte>(random());
      }
      if (random() % 8 == 0) damaged.resize(random() % damaged.size());
      (void)decodes(damaged);
    }
  }
}

std::string big_endian(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8),
          static_cast<char>(value)};
}
std::string little_endian(uint32_t value, int bytes) {
  std::string text = big_endian(value);
  return std::string(text.rbegin(), text.rend()).substr(0, bytes);
}

struct Header {
  const char* name;
  std::string file;
};

std::vector<Header> headers_of_size(uint32_t width, uint32_t height) {
  using namespace std::string_literals;
  std::vector<Header> headers;
  headers.push_back(
      {"png", "\x89PNG\r\n\x1a\n\0\0\0\rIHDR"s + big_endian(width) + big_endian(height) + "\x08\2\0\0\0"s});
  headers.push_back({"bmp", "BM"s + std::string(8, '\0') + little_endian(54, 4) + little_endian(40, 4) +
                                little_endian(width, 4) + little_endian(height, 4) + "\1\0\x18\0"s +
                                std::string(24, '\0')});
  headers.push_back({"gif", "GIF89a"s + little_endian(width, 2) + little_endian(height, 2) + "\0\0\0,\0\0\0\0"s +
                                little_endian(width, 2) + little_endian(height, 2) + "\0\2\0;"s});
  // Start of image, one quantisation table, frame of three components, start of scan.
  const std::string size = {static_cast<char>(height >> 8), static_cast<char>(height), static_cast<char>(width >> 8),
                            static_cast<char>(width)};
  headers.push_back({"jpeg", "\xff\xd8\xff\xdb\0\x43\0"s + std::string(64, '\1') + "\xff\xc0\0\x11\x08"s + size +
                                 "\3\1\x11\0\2\x11\0\3\x11\0\xff\xda\0\x0c\3\1\0\2\0\3\0\0\x3f\0"s});
  return headers;
}

TEST(HostileImage, AGiantSizeIsRefusedFromTheHeader) {
  for (const Header& header : headers_of_size(65500, 65500)) {
    const Error error = decode_error(as_file(header.file), header.name);
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported) << error.what();
    EXPECT_THAT(error.what(), HasSubstr("65500x65500 pixels, expected at most 200000000"));
  }
  // Sizes whose product overflows 64 bits when it is multiplied by the bytes of a pixel, or 31 bits alone.
  for (const uint32_t side : {0x7fffffffu, 0xffffffffu}) {
    const Error error =
        decode_error(as_file(headers_of_size(side, side)[0].file), "huge.png", {.limits = {.max_pixels = INT64_MAX}});
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported) << error.what();
  }
}

TEST(HostileImage, AnEmptySizeIsRefused) {
  for (const auto& [width, height] : {std::pair{0u, 5u}, {5u, 0u}, {0u, 0u}}) {
    for (const Header& header : headers_of_size(width, height)) {
      EXPECT_EQ(decode_error(as_file(header.file), header.name).code(), ErrorCode::kBadFile) << header.name;
    }
  }
}

TEST(HostileImage, AJpegOfThousandsOfScansIsRefused) {
  using namespace std::string_literals;
  // Progressive, 8x8 pixels, one component; a table that gives code 0 the symbol 0; then endless empty scans.
  std::string file = "\xff\xd8\xff\xdb\0\x43\0"s + std::string(64, '\1') + "\xff\xc2\0\x0b\x08\0\x08\0\x08\1\1\x11\0"s +
                     "\xff\xc4\0\x14\0\1"s + std::string(15, '\0') + "\0\xff\xc4\0\x14\x10\1"s + std::string(15, '\0') +
                     "\0"s;
  file += "\xff\xda\0\x08\1\1\0\0\0\0\x7f"s;  // DC
  for (int i = 0; i < 5000; ++i)
    file += "\xff\xda\0\x08\1\1\0\1\x3f\0\x7f"s;
  file += "\xff\xd9"s;
  const Error error = decode_error(as_file(file), "scans.jpg");
  EXPECT_EQ(error.code(), ErrorCode::kBadFile);
  EXPECT_THAT(error.what(), HasSubstr("more than 256 scans"));
}

TEST(HostileImage, ABmpMayNotPointOutsideItself) {
  for (const SampleFile& sample : kSampleFiles) {
    if (!std::string_view(sample.name).starts_with("bmp")) continue;
    std::vector<std::byte> file = bytes_of(sample);
    for (const uint32_t offset : {0x7fffffffu, 0xffffffffu, static_cast<uint32_t>(file.size())}) {
      for (int i = 0; i < 4; ++i)
        file[10 + i] = static_cast<std::byte>(offset >> (8 * i));
      const Error error = decode_error(file, "offset.bmp");
      EXPECT_EQ(error.code(), ErrorCode::kBadFile);
      EXPECT_THAT(error.what(), StartsWith("offset.bmp: the BMP ends early"));
    }
  }
}

}  // namespace
}  // namespace minicpm
